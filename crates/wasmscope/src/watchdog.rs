//! Says where guests are that take too long.

use crate::backtrace::{Backtrace, Frame, Walker};
use crate::fibers::{FiberState, Fibers, task};
use crate::{Error, OsThread};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a thread may take to say where it is.
const ANSWER: Duration = Duration::from_secs(1);

/// Watches calls of guests, and tells of each that takes longer than a limit where it is.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use wasmscope::{Guest, Walker, Watchdog};
/// # use wasmtime::{Engine, Instance, Module, Store};
/// # let engine = Engine::default();
/// # let bytes = wat::parse_str("(module (func $spin (export \"run\") (param i32)
/// #     (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))")?;
/// # let module = Module::new(&engine, &bytes)?;
/// # let mut store = Store::new(&engine, ());
/// # let instance = Instance::new(&mut store, &module, &[])?;
/// # let run = instance.get_typed_func::<i32, ()>(&mut store, "run")?;
/// let walker = Walker::new()?;
/// let _guest = walker.register(Guest::module("plugin", &module).bytes(bytes))?;
///
/// // What takes longer is written to standard error, with the guest's stack.
/// let watchdog = Watchdog::new(&walker, Duration::from_secs(5))?;
/// watchdog.watch("request 17", || run.call(&mut store, 1000))?;
/// # Ok(()) }
/// ```
///
/// The guest goes on: it is the embedder who knows whether to end it, for instance with
/// [`Engine::increment_epoch`](wasmtime::Engine::increment_epoch). Each call is told of once.
/// Watching costs a lock at the beginning and at the end of a call, and with tasks at each
/// poll; a call within its limit is not interrupted.
#[derive(Debug)]
pub struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// A call that takes longer than the limit.
#[derive(Debug)]
pub struct Overrun<'a> {
    walker: &'a Walker,
    name: &'a str,
    elapsed: Duration,
    thread: Option<OsThread>,
    backtraces: Vec<Backtrace>,
    error: Option<Error>,
}

/// A future that a [`Watchdog`] watches from its first poll until it is done or dropped.
pub struct Watched<F> {
    future: Pin<Box<F>>,
    name: String,
    shared: Arc<Shared>,
    call: Option<u64>,
}

struct Shared {
    limit: Duration,
    fibers: Option<Fibers>,
    calls: Mutex<Calls>,
    changed: Condvar,
}

#[derive(Default)]
struct Calls {
    next: u64,
    open: BTreeMap<u64, Call>,
    stop: bool,
}

struct Call {
    name: Arc<str>,
    begun: Instant,
    /// The thread that it is on; for a task, the one that polls it now.
    thread: Option<OsThread>,
    is_task: bool,
    told: bool,
}

/// A call that has begun; it ends when this is dropped.
struct Entered<'a> {
    shared: &'a Shared,
    call: u64,
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, name: &str, is_task: bool) -> u64 {
        // Without a number it can be told of, and not asked.
        let thread = if is_task { None } else { this_thread() };
        let mut calls = self.calls();
        // 0 is no task's.
        calls.next = calls.next.wrapping_add(1);
        let call = calls.next;
        let is_first = calls.open.is_empty();
        calls.open.insert(
            call,
            Call {
                name: name.into(),
                begun: Instant::now(),
                thread,
                is_task,
                told: false,
            },
        );
        drop(calls);
        if is_first {
            self.changed.notify_one();
        }
        call
    }

    fn leave(&self, call: u64) {
        self.calls().open.remove(&call);
    }

    fn set_thread(&self, call: u64, thread: Option<OsThread>) {
        if let Some(call) = self.calls().open.get_mut(&call) {
            call.thread = thread;
        }
    }

    /// Waits for calls that take too long, and tells of each.
    fn run(&self, walker: &Walker, mut tell: impl FnMut(&Overrun<'_>)) {
        loop {
            let mut calls = self.calls();
            let (call, name, begun, thread, is_task) = loop {
                if calls.stop {
                    return;
                }
                let untold = calls.open.iter_mut().filter(|(_, call)| !call.told);
                let next = untold.min_by_key(|(_, call)| call.begun);
                let left = next
                    .as_ref()
                    .map(|(_, call)| self.limit.saturating_sub(call.begun.elapsed()));
                match (next, left) {
                    (Some((number, call)), Some(Duration::ZERO)) => {
                        call.told = true;
                        let Call {
                            name,
                            begun,
                            thread,
                            is_task,
                            ..
                        } = &*call;
                        break (*number, Arc::clone(name), *begun, *thread, *is_task);
                    }
                    (_, left) => {
                        let left = left.unwrap_or(Duration::MAX).min(Duration::from_secs(3600));
                        calls = self
                            .changed
                            .wait_timeout(calls, left)
                            .unwrap_or_else(PoisonError::into_inner)
                            .0;
                    }
                }
            };
            drop(calls);
            let (backtraces, error) = self.stacks(walker, call, thread, is_task);
            // What ended meanwhile was somewhere else when it was asked.
            let calls = self.calls();
            let is_open = calls.open.get(&call).map(|call| call.thread);
            drop(calls);
            let Some(now) = is_open else { continue };
            if now != thread {
                // A task that moved between the two: ask again.
                if let Some(call) = self.calls().open.get_mut(&call) {
                    call.told = false;
                }
                continue;
            }
            tell(&Overrun {
                walker,
                name: &name,
                elapsed: begun.elapsed(),
                thread,
                backtraces,
                error,
            });
        }
    }

    fn stacks(
        &self,
        walker: &Walker,
        call: u64,
        thread: Option<OsThread>,
        is_task: bool,
    ) -> (Vec<Backtrace>, Option<Error>) {
        match (thread, is_task, &self.fibers) {
            (Some(thread), _, _) => match walker.capture_thread(thread, ANSWER) {
                Ok(backtrace) => (vec![backtrace], None),
                Err(error) => (Vec::new(), Some(error)),
            },
            (None, true, Some(fibers)) => {
                let fibers = fibers.of_task(call).into_iter();
                let suspended = fibers.filter(|fiber| fiber.state() == FiberState::Suspended);
                let stacks = suspended.map(|fiber| fiber.backtrace().clone());
                (stacks.collect(), None)
            }
            _ => (Vec::new(), None),
        }
    }
}

