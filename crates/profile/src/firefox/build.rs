//! Builds the part of the profile that fxprof-processed-profile can express.
//!
//! Each frame is given to it as a label with a number of its own in the flags, so
//! that its frame table has one entry for each of ours, in the order in which they
//! are first used. That order is kept, and the table replaced later.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use fx::{CategoryColor, CpuDelta, FrameFlags, FrameInfo, GraphColor, MarkerTiming, Timestamp};
use fxprof_processed_profile as fx;
use indexmap::{IndexMap, IndexSet};

use super::marker::{HostCall, Labels, Sampling};
use super::tables::category_index;
use crate::category::Category;
use crate::labels::{LabelsHandle, Value};
use crate::profile::Profile;
use crate::sample::{Sample, nanos};
use crate::stack::{Frame, StackHandle};
use crate::thread::ThreadHandle;

/// The profile so far, with what is needed to complete it.
pub(super) struct Built {
    pub(super) profile: fx::Profile,
    /// What the samples weigh, for the column of weights.
    pub(super) weight: Weight,
    /// When the profile ends: the viewer leaves out what is not before.
    pub(super) end: Duration,
    /// By the position of the thread in the model.
    pub(super) threads: Vec<BuiltThread>,
}

/// What the column of weights holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Milliseconds: the samples' weights.
    Time,
    /// Samples: none of them weighs anything.
    Count,
}

pub(super) struct BuiltThread {
    fx: fx::ThreadHandle,
    /// In the order of the thread's frame table.
    pub(super) frames: IndexSet<Frame>,
    /// In the order of the thread's sample table: by time.
    pub(super) samples: Vec<Sample>,
    stacks: HashMap<StackHandle, fx::StackHandle>,
}

pub(super) fn build(profile: &Profile) -> Built {
    let weight = match profile.total().weight {
        Duration::ZERO => Weight::Count,
        _ => Weight::Time,
    };
    let mut builder = Builder::new(profile, weight);
    let mut samples = vec![Vec::new(); profile.threads().len()];
    // A profile that was read from a format without times: the viewer would show
    // nothing of it, so its samples are laid end to end.
    let is_timed = profile.samples().any(|sample| !sample.time.is_zero());
    for sample in profile.samples() {
        samples[sample.thread.index()].push(sample);
    }
    let mut end = profile.meta().duration;
    for (index, mut samples) in samples.into_iter().enumerate() {
        if is_timed {
            samples.sort_by_key(|sample| sample.time);
        } else {
            lay_end_to_end(&mut samples, weight);
        }
        if let Some(last) = samples.last() {
            // The end itself is not part of the profile.
            end = end.max(last.time.saturating_add(interval(profile)));
        }
        builder.samples(index, samples);
    }
    for marker in profile.markers() {
        end = end.max(marker.end);
    }
    builder.markers();
    builder.counters();
    Built {
        profile: builder.fx,
        weight,
        end,
        threads: builder.threads,
    }
}

fn lay_end_to_end(samples: &mut [Sample], weight: Weight) {
    let mut time = Duration::ZERO;
    for sample in samples {
        let step = match weight {
            Weight::Time => sample.weight,
            Weight::Count => Duration::from_millis(sample.count),
        };
        time = time.saturating_add(step);
        sample.time = time;
    }
}

/// The interval to write: the viewer needs one, also where it is not known.
fn interval(profile: &Profile) -> Duration {
    match profile.meta().interval {
        Duration::ZERO => Duration::from_millis(1),
        known => known,
    }
}

struct Builder<'a> {
    profile: &'a Profile,
    fx: fx::Profile,
    threads: Vec<BuiltThread>,
    processes: IndexMap<&'a str, fx::ProcessHandle>,
    categories: Vec<fx::CategoryHandle>,
    weight_type: fx::WeightType,
}

