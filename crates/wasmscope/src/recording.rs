//! What was recorded in a stretch of time, and how it becomes a profile.

use crate::collector::{Collected, Collection, MORE_LABELS, MORE_THREADS, NodeId};
use crate::labels::LabelValue;
use crate::selection::Selection;
use crate::stacks::Stacks;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};
use wasmscope_profile::{
    Accounting, Clock, Counter, LabelsHandle, Marker, Meta, Profile, Sample, Thread, ThreadHandle,
    Value,
};
use wasmscope_sample::{ThreadId, ThreadReport};

/// Everything that a profiler saw between two moments. Several profiles can be made
/// of it, one for each tenant for example. Naming happens here, not while sampling.
#[derive(Clone, Debug)]
pub struct Recording {
    pub(crate) product: String,
    pub(crate) clock: Clock,
    pub(crate) interval: Duration,
    pub(crate) mechanism: String,
    /// When it starts, on the calendar and in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) start: SystemTime,
    pub(crate) start_nanos: u64,
    pub(crate) end_nanos: u64,
    pub(crate) collected: Collected,
    /// All threads that were sampled, each with the accounting of this recording.
    pub(crate) threads: Vec<ThreadReport>,
}

impl Recording {
    /// Returns how long it lasts.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.end_nanos.saturating_sub(self.start_nanos))
    }

    /// Returns the time of the sampled clock that the sampler's handler took of the
    /// sampled threads. Samples weigh their intervals less this time, so that it is
    /// nobody's in a profile; what is counted as due, kept and lost has it.
    #[must_use]
    pub fn in_handler(&self) -> Duration {
        self.threads.iter().map(|thread| thread.in_handler).sum()
    }

    /// Returns what was broken in the names or lines of guests, by guest; known once
    /// a profile has been made.
    #[must_use]
    pub fn problems(&self) -> Vec<(String, String)> {
        let problem = |code: &std::sync::Arc<crate::code::Code>| {
            Some((code.name(), code.problem()?.to_string()))
        };
        self.collected.codes.iter().filter_map(problem).collect()
    }

    /// Makes a profile of everything.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.select(&Selection::everything())
    }

    /// Makes a profile of what `selection` selects.
    #[must_use]
    pub fn select(&self, selection: &Selection) -> Profile {
        let product = if selection.is_guest_safe() {
            "wasm guest".to_owned()
        } else {
            self.product.clone()
        };
        let mut meta = Meta::new(product, self.start);
        meta.duration = self.duration();
        meta.interval = self.interval;
        meta.clock = self.clock;
        if !selection.is_guest_safe() {
            meta.mechanism.clone_from(&self.mechanism);
        }
        meta.comments = self.comments(selection);
        Writer {
            recording: self,
            selection,
            profile: Profile::new(meta),
            threads: HashMap::new(),
            labels: HashMap::new(),
        }
        .write()
    }

    fn comments(&self, selection: &Selection) -> Vec<String> {
        let mut comments = Vec::new();
        let mut note = |count: u64, what: &str| {
            if count > 0 {
                comments.push(format!("{count} {what}"));
            }
        };
        if !selection.is_partial() {
            note(
                self.collected.labels_left_out,
                "samples had labels past the limit of label sets, and carry `labels: (more)`",
            );
            note(
                self.collected.stacks_left_out,
                "samples had a stack past the limit of stacks, and count for its known outer part",
            );
            note(
                self.collected.markers_left_out,
                "host calls are past the limit of markers, and not shown one by one",
            );
            note(
                self.collected.points_left_out,
                "changes of memory sizes are past the limit of tracks or of their points",
            );
        }
        if selection.is_partial() && self.collected.labels_left_out > 0 {
            comments
                .push("some samples are not here: there was no room for their labels".to_owned());
        }
        comments
    }

    /// Returns the time of so many intervals.
    fn ticks(&self, ticks: u64) -> Duration {
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        self.interval.saturating_mul(ticks)
    }

    fn since_start(&self, nanos: u64) -> Duration {
        Duration::from_nanos(nanos.saturating_sub(self.start_nanos))
    }
}

/// A profile in the making.
struct Writer<'a> {
    recording: &'a Recording,
    selection: &'a Selection,
    profile: Profile,
    threads: HashMap<ThreadId, ThreadHandle>,
    labels: HashMap<u64, LabelsHandle>,
}

