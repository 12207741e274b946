//! The sampler: its threads, its code, and the drain thread that empties the rings.

#![expect(unsafe_code, reason = "eventfd, poll and read are C functions")]

use crate::Error;
use crate::capture::StackCapture;
use crate::clock::{Clock, Mechanism, Rate};
use crate::code_map::CodeMap;
use crate::guard::ThreadGuard;
use crate::handler::{self, Shared, View};
use crate::published::Published;
use crate::record::{self, Sample};
use crate::stack_memory::MappingQuery;
use crate::thread::{ThreadId, ThreadReport, ThreadState};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wasmscope_address::TextRange;
use wasmscope_walk::host::HostObjects;
use wasmscope_walk::{Native, Window};

/// What becomes of host frames in samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HostFrames {
    /// Each run of host frames becomes one [`HOST_RUN`](crate::RawFrame::HOST_RUN), so that no host
    /// address leaves the handler.
    #[default]
    Omit,
    /// Each host frame is kept.
    Keep,
}

/// How to sample.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which time is sampled.
    pub clock: Clock,
    /// How often.
    pub rate: Rate,
    /// The mechanism to use, instead of the best that works here.
    pub mechanism: Option<Mechanism>,
    /// What becomes of host frames.
    pub host_frames: HostFrames,
    /// Whether wall-clock samples also say how much CPU time passed, which costs a
    /// system call each. Samples of the CPU clock always do.
    pub cpu_time: bool,
    /// Size of each thread's ring in bytes. 512 KiB hold 60 samples of depth 1,000.
    pub ring_bytes: usize,
    /// How many frames to keep of one stack, the newest first.
    pub max_frames: usize,
    /// How long the drain thread sleeps unless a ring gets half full.
    pub drain_period: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Clock::default(),
            rate: Rate::default(),
            mechanism: None,
            host_frames: HostFrames::default(),
            cpu_time: true,
            ring_bytes: 512 << 10,
            max_frames: 32 << 10,
            drain_period: Duration::from_millis(20),
        }
    }
}

/// Takes in samples. Called on the drain thread, or on a thread that asks for the
/// sink, by one of them at a time, never in a signal handler.
pub trait Sink: Send + 'static {
    /// Takes one sample of one thread; a thread's samples come in order.
    fn sample(&mut self, thread: ThreadId, sample: &Sample<'_>);

    /// Takes the last word on a thread that was detached; all its samples came
    /// before.
    fn detached(&mut self, thread: ThreadReport);
}

/// Samples the threads that are attached to it, until it is dropped.
///
/// Samples go to a [`Sink`] that the sampler owns. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Sampler<S: Sink> {
    core: Arc<Core<S>>,
    drain: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Core<S> {
    options: Options,
    shared: Arc<Shared>,
    registry: Arc<Mutex<Registry>>,
    sink: Mutex<S>,
    stop: AtomicBool,
}

/// The threads and the code. Never locked by a handler.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) threads: Vec<Arc<ThreadState>>,
    pub(crate) next: u64,
    /// Of the view that handlers see now.
    generation: u64,
    code: CodeMap,
    host: Arc<HostObjects>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Sink> Sampler<S> {
    /// Starts a sampler with no threads and no code. Installs the process's handler
    /// for SIGPROF; a handler that was there still gets the signals that no sampler
    /// asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Handler`] and [`Error::Drain`].
    pub fn start(options: Options, sink: S) -> Result<Self, Error> {
        handler::install()?;
        // SAFETY: no preconditions; the result is checked.
        let wake = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if wake < 0 {
            return Err(Error::Drain(io::Error::last_os_error()));
        }
        // SAFETY: the kernel just gave us this descriptor.
        let wake = unsafe { OwnedFd::from_raw_fd(wake) };
        let host = Arc::new(HostObjects::load());
        let core = Arc::new(Core {
            shared: Arc::new(Shared {
                code: Published::new(View {
                    generation: 1,
                    guests: CodeMap::default(),
                    host: host.clone(),
                }),
                host_frames: options.host_frames,
                cpu_time: options.cpu_time,
                max_frames: options.max_frames.max(1),
                query: Arc::new(MappingQuery::open()),
                wake,
            }),
            registry: Arc::new(Mutex::new(Registry {
                threads: Vec::new(),
                next: 0,
                generation: 1,
                code: CodeMap::default(),
                host,
            })),
            sink: Mutex::new(sink),
            stop: AtomicBool::new(false),
            options,
        });
        let drain = std::thread::Builder::new()
            .name("wasmscope-drain".to_owned())
            .spawn({
                let core = core.clone();
                move || core.drain_until_stopped()
            })
            .map_err(Error::Drain)?;
        Ok(Self {
            core,
            drain: Some(drain),
        })
    }

    /// Returns the options it was started with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.core.options
    }

    /// Samples the calling thread from here on, until the guard is dropped. The
    /// timer is armed last, and disarmed first.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyAttached`] and [`Error::Attach`].
    pub fn attach_thread(&self) -> Result<ThreadGuard, Error> {
        ThreadGuard::attach(&self.core.options, &self.core.shared, &self.core.registry)
    }

    /// Adds guest code: from here on frames in `range` are the guest's. `windows`
    /// are those of that code. Other threads may be sampled meanwhile.
    ///
    /// The code must stay mapped, unchanged, until [`remove_code`](Self::remove_code)
    /// has returned.
    ///
    /// # Errors
    ///
    /// [`Error::CodeOverlaps`].
    pub fn add_code(&self, range: TextRange, windows: Arc<[Window<Native>]>) -> Result<(), Error> {
        let mut registry = lock(&self.core.registry);
        let code = registry
            .code
            .with(range, windows)
            .ok_or(Error::CodeOverlaps {
                start: range.start(),
            })?;
        registry.publish(&self.core.shared, code);
        Ok(())
    }

    /// Removes guest code. When this returns no handler reads it any more, and the
    /// sink has got every sample that may mention it.
    pub fn remove_code(&self, range: TextRange) {
        {
            let mut registry = lock(&self.core.registry);
            let code = registry.code.without(range);
            registry.publish(&self.core.shared, code);
        }
        drop(self.sink());
    }

    /// Returns the code that is registered now.
    #[must_use]
    pub fn code(&self) -> CodeMap {
        lock(&self.core.registry).code.clone()
    }

    /// Looks again which libraries are loaded; to be called after `dlopen`.
    pub fn reload_host_objects(&self) {
        let mut registry = lock(&self.core.registry);
        registry.host = Arc::new(HostObjects::load());
        let code = registry.code.clone();
        registry.publish(&self.core.shared, code);
    }

    /// Gives access to the sink as it is, without draining the rings first. The drain
    /// thread waits as long as the access lasts.
    pub fn sink_undrained(&self) -> SinkAccess<'_, S> {
        SinkAccess {
            sink: lock(&self.core.sink),
        }
    }

    /// Prepares to capture stacks without signals, sharing what the sampler knows of
    /// the host's code.
    #[must_use]
    pub fn stack_capture(&self) -> StackCapture {
        let host = lock(&self.core.registry).host.clone();
        StackCapture::with(host, self.core.shared.query.clone())
    }

    /// Drains all rings and then gives access to the sink. The drain thread waits as
    /// long as the access lasts.
    pub fn sink(&self) -> SinkAccess<'_, S> {
        SinkAccess {
            sink: self.core.drain_all(),
        }
    }

    /// Reports on the threads whose last word the sink has not got yet: those that
    /// are attached, and those that were just detached. So while the sink is held
    /// each thread is either here or was there.
    #[must_use]
    pub fn threads(&self) -> Vec<ThreadReport> {
        let registry = lock(&self.core.registry);
        registry
            .threads
            .iter()
            .filter_map(|thread| thread.report())
            .collect()
    }
}