impl<'a> Builder<'a> {
    fn new(profile: &'a Profile, weight: Weight) -> Self {
        let meta = profile.meta();
        let start = meta.start.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut fx = fx::Profile::new(
            &meta.product,
            fx::ReferenceTimestamp::from_duration_since_unix_epoch(start),
            fx::SamplingInterval::from_nanos(nanos(interval(profile))),
        );
        // Names are resolved already; do not ask a server for them.
        fx.set_symbolicated(true);
        let categories = Category::ALL
            .into_iter()
            .map(|category| fx.add_category(category.name(), colour(category)))
            .collect();
        let mut builder = Self {
            profile,
            fx,
            threads: Vec::new(),
            processes: IndexMap::new(),
            categories,
            weight_type: match weight {
                Weight::Time => fx::WeightType::TracingMs,
                Weight::Count => fx::WeightType::Samples,
            },
        };
        for (handle, _) in profile.threads() {
            builder.thread(handle);
        }
        builder
    }

    fn category(&self, category: Category) -> fx::CategoryHandle {
        self.categories[category_index(category) - 1]
    }

    fn thread(&mut self, handle: ThreadHandle) {
        let profile = self.profile;
        let thread = profile.thread(handle);
        let name = if thread.process.is_empty() {
            &profile.meta().product
        } else {
            &thread.process
        };
        let fx = &mut self.fx;
        // A process has no number in the model: they are numbered as they come.
        let pid = u32::try_from(self.processes.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let process = *self.processes.entry(name).or_insert_with(|| {
            let process = fx.add_process(name, pid, stamp(Duration::ZERO));
            fx.set_process_end_time(process, stamp(profile.meta().duration));
            process
        });
        // Not the operating system's number: that need not be unique. This one also
        // keeps the threads in their order, and says which is which later.
        let tid = u32::try_from(handle.index()).unwrap_or(u32::MAX);
        let fx_thread = fx.add_thread(process, tid, stamp(Duration::ZERO), false);
        fx.set_thread_name(fx_thread, &format!("{tid:010}"));
        fx.set_thread_samples_weight_type(fx_thread, self.weight_type.clone());
        fx.set_thread_show_markers_in_timeline(fx_thread, true);
        fx.add_initial_visible_thread(fx_thread);
        if handle.index() == 0 {
            fx.add_initial_selected_thread(fx_thread);
        }
        self.threads.push(BuiltThread {
            fx: fx_thread,
            frames: IndexSet::new(),
            samples: Vec::new(),
            stacks: HashMap::new(),
        });
    }

    /// Finds or adds a stack to a thread's table.
    fn stack(&mut self, thread: usize, stack: StackHandle) -> fx::StackHandle {
        let profile = self.profile;
        // Down to the first caller that is there already, then back up.
        let mut missing = Vec::new();
        let mut at = None;
        let mut next = Some(stack);
        while let Some(stack) = next {
            if let Some(known) = self.threads[thread].stacks.get(&stack) {
                at = Some(*known);
                break;
            }
            missing.push(stack);
            next = profile.stack(stack).parent;
        }
        for stack in missing.into_iter().rev() {
            let location = profile.stack(stack).location;
            for frame in profile.location_frames(location).rev() {
                let frame = self.frame(thread, frame);
                at = Some(self.fx.intern_stack(self.threads[thread].fx, at, frame));
            }
            if let Some(at) = at {
                self.threads[thread].stacks.insert(stack, at);
            }
        }
        at.expect("a location has at least one frame")
    }

    fn frame(&mut self, thread: usize, frame: Frame) -> fx::FrameHandle {
        let function = self.profile.function(frame.function);
        let name = self.fx.intern_string(&function.name);
        let category = self.category(function.category).into();
        let thread = &mut self.threads[thread];
        let number = thread.frames.insert_full(frame).0;
        self.fx.intern_frame(
            thread.fx,
            FrameInfo {
                frame: fx::Frame::Label(name),
                category_pair: category,
                // Above the bits that mean something.
                flags: FrameFlags::from_bits_retain((number as u32) << 2),
            },
        )
    }

    fn samples(&mut self, thread: usize, samples: Vec<Sample>) {
        for sample in &samples {
            let stack = sample.stack.map(|stack| self.stack(thread, stack));
            // Weight and CPU time are replaced later: here they would be whole
            // milliseconds and whole microseconds.
            self.fx.add_sample(
                self.threads[thread].fx,
                stamp(sample.time),
                stack,
                CpuDelta::ZERO,
                0,
            );
        }
        self.labels(thread, &samples);
        self.threads[thread].samples = samples;
    }

    /// Adds a marker for each run of samples with the same labels.
    fn labels(&mut self, thread: usize, samples: &[Sample]) {
        for run in samples.chunk_by(|a, b| a.labels == b.labels) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else {
                continue;
            };
            if first.labels == LabelsHandle::EMPTY {
                continue;
            }
            let labels = self.profile.labels(first.labels).iter();
            let labels: Vec<String> = labels
                .map(|label| match &label.value {
                    Value::Text(text) => format!("{}={text}", label.key),
                    Value::Number(number, None) => format!("{}={number}", label.key),
                    Value::Number(number, Some(unit)) => format!("{}={number} {unit}", label.key),
                })
                .collect();
            let marker = Labels {
                name: self.fx.intern_string("Labels"),
                labels: self.fx.intern_string(&labels.join(", ")),
            };
            // A sample stands for the time up to it.
            let start = first.time.saturating_sub(first.weight);
            let timing = MarkerTiming::Interval(stamp(start), stamp(last.time));
            self.fx.add_marker(self.threads[thread].fx, timing, marker);
        }
    }

