//! The sampler: its threads, its code, and the drain thread that empties the rings.

use super::capture::StackCapture;
use super::guard::ThreadGuard;
use super::guest_windows::GuestWindows;
use super::handler::{self, Shared};
use super::published::Published;
use super::record;
use super::registry::{Registry, lock};
use super::stack_memory::MappingQuery;
use super::wake::Wake;
use crate::{CodeMap, Error, Options, Sink, ThreadReport};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use wasmscope_address::TextRange;
use wasmscope_walk::host::HostObjects;

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
        let wake = Wake::new().map_err(Error::Drain)?;
        let registry = Registry::new();
        let core = Arc::new(Core {
            shared: Arc::new(Shared {
                code: Published::new(registry.view()),
                host_frames: options.host_frames,
                cpu_time: options.cpu_time,
                max_frames: options.max_frames.max(1),
                query: Arc::new(MappingQuery::open()),
                wake,
            }),
            registry: Arc::new(Mutex::new(registry)),
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
    pub fn add_code(&self, range: TextRange, windows: GuestWindows) -> Result<(), Error> {
        let mut registry = lock(&self.core.registry);
        registry.code = registry
            .code
            .with(range, windows)
            .ok_or(Error::CodeOverlaps {
                start: range.start(),
            })?;
        registry.publish(&self.core.shared);
        Ok(())
    }

    /// Removes guest code. When this returns no handler reads it any more, and the
    /// sink has got every sample that may mention it.
    pub fn remove_code(&self, range: TextRange) {
        {
            let mut registry = lock(&self.core.registry);
            registry.code = registry.code.without(range);
            registry.publish(&self.core.shared);
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
        registry.publish(&self.core.shared);
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
        self.core.shared.wake.wake();
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

impl<S: Sink> Core<S> {
    fn drain_until_stopped(&self) {
        while !self.stop.load(Ordering::Acquire) {
            self.shared.wake.wait(self.options.drain_period);
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
