//! The profiler: samples threads, knows guests, hands out recordings.

use crate::code::Code;
use crate::collector::{Collector, Limits};
use crate::error::Error;
use crate::guest::Guest;
use crate::guests::Guests;
use crate::host_calls::HostCalls;
use crate::memory_track::MemoryTrack;
use crate::recording::Recording;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use wasmscope_profile::Profile;
use wasmscope_sample::{
    Accounting, Clock, HostFrames, Mechanism, Options, Rate, Sampler, ThreadGuard, ThreadId,
    ThreadReport, monotonic_nanos,
};

/// Samples guests of this process by timer. Cheap to clone; all clones are one
/// profiler, which ends when the last is dropped.
///
/// See the [crate's page](crate) for a whole example.
#[derive(Clone, Debug)]
pub struct Profiler {
    inner: Arc<Inner>,
}

/// How to profile; made by [`Profiler::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    product: String,
    options: Options,
    limits: Limits,
}

impl Builder {
    /// Sets what the profile says was running: a program, a service. By default
    /// `wasm guests`.
    #[must_use]
    pub fn product(mut self, product: impl Into<String>) -> Self {
        self.product = product.into();
        self
    }

    /// Sets which time is sampled; [`Clock::Wall`] by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.options.clock = clock;
        self
    }

    /// Sets how often each thread is sampled; 1,000 times a second by default.
    #[must_use]
    pub fn rate(mut self, rate: Rate) -> Self {
        self.options.rate = rate;
        self
    }

    /// Sets the mechanism, in place of the best one that works on this machine, and
    /// with it the clock that it samples.
    #[must_use]
    pub fn mechanism(mut self, mechanism: Mechanism) -> Self {
        self.options.mechanism = Some(mechanism);
        self.options.clock = mechanism.clock();
        self
    }

    /// Sets what becomes of host frames. They are left out by default.
    #[must_use]
    pub fn host_frames(mut self, host_frames: HostFrames) -> Self {
        self.options.host_frames = host_frames;
        self
    }

    /// Sets whether samples of the wall clock also say how much CPU time passed, which
    /// costs each a system call; they do by default.
    #[must_use]
    pub fn cpu_time(mut self, cpu_time: bool) -> Self {
        self.options.cpu_time = cpu_time;
        self
    }

    /// Sets the size of each thread's ring; 512 KiB by default, which hold 60 samples
    /// of depth 1,000. About a third of a MiB more goes to each thread all the same,
    /// most of it an alternate signal stack.
    #[must_use]
    pub fn ring_bytes(mut self, bytes: usize) -> Self {
        self.options.ring_bytes = bytes;
        self
    }

    /// Sets how much may be gathered between two recordings.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Starts the profiler, with no guests and no threads yet.
    ///
    /// # Errors
    ///
    /// [`Error::Platform`] where signals cannot be used, which is everywhere but on
    /// Linux and x86-64: [`OnDemand`](crate::OnDemand) works there. [`Error::Sample`]
    /// when the signal handler or the drain thread cannot be set up.
    pub fn start(self) -> Result<Profiler, Error> {
        let interval = self.options.rate.interval();
        let clock = self.options.clock;
        let sampler = Sampler::start(self.options, Collector::new(self.limits))?;
        Ok(Profiler {
            inner: Arc::new(Inner {
                product: self.product,
                clock,
                interval,
                window: Mutex::new(Window::begin()),
                guests: Mutex::default(),
                sampler: Arc::new(sampler),
            }),
        })
    }
}

/// What all clones of a profiler share.
struct Inner {
    product: String,
    clock: Clock,
    interval: Duration,
    window: Mutex<Window>,
    guests: Mutex<Guests>,
    sampler: Arc<Sampler<Collector>>,
}

/// The stretch of time that the next recording will cover.
struct Window {
    start: SystemTime,
    start_nanos: u64,
    /// What living threads had counted when it began.
    before: HashMap<ThreadId, (Accounting, Duration)>,
}