    fn markers(&mut self) {
        let profile = self.profile;
        for (handle, thread) in profile.threads() {
            let Some(samples) = thread.accounting else {
                continue;
            };
            let marker = Sampling {
                name: self.fx.intern_string("Sampling"),
                due: samples.due,
                kept: samples.kept,
                lost: samples.lost,
                sampled_ms: millis(samples.sampled),
            };
            let end = thread
                .end
                .unwrap_or(profile.meta().duration)
                .max(thread.start);
            let timing = MarkerTiming::Interval(stamp(thread.start), stamp(end));
            self.fx
                .add_marker(self.threads[handle.index()].fx, timing, marker);
        }
        for marker in profile.markers() {
            let thread = marker.thread.index();
            let stack = marker.stack.map(|stack| self.stack(thread, stack));
            let host_call = HostCall {
                name: self.fx.intern_string(marker.name),
                category: self.category(marker.category),
                text: self.fx.intern_string(marker.text.unwrap_or_default()),
            };
            let timing = MarkerTiming::Interval(stamp(marker.start), stamp(marker.end));
            let thread = self.threads[thread].fx;
            let handle = self.fx.add_marker(thread, timing, host_call);
            self.fx.set_marker_stack(thread, handle, stack);
        }
    }

    fn counters(&mut self) {
        for (_, counter) in self.profile.counters() {
            let thread = counter.thread.map_or(0, ThreadHandle::index);
            // Without a thread there is no process to show it under.
            if self.threads.is_empty() {
                return;
            }
            let process = self.process_of(thread);
            let description = if counter.unit.is_empty() {
                counter.description.clone()
            } else {
                format!("{} ({})", counter.description, counter.unit)
            };
            let handle =
                self.fx
                    .add_counter(process, &counter.name, &counter.category, &description);
            self.fx.set_counter_color(handle, GraphColor::Orange);
            let mut points = counter.points.clone();
            points.sort_by_key(|(time, _)| *time);
            let mut last = 0;
            for (time, value) in points {
                let change = i128::from(value) - i128::from(last);
                last = value;
                self.fx
                    .add_counter_sample(handle, stamp(time), change as f64, 0);
            }
        }
    }

    fn process_of(&self, thread: usize) -> fx::ProcessHandle {
        let thread = self.profile.threads().nth(thread).map(|(_, thread)| thread);
        let name = match thread {
            Some(thread) if !thread.process.is_empty() => &thread.process,
            _ => &self.profile.meta().product,
        };
        self.processes[name.as_str()]
    }
}

fn stamp(time: Duration) -> Timestamp {
    Timestamp::from_nanos_since_reference(nanos(time))
}

pub(super) fn millis(time: Duration) -> f64 {
    nanos(time) as f64 / 1e6
}

fn colour(category: Category) -> CategoryColor {
    match category {
        Category::Guest => CategoryColor::Orange,
        Category::Wasi => CategoryColor::Green,
        Category::Host => CategoryColor::Blue,
        Category::Engine => CategoryColor::Purple,
        Category::Opaque => CategoryColor::DarkGray,
        Category::Lost => CategoryColor::Red,
    }
}