impl Writer<'_> {
    fn write(mut self) -> Profile {
        let recording = self.recording;
        let collected = &recording.collected;
        let mut stacks = Stacks::new(collected, self.selection);
        let selects = |labels: u64, node: Option<NodeId>| {
            self.selection.selects_labels(collected.labels.get(&labels))
                && (!self.selection.wants_guest_frames() || stacks.has_guest(node))
        };
        let samples: Vec<&Collection> = collected
            .samples
            .iter()
            .chain(collected.totals.values())
            .filter(|sample| selects(sample.labels, sample.node))
            .collect();
        let mut samples = samples;
        samples.sort_by_key(|sample| (sample.time, sample.thread, sample.node));
        let markers: Vec<_> = collected
            .markers
            .iter()
            .filter(|marker| selects(marker.labels, marker.node))
            .collect();

        self.add_threads(&samples);
        for sample in samples {
            let stack = stacks.of_sample(&mut self.profile, sample.node);
            let labels = self.labels_of(sample.labels);
            let thread = self.thread_of(sample.thread);
            self.profile.add_sample(Sample {
                thread,
                time: recording.since_start(sample.time),
                stack,
                count: sample.count,
                weight: recording
                    .ticks(sample.ticks)
                    .saturating_sub(Duration::from_nanos(sample.in_handler)),
                cpu: sample.cpu,
                labels,
            });
        }
        for marker in markers {
            let call = stacks.host_call(&mut self.profile, marker.node);
            let thread = self.thread_of(marker.thread);
            self.profile.add_marker(Marker {
                thread,
                name: call.name,
                category: call.category,
                start: recording.since_start(marker.start),
                end: recording.since_start(marker.end),
                stack: call.stack,
                text: None,
            });
        }
        for track in &collected.tracks {
            if !self.selection.selects_track(&track.name) {
                continue;
            }
            self.profile.add_counter(Counter {
                name: track.name.clone(),
                category: "Memory".to_owned(),
                unit: "bytes".to_owned(),
                description: "Size of the guest's linear memories".to_owned(),
                thread: None,
                points: track
                    .points
                    .iter()
                    .map(|&(time, value)| (recording.since_start(time), value))
                    .collect(),
            });
        }
        self.profile
    }

    fn add_threads(&mut self, samples: &[&Collection]) {
        let recording = self.recording;
        let (safe, partial) = (self.selection.is_guest_safe(), self.selection.is_partial());
        // What a selection's own samples say: others' are none of its business.
        let mut own: HashMap<ThreadId, Accounting> = HashMap::new();
        for sample in samples {
            let own = own.entry(sample.thread).or_default();
            own.due += sample.ticks;
            own.kept += sample.count;
            own.lost = own.due.saturating_sub(own.kept);
            own.sampled += recording.ticks(sample.ticks);
        }
        for report in &recording.threads {
            let own = own.get(&report.id).copied();
            if partial && own.is_none() {
                continue;
            }
            let counted = report.accounting;
            let number = self.threads.len() as u64 + 1;
            let handle = self.profile.add_thread(Thread {
                id: if safe { number } else { u64::from(report.tid) },
                name: match (safe, report.name.is_empty()) {
                    (false, false) => report.name.clone(),
                    _ => format!("thread {number}"),
                },
                process: String::new(),
                start: if partial {
                    Duration::ZERO
                } else {
                    recording.since_start(report.attached)
                },
                end: report
                    .detached
                    .filter(|_| !partial)
                    .map(|detached| recording.since_start(detached)),
                accounting: if partial {
                    own
                } else {
                    Some(Accounting {
                        due: counted.due,
                        kept: counted.kept,
                        lost: counted.lost,
                        sampled: counted.sampled,
                    })
                },
            });
            self.threads.insert(report.id, handle);
        }
    }

    /// Returns the thread to show; one for all that were not listed one by one.
    fn thread_of(&mut self, id: ThreadId) -> ThreadHandle {
        if let Some(&known) = self.threads.get(&id) {
            return known;
        }
        if let Some(&more) = self.threads.get(&MORE_THREADS) {
            return more;
        }
        let ended = self.recording.collected.ended_more;
        let more = self.profile.add_thread(Thread {
            name: "(more threads)".to_owned(),
            accounting: (!self.selection.is_partial()).then_some(Accounting {
                due: ended.due,
                kept: ended.kept,
                lost: ended.lost,
                sampled: ended.sampled,
            }),
            ..Thread::default()
        });
        self.threads.insert(MORE_THREADS, more);
        more
    }

    fn labels_of(&mut self, id: u64) -> LabelsHandle {
        if let Some(&known) = self.labels.get(&id) {
            return known;
        }
        let handle = match self.recording.collected.labels.get(&id) {
            Some(labels) => {
                let labels: Vec<(String, Value)> = labels
                    .iter()
                    .filter(|(key, _)| self.selection.shows_label(key))
                    .map(|(key, value)| {
                        let value = match value {
                            LabelValue::Text(text) => Value::Text(text.clone()),
                            LabelValue::Number(number) => Value::Number(*number, None),
                        };
                        (key.to_owned(), value)
                    })
                    .collect();
                self.profile.add_labels(&labels)
            }
            None if id == MORE_LABELS => self
                .profile
                .add_labels(&[("labels", Value::Text("(more)".to_owned()))]),
            None => LabelsHandle::EMPTY,
        };
        self.labels.insert(id, handle);
        handle
    }
}
