//! The stacks of an async host's guests, also of those that wait.
//!
//! A guest that is called asynchronously runs on a stack of its own, a fiber. When it waits
//! for the host, the fiber is put aside, and no thread's stack shows it. The engine lets an
//! embedder bring the memory of these stacks; whoever brings it knows them all.

mod memory;
pub(crate) mod task;
mod trial;

use crate::Error;
use crate::backtrace::{Backtrace, Codes, RawFrame, Walker};
use memory::{Creator, FiberMemory, Found};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use wasmscope_sample::{OsThread, StackCapture};
use wasmtime::StackCreator;

/// Knows the fibers of all engines that it makes stacks for, and lists them with their
/// stacks, as a debugger lists threads.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use wasmscope::{FiberState, Fibers, Guest, Walker};
/// # use wasmtime::{Config, Engine, Linker, Module, Store};
/// let walker = Walker::new()?;
/// let fibers = Fibers::new(&walker)?;
/// let mut config = Config::new();
/// config.with_host_stack(fibers.stack_creator());
/// let engine = Engine::new(&config)?;
/// # let bytes = wat::parse_str("(module (import \"host\" \"wait\" (func $wait))
/// #     (func $inner (call $wait)) (func $run (export \"run\") (call $inner)))")?;
/// let module = Module::new(&engine, &bytes)?;
/// let _guest = walker.register(Guest::module("plugin", &module).bytes(bytes))?;
///
/// # let mut linker = Linker::new(&engine);
/// # linker.func_wrap_async("host", "wait", |_: wasmtime::Caller<'_, ()>, ()| {
/// #     Box::new(std::future::pending::<()>())
/// # })?;
/// # let mut store = Store::new(&engine, ());
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// # let instance = linker.instantiate_async(&mut store, &module).await?;
/// # let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
/// # let mut call = Box::pin(run.call_async(&mut store, ()));
/// # let waits = std::future::poll_fn(|context| {
/// #     std::task::Poll::Ready(call.as_mut().poll(context).is_pending())
/// # });
/// # assert!(waits.await);
/// // While guests run and wait, from any thread:
/// for fiber in fibers.list() {
///     println!("{:?} {:?}", fiber.id(), fiber.state());
///     for frame in walker.name(fiber.backtrace()) {
///         println!("    {frame}");
///     }
/// }
/// # let waiting: Vec<_> = fibers.list().into_iter()
/// #     .filter(|fiber| fiber.state() == FiberState::Suspended).collect();
/// # let names: Vec<_> = walker.name(waiting[0].backtrace()).iter()
/// #     .map(|frame| frame.name.to_string()).collect();
/// # assert_eq!(waiting.len(), 1);
/// # assert_eq!(names, ["host::wait", "inner", "run"]);
/// # Ok::<(), wasmtime::Error>(())
/// # })?;
/// # Ok(()) }
/// ```
///
/// Guests need not be stopped or wrapped for it; each resume costs four stores more. A stack that is listed as suspended is whole, as it was at one moment of the call;
/// a fiber that is resumed while it is looked at is looked at again, and is running if that
/// goes on. The engine takes stacks from an embedder with its on-demand allocator only.
#[derive(Clone)]
pub struct Fibers {
    walker: Walker,
    known: Arc<Known>,
}

/// The stacks that there are.
#[derive(Debug, Default)]
pub(super) struct Known {
    stacks: Mutex<BTreeMap<u64, Weak<FiberMemory>>>,
    next: AtomicU64,
    /// Held by whoever reads stacks.
    reader: Mutex<Reader>,
}

/// What reading stacks takes.
#[derive(Debug, Default)]
struct Reader {
    capture: Option<StackCapture>,
    words: Vec<u64>,
    /// Differs from one copy to the next.
    mark: u64,
}

/// Tells fibers' stacks apart: a stack that the engine uses again for another call of the same
/// store keeps its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FiberId(u64);

/// What a fiber does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FiberState {
    /// Nothing: the stack waits to be used, or used again.
    Idle,
    /// It runs, on a thread whose stack [`Walker::capture_thread`] gets.
    Running,
    /// It waits; its stack is in [`Fiber::backtrace`].
    Suspended,
}

/// One fiber as it was when it was listed.
#[derive(Clone, Debug)]
pub struct Fiber {
    id: FiberId,
    state: FiberState,
    resumes: u64,
    thread: u32,
    task: u64,
    backtrace: Backtrace,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often a fiber is looked at that is resumed meanwhile.
const ATTEMPTS: usize = 8;

impl Fibers {
    /// Makes a list of no fibers. `walker` says which guests are known. The first of a process
    /// tries out, on a fiber of its own, whether the engine's stacks are laid out as expected.
    ///
    /// # Errors
    ///
    /// [`Error::FiberLayout`] where they are not.
    pub fn new(walker: &Walker) -> Result<Self, Error> {
        trial::check()?;
        Ok(Self {
            walker: walker.clone(),
            known: Arc::default(),
        })
    }

    /// Returns what the engine asks for stacks, for
    /// [`Config::with_host_stack`](wasmtime::Config::with_host_stack). Several engines may
    /// have it.
    #[must_use]
    pub fn stack_creator(&self) -> Arc<dyn StackCreator> {
        Arc::new(Creator(Arc::clone(&self.known)))
    }