impl Window {
    fn begin() -> Self {
        Self {
            start: SystemTime::now(),
            start_nanos: monotonic_nanos(),
            before: HashMap::new(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Profiler {
    /// Returns a builder with the defaults: wall clock, 1,000 samples a second, no
    /// host frames, about 100 MB at most and 1 MB for each thread.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            product: "wasm guests".to_owned(),
            options: Options::default(),
            limits: Limits::default(),
        }
    }

    /// Makes a guest's frames known, until the registration and all its clones are
    /// dropped. May be called at any time, also while the guest runs; frames that
    /// were sampled earlier stay unknown.
    ///
    /// The same code may be registered again, under another name: tenants may share
    /// a module. It has one set of samples, which each of its names selects; its bytes
    /// are those given first.
    ///
    /// # Errors
    ///
    /// [`Error::GuestDebug`], [`Error::Pulley`], [`Error::Text`], [`Error::Bytes`];
    /// [`Error::Hidden`] when
    /// the same code is hidden in one registration and not in the other.
    pub fn register(&self, guest: Guest) -> Result<Registration, Error> {
        if guest.code.engine().is_pulley() {
            return Err(Error::Pulley { guest: guest.name });
        }
        let (code, windows) = Code::prepare(guest)?;
        let name = code.name();
        let mut guests = lock(&self.inner.guests);
        let code = match guests.again(&code)? {
            Some(known) => known,
            None => {
                let code = Arc::new(code);
                self.inner.sampler.sink().add_code(code.clone());
                if let Err(error) = self.inner.sampler.add_code(code.range, windows) {
                    self.inner.sampler.sink_undrained().forget_code(&code);
                    return Err(error.into());
                }
                guests.add(code.clone());
                code
            }
        };
        let registered = Registered {
            code,
            profiler: self.inner.clone(),
        };
        Ok(Registration {
            _registered: Arc::new(registered),
            name,
        })
    }

    /// Samples the calling thread until the guard is dropped. For threads that a
    /// runtime starts, see [`ThreadGuard::keep_until_thread_exits`].
    ///
    /// # Errors
    ///
    /// [`Error::Sample`] when the thread is attached already or cannot be timed.
    pub fn attach_thread(&self) -> Result<ThreadGuard, Error> {
        Ok(self.inner.sampler.attach_thread()?)
    }

    /// Returns everything recorded since the profiler started or since the last
    /// `take`, and begins anew. Threads go on being sampled meanwhile.
    #[must_use]
    pub fn take(&self) -> Recording {
        self.record(true)
    }

    /// Returns everything recorded so far, as [`take`](Self::take) does, without
    /// beginning anew.
    #[must_use]
    pub fn snapshot(&self) -> Recording {
        self.record(false)
    }

    /// Takes the recording and makes a profile of all of it.
    #[must_use]
    pub fn take_profile(&self) -> Profile {
        self.take().profile()
    }

    /// Records for `duration` from now on and returns that stretch alone: what was
    /// recorded before is dropped. Blocks the calling thread.
    #[must_use]
    pub fn capture(&self, duration: Duration) -> Recording {
        drop(self.take());
        std::thread::sleep(duration);
        self.take()
    }

    /// Adds up what became of the samples since the profiler started or since the
    /// last `take`, of all threads: cheap enough to ask for several times a second.
    #[must_use]
    pub fn accounting(&self) -> wasmscope_profile::Accounting {
        let sink = self.inner.sampler.sink();
        let window = lock(&self.inner.window);
        let living = self.inner.sampler.threads();
        let (ended, more) = sink.ended();
        let in_this_window = |thread: &ThreadReport| {
            let before = window.before.get(&thread.id);
            before.map_or(thread.accounting, |(accounting, _)| {
                thread.accounting.since(*accounting)
            })
        };
        ended
            .iter()
            .chain(&living)
            .map(in_this_window)
            .chain([more])
            .map(|counted| wasmscope_profile::Accounting {
                due: counted.due,
                kept: counted.kept,
                lost: counted.lost,
                sampled: counted.sampled,
            })
            .fold(wasmscope_profile::Accounting::default(), |sum, thread| {
                sum.plus(thread)
            })
    }

    /// Returns a recorder of host calls for one store's call hook; calls that take
    /// at least `threshold` become markers.
    #[must_use]
    pub fn host_calls(&self, threshold: Duration) -> HostCalls {
        HostCalls::new(self.inner.sampler.clone(), threshold)
    }

    /// Returns a recorder of one guest's memory size, to be used as (or from) its
    /// store's resource limiter.
    #[must_use]
    pub fn memory_track(&self, name: impl Into<String>) -> MemoryTrack {
        MemoryTrack::new(self.inner.sampler.clone(), name.into())
    }

    fn record(&self, take: bool) -> Recording {
        let mut sink = self.inner.sampler.sink();
        let mut window = lock(&self.inner.window);
        let end_nanos = monotonic_nanos();
        let living = self.inner.sampler.threads();
        let mut collected = if take { sink.take() } else { sink.collected() };
        drop(sink);

        let before = &window.before;
        // Threads that ended without being listed are where the others are not.
        let mut more_before = Accounting::default();
        if collected.ended_more != Accounting::default() {
            let listed: HashSet<ThreadId> = collected
                .ended
                .iter()
                .chain(&living)
                .map(|thread| thread.id)
                .collect();
            for (_, (accounting, _)) in before.iter().filter(|(id, _)| !listed.contains(id)) {
                more_before.due += accounting.due;
                more_before.kept += accounting.kept;
                more_before.lost += accounting.lost;
                more_before.sampled += accounting.sampled;
            }
        }
        collected.ended_more = collected.ended_more.since(more_before);
        let in_this_window = |report: &ThreadReport| {
            let mut report = report.clone();
            if let Some((accounting, in_handler)) = before.get(&report.id) {
                report.accounting = report.accounting.since(*accounting);
                report.in_handler = report.in_handler.saturating_sub(*in_handler);
            }
            report
        };
        let mut threads: Vec<ThreadReport> = collected
            .ended
            .iter()
            .chain(&living)
            .map(in_this_window)
            .collect();
        threads.sort_by_key(|thread| thread.id);
        let mechanism = threads.first().map(|thread| thread.mechanism).or(self
            .inner
            .sampler
            .options()
            .mechanism);
        let recording = Recording {
            product: self.inner.product.clone(),
            clock: match self.inner.clock {
                Clock::Wall => wasmscope_profile::Clock::Wall,
                Clock::Cpu => wasmscope_profile::Clock::Cpu,
            },
            interval: self.inner.interval,
            mechanism: mechanism.map_or_else(String::new, |mechanism| mechanism.to_string()),
            start: window.start,
            start_nanos: window.start_nanos,
            end_nanos,
            collected,
            threads,
        };
        if take {
            let lasted = Duration::from_nanos(end_nanos.saturating_sub(window.start_nanos));
            *window = Window {
                start: window.start + lasted,
                start_nanos: end_nanos,
                before: living
                    .into_iter()
                    .map(|thread| (thread.id, (thread.accounting, thread.in_handler)))
                    .collect(),
            };
        }
        recording
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("product", &self.product)
            .field("clock", &self.clock)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// Keeps a guest registered; see [`Profiler::register`]. Cheap to clone.
///
/// It also keeps the guest's compiled code mapped, so it is safe to drop the module
/// first. When the last clone is dropped, what the recording needs of the guest is
/// computed and the code is let go.
#[derive(Clone, Debug)]
#[must_use = "the guest is registered until this is dropped"]
pub struct Registration {
    _registered: Arc<Registered>,
    name: String,
}

impl Registration {
    /// Returns the name that the guest was registered under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[derive(Debug)]
struct Registered {
    code: Arc<Code>,
    profiler: Arc<Inner>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let (code, sampler) = (&self.code, &self.profiler.sampler);
        let mut guests = lock(&self.profiler.guests);
        if !guests.remove(code) {
            return;
        }
        // In this order: first no new samples, then all old ones, then forget. What
        // the samples so far need of it is computed while nobody waits; it takes long.
        sampler.remove_code(code.range);
        let forgotten = sampler.sink().forget_code(code);
        if let Some((id, places)) = forgotten {
            let frozen = code.frozen(&places);
            sampler.sink_undrained().replace_code(id, code, frozen);
        }
    }
}