impl<S: Sink> Drop for Sampler<S> {
    fn drop(&mut self) {
        self.core.stop.store(true, Ordering::Release);
        self.core.shared.wake();
        if let Some(drain) = self.drain.take() {
            // It ends in a panic only if the sink panicked, which has been reported.
            let _ = drain.join();
        }
    }
}

/// Access to a sampler's sink, with all samples so far in it.
#[derive(Debug)]
pub struct SinkAccess<'a, S> {
    sink: MutexGuard<'a, S>,
}

impl<S> std::ops::Deref for SinkAccess<'_, S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.sink
    }
}

impl<S> std::ops::DerefMut for SinkAccess<'_, S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.sink
    }
}

impl Registry {
    /// Makes `code` and the host objects what handlers see, and waits until none
    /// sees what was there before.
    fn publish(&mut self, shared: &Shared, code: CodeMap) {
        self.code = code;
        self.generation += 1;
        let view = View {
            generation: self.generation,
            guests: self.code.clone(),
            host: self.host.clone(),
        };
        let slots = self.threads.iter().map(|thread| &thread.slot);
        drop(shared.code.replace(view, slots));
    }
}

impl<S: Sink> Core<S> {
    fn drain_until_stopped(&self) {
        while !self.stop.load(Ordering::Acquire) {
            self.shared.wait(self.options.drain_period);
            drop(self.drain_all());
        }
    }

    fn drain_all(&self) -> MutexGuard<'_, S> {
        // The sink's lock also makes its holder the only reader of the rings.
        let mut sink = lock(&self.sink);
        let threads = lock(&self.registry).threads.clone();
        let mut frames = Vec::new();
        for thread in &threads {
            // Asked before the ring is read: afterwards nothing more can come.
            let detached = thread.detached.get().is_some();
            let mut reader = thread.ring.drain();
            while record::read(&mut reader, &mut frames, |sample| {
                sink.sample(thread.id, sample);
            }) {}
            if detached {
                lock(&self.registry)
                    .threads
                    .retain(|known| known.id != thread.id);
                if let Some(report) = thread.report() {
                    sink.detached(report);
                }
            }
        }
        sink
    }
}

impl Shared {
    fn wake(&self) {
        let one = 1u64;
        // SAFETY: the descriptor is an open eventfd, which takes eight bytes.
        unsafe { libc::write(self.wake.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Waits until woken, at most `period`.
    fn wait(&self, period: Duration) {
        let mut poll = libc::pollfd {
            fd: self.wake.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let timeout = i32::try_from(period.as_millis()).unwrap_or(i32::MAX).max(1);
        let mut count = 0u64;
        // SAFETY: one live pollfd; then a read of eight bytes into a live word, from
        // a descriptor that does not block.
        unsafe {
            libc::poll(&raw mut poll, 1, timeout);
            libc::read(self.wake.as_raw_fd(), (&raw mut count).cast(), 8);
        }
    }
}
