//! The sampler: its threads, its code, and the drain thread that empties the rings.

#![expect(unsafe_code, reason = "eventfd, poll and read are C functions")]

use crate::clock::{self, Clock, Mechanism, Rate};
use crate::code_map::CodeMap;
use crate::handler::{self, Attachment, Shared, View};
use crate::published::{Published, ReaderSlot};
use crate::record::{self, Sample};
use crate::ring::Ring;
use crate::stack_memory::{MappingQuery, StackBounds};
use crate::thread::{Counts, ThreadId, ThreadReport, ThreadState, Timing};
use crate::timer::Timer;
use crate::{Error, alt_stack};
use std::cell::{RefCell, UnsafeCell};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wasmscope_address::TextRange;
use wasmscope_walk::host::{HostCache, HostObjects};
use wasmscope_walk::{Native, Window};

/// What becomes of host frames in samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HostFrames {
    /// Each run of host frames becomes one [`RawFrame::HOST_RUN`], so that no host
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
struct Registry {
    threads: Vec<Arc<ThreadState>>,
    next: u64,
    code: CodeMap,
    host: Arc<HostObjects>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
                    guests: CodeMap::default(),
                    host: host.clone(),
                }),
                host_frames: options.host_frames,
                cpu_time: options.cpu_time,
                max_frames: options.max_frames.max(1),
                query: MappingQuery::open(),
                wake,
            }),
            registry: Arc::new(Mutex::new(Registry {
                threads: Vec::new(),
                next: 0,
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

    /// Drains all rings and then gives access to the sink. The drain thread waits as
    /// long as the access lasts.
    pub fn sink(&self) -> SinkAccess<'_, S> {
        SinkAccess {
            sink: self.core.drain_all(),
        }
    }

    /// Reports on the threads that are attached now.
    #[must_use]
    pub fn threads(&self) -> Vec<ThreadReport> {
        let registry = lock(&self.core.registry);
        registry
            .threads
            .iter()
            .filter(|thread| thread.detached.get().is_none())
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
        let view = View {
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

/// Keeps the calling thread attached; dropping it detaches the thread. Must be
/// dropped on that thread, hence not `Send`.
#[derive(Debug)]
#[must_use = "dropping the guard detaches the thread at once"]
pub struct ThreadGuard {
    attachment: Option<Box<Attachment>>,
    timer: Option<Timer>,
    not_send: PhantomData<*const ()>,
}

impl ThreadGuard {
    fn attach(
        options: &Options,
        shared: &Arc<Shared>,
        registry: &Mutex<Registry>,
    ) -> Result<Self, Error> {
        if handler::is_attached() {
            return Err(Error::AlreadyAttached);
        }
        let failed = |what| move |source| Error::Attach { what, source };
        alt_stack::ensure().map_err(failed("give it an alternate signal stack"))?;
        let stack = StackBounds::of_this_thread().map_err(failed("find its stack"))?;
        let state = {
            let mut registry = lock(registry);
            let id = ThreadId(registry.next);
            registry.next += 1;
            let state = Arc::new(ThreadState {
                id,
                // SAFETY: gettid has no preconditions.
                tid: unsafe { libc::gettid() },
                name: std::thread::current().name().unwrap_or("").to_owned(),
                interval: options.rate.interval().as_nanos() as u64,
                stack,
                ring: Ring::new(options.ring_bytes),
                slot: ReaderSlot::default(),
                timing: OnceLock::new(),
                counts: Counts::default(),
                detached: OnceLock::new(),
            });
            registry.threads.push(state.clone());
            state
        };
        let attachment = Box::new(Attachment {
            state: state.clone(),
            shared: shared.clone(),
            host_cache: UnsafeCell::new(HostCache::new()),
        });
        let address: *const Attachment = &raw const *attachment;
        handler::enter(address);
        let mut guard = Self {
            attachment: Some(attachment),
            timer: None,
            not_send: PhantomData,
        };
        // From here on an error detaches through the guard's drop.
        let timer = Timer::arm(
            options.clock,
            options.mechanism,
            options.rate.interval(),
            handler::SIGNAL,
            address as usize,
        )
        .map_err(failed("arm its timer"))?;
        let cpu = clock::thread_cpu_nanos();
        let attached = clock::monotonic_nanos();
        state.counts.last_cpu.store(cpu, Ordering::Relaxed);
        let timing = Timing {
            origin: timer.origin(),
            mechanism: timer.mechanism(),
            attached,
            started: match timer.mechanism().clock() {
                Clock::Wall => attached,
                Clock::Cpu => cpu,
            },
        };
        guard.timer = Some(timer);
        // Set once, here.
        let _ = state.timing.set(timing);
        Ok(guard)
    }

    /// Returns the sampler's number of this thread.
    #[must_use]
    pub fn id(&self) -> ThreadId {
        self.attachment
            .as_ref()
            .map_or(ThreadId(u64::MAX), |attachment| attachment.state.id)
    }

    /// Keeps the thread attached until it exits, for threads that others start and
    /// end, such as a runtime's workers.
    pub fn keep_until_thread_exits(self) {
        thread_local! {
            static KEPT: RefCell<Option<ThreadGuard>> = const { RefCell::new(None) };
        }
        KEPT.with(|kept| *kept.borrow_mut() = Some(self));
    }
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        drop(self.timer.take());
        handler::leave();
        if let Some(attachment) = self.attachment.take() {
            attachment.state.finish();
        }
    }
}

/// Sets the label of the calling thread's samples from here on, and returns the one
/// before; `None`, and no effect, on a thread that is not attached. What labels
/// mean is the [`Sink`]'s business; 0 is the label of a thread that never set one.
pub fn set_label(label: u64) -> Option<u64> {
    handler::set_label(label)
}

/// Returns the calling thread's number and label, if it is attached to a sampler.
#[must_use]
pub fn current_thread() -> Option<(ThreadId, u64)> {
    handler::current_thread()
}

/// Tells whether the calling thread is attached to a sampler.
#[must_use]
pub fn is_attached() -> bool {
    handler::is_attached()
}

/// Returns the CPU time that the calling thread has used.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    Duration::from_nanos(clock::thread_cpu_nanos())
}

/// Returns the current time in nanoseconds of `CLOCK_MONOTONIC`, the clock of
/// [`Sample::monotonic_nanos`].
#[must_use]
pub fn monotonic_nanos() -> u64 {
    clock::monotonic_nanos()
}