    /// Returns the walker that names its frames.
    #[must_use]
    pub fn walker(&self) -> &Walker {
        &self.walker
    }

    /// Returns all fibers that there are now, in the order in which their stacks were made.
    /// Guests go on meanwhile: each is looked at for itself.
    #[must_use]
    pub fn list(&self) -> Vec<Fiber> {
        self.list_where(|_| true)
    }

    /// Returns those fibers that were last resumed for a task.
    pub(crate) fn of_task(&self, task: u64) -> Vec<Fiber> {
        let mut fibers = self.list_where(|memory| memory.last_resumed().2 == task);
        // One may have gone on, for another task, before it was looked at.
        fibers.retain(|fiber| fiber.task == task);
        fibers
    }

    fn list_where(&self, wanted: impl Fn(&FiberMemory) -> bool) -> Vec<Fiber> {
        let mut stacks = self.known.there();
        stacks.retain(|(_, memory)| wanted(memory));
        let mut reader = lock(&self.known.reader);
        let Reader {
            capture,
            words,
            mark,
        } = &mut *reader;
        if capture.is_none() {
            *capture = StackCapture::new();
        }
        // There is one wherever there is a walker.
        let Some(capture) = capture else {
            return Vec::new();
        };
        let mut codes = self.walker.codes();
        let mut listed = Vec::with_capacity(stacks.len());
        for (id, memory) in stacks {
            let mut fiber = self.look(id, &memory, &codes, capture, words, mark);
            if !fiber.backtrace.end().is_whole() {
                // A guest that was registered meanwhile was host code to this walk.
                codes = self.walker.codes();
                fiber = self.look(id, &memory, &codes, capture, words, mark);
            }
            listed.push(fiber);
        }
        listed
    }

    fn look(
        &self,
        id: FiberId,
        memory: &FiberMemory,
        codes: &Arc<Codes>,
        capture: &mut StackCapture,
        words: &mut Vec<u64>,
        mark: &mut u64,
    ) -> Fiber {
        // A fiber that is resumed each time that it is looked at runs.
        let mut state = FiberState::Running;
        let mut backtrace = Backtrace::empty();
        let mut last = memory.last_resumed();
        for _ in 0..ATTEMPTS {
            last = memory.last_resumed();
            *mark = mark.wrapping_add(2);
            let found = memory.copy(*mark | 1, words);
            // Before the switch the engine says that it is about to resume: whose fiber it is
            // has changed then, and its stack has not.
            if found == Found::Moved || memory.last_resumed() != last {
                continue;
            }
            match found {
                Found::Suspended(sp) => {
                    state = FiberState::Suspended;
                    let mut frames: Vec<RawFrame> = Vec::new();
                    let end = memory::left(sp, words).map(|left| {
                        capture.visit_left(left, &codes.map, |frame| {
                            frames.push(frame.into());
                            ControlFlow::Continue(())
                        })
                    });
                    let end = end.map_or_else(Default::default, Into::into);
                    backtrace = self.walker.assemble(Arc::clone(codes), frames, end);
                }
                Found::Idle => state = FiberState::Idle,
                Found::Running | Found::Moved => {}
            }
            break;
        }
        let (resumes, thread, task) = last;
        Fiber {
            id,
            state,
            resumes,
            thread,
            task,
            backtrace,
        }
    }
}

impl Known {
    fn add(&self, memory: &Arc<FiberMemory>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut stacks = lock(&self.stacks);
        // Each so often those that are gone are forgotten, in all at most as much work again.
        if id.is_power_of_two() || id.is_multiple_of(1024) {
            stacks.retain(|_, memory| memory.strong_count() > 0);
        }
        stacks.insert(id, Arc::downgrade(memory));
    }

    /// Returns the stacks that there are now, in the order in which they were made.
    fn there(&self) -> Vec<(FiberId, Arc<FiberMemory>)> {
        let stacks = lock(&self.stacks);
        let there = stacks.iter();
        let there = there.filter_map(|(id, memory)| Some((FiberId(*id), memory.upgrade()?)));
        there.collect()
    }
}

impl Fiber {
    /// Returns the number of its stack.
    #[must_use]
    pub fn id(&self) -> FiberId {
        self.id
    }

    /// Returns what it did.
    #[must_use]
    pub fn state(&self) -> FiberState {
        self.state
    }

    /// Returns how often fibers were resumed on its stack, one that is about to be among them.
    #[must_use]
    pub fn resumes(&self) -> u64 {
        self.resumes
    }

    /// Returns the thread that resumed it last, unless that has ended.
    #[must_use]
    pub fn thread(&self) -> Option<OsThread> {
        OsThread::with_tid(self.thread).ok()
    }

    /// Returns its stack when it was suspended, newest frame first; empty otherwise.
    #[must_use]
    pub fn backtrace(&self) -> &Backtrace {
        &self.backtrace
    }
}

impl fmt::Debug for Fibers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fibers")
            .field("stacks", &lock(&self.known.stacks).len())
            .finish_non_exhaustive()
    }
}