impl Watchdog {
    /// Starts a watchdog that writes to standard error.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    pub fn new(walker: &Walker, limit: Duration) -> Result<Self, Error> {
        Self::with(walker, limit, None, |overrun| {
            // Nobody is there to tell of a closed standard error.
            let _ = write!(std::io::stderr().lock(), "{overrun}");
        })
    }

    /// Starts a watchdog that calls `tell`, on a thread of its own. With `fibers` it knows where
    /// tasks wait; their stacks must be made by those.
    ///
    /// # Errors
    ///
    /// [`Error::Watchdog`] when its thread could not be started.
    pub fn with(
        walker: &Walker,
        limit: Duration,
        fibers: Option<&Fibers>,
        tell: impl FnMut(&Overrun<'_>) + Send + 'static,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            limit,
            fibers: fibers.cloned(),
            calls: Mutex::default(),
            changed: Condvar::new(),
        });
        let thread = std::thread::Builder::new()
            .name("wasmscope-watch".to_owned())
            .spawn({
                let (shared, walker) = (Arc::clone(&shared), walker.clone());
                move || shared.run(&walker, tell)
            })
            .map_err(Error::Watchdog)?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Runs `call`, on this thread, and watches it by this name.
    pub fn watch<R>(&self, name: &str, call: impl FnOnce() -> R) -> R {
        let _entered = Entered {
            shared: &self.shared,
            call: self.shared.enter(name, false),
        };
        call()
    }

    /// Watches a future by this name, from its first poll on. While it waits, its stacks are
    /// those of the fibers that were last resumed for it.
    pub fn watch_future<F: Future>(&self, name: impl Into<String>, future: F) -> Watched<F> {
        Watched {
            future: Box::pin(future),
            name: name.into(),
            shared: Arc::clone(&self.shared),
            call: None,
        }
    }
}

/// Asks the system for this thread once.
fn this_thread() -> Option<OsThread> {
    thread_local! {
        static THIS: std::cell::Cell<Option<OsThread>> = const { std::cell::Cell::new(None) };
    }
    let known = THIS.try_with(std::cell::Cell::get).ok().flatten();
    known.or_else(|| {
        let thread = OsThread::current().ok();
        let _ = THIS.try_with(|this| this.set(thread));
        thread
    })
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.calls().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It ends in a panic only if `tell` panicked, which has been reported.
            let _ = thread.join();
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.shared.leave(self.call);
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        /// Says that nobody polls it any more, whatever happens.
        struct Polled<'a>(&'a Shared, u64);
        impl Drop for Polled<'_> {
            fn drop(&mut self) {
                self.0.set_thread(self.1, None);
            }
        }
        let this = &mut *self;
        let shared = &*this.shared;
        let call = *this
            .call
            .get_or_insert_with(|| shared.enter(&this.name, true));
        shared.set_thread(call, this_thread());
        let polled = Polled(shared, call);
        let result = task::polling(call, || this.future.as_mut().poll(context));
        drop(polled);
        if result.is_ready() {
            shared.leave(call);
        }
        result
    }
}

impl<F> Drop for Watched<F> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.shared.leave(call);
        }
    }
}

impl Overrun<'_> {
    /// Returns the name that it is watched by.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
    }

    /// Returns how long it has taken so far.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Returns the thread that it is on; `None` for a task that waits.
    #[must_use]
    pub fn thread(&self) -> Option<OsThread> {
        self.thread
    }

    /// Returns where it is: the stack of its thread, or the stacks of the fibers of a task that
    /// waits, of which there are none where the watchdog knows no [`Fibers`].
    #[must_use]
    pub fn backtraces(&self) -> &[Backtrace] {
        &self.backtraces
    }

    /// Returns those frames with their names, stack by stack, newest first.
    #[must_use]
    pub fn frames(&self) -> Vec<Vec<Arc<Frame>>> {
        let name = |backtrace| self.walker.name(backtrace);
        self.backtraces.iter().map(name).collect()
    }

    /// Returns why its thread did not say where it is.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }
}

/// Shows all of it, on several lines.
impl fmt::Display for Overrun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        write!(f, "wasmscope: {} has taken {seconds:.1} s", self.name)?;
        match self.thread {
            Some(thread) => writeln!(f, ", on thread {}:", thread.tid())?,
            None if self.backtraces.is_empty() => writeln!(f, "; it waits, nothing says where")?,
            None => writeln!(f, ", and waits:")?,
        }
        if let Some(error) = &self.error {
            writeln!(f, "    {error}")?;
        }
        for (backtrace, frames) in self.backtraces.iter().zip(self.frames()) {
            for frame in frames {
                writeln!(f, "    {frame}")?;
            }
            if !backtrace.end().is_whole() {
                writeln!(f, "    (older frames are missing)")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("limit", &self.limit)
            .field("open", &self.calls().open.len())
            .finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for Watched<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
