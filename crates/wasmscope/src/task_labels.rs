//! Labels of the concurrent tasks of a store.
//!
//! The engine runs all tasks of a store in one loop, on fibers. Whatever leads into a guest's
//! code, its call or the return of what it called, passes the store's call hook first, and
//! there the engine says which task it is. Nothing is passed on the way out of a fiber: so a
//! task's label is noted with the stack on which it holds (`wasmscope_sample::set_task_label`).

use crate::Labels;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use wasmscope_sample::{restore_task_label, set_task_label, takes_task_labels, with_label};
use wasmtime::component::GuestTaskId;
use wasmtime::{AsContextMut, CallHook};

/// The labels of one store's tasks, for components whose tasks run for several tenants at the
/// same time. Cheap to clone.
///
/// The samples of a task carry its labels, on whichever thread and fiber it runs; those of a
/// task that another task called carry the caller's, unless it has its own. What the store does
/// between its tasks carries the labels under which its loop is polled, and so do tasks without
/// labels.
///
/// Needs wasmtime's cargo feature `call-hook` for the store's hook, which stays the embedder's,
/// and takes effect in what is polled within [`follow`](Self::follow) or run within
/// [`scope`](Self::scope), or those of [`Labels`]:
///
/// ```ignore
/// let tasks = TaskLabels::new();
/// let hooked = tasks.clone();
/// store.call_hook(move |context, kind| {
///     hooked.hook(context, kind);
///     Ok(())
/// });
/// let all = store.run_concurrent(async |accessor| {
///     let call = accessor.with(|store| run.start_call_concurrent(store, (17,)))?;
///     let _labelled = tasks.set(call.task(), Labels::new().with("tenant", "acme"));
///     run.finish_call_concurrent(accessor, call).await
/// });
/// tasks.follow(all).await
/// ```
///
/// Code of a host function carries the labels of the task that called it, until the function
/// returns or gives way. A future that it leaves to the store's loop is polled there, under the
/// loop's labels; `Labels::current().follow(future)` keeps the task's.
///
/// # Limits
///
/// Whose caller a task is, is the engine's account. It names a caller by a number that is used
/// again when the caller is over, so a task that goes on although it has returned and its caller
/// is over may be taken for one of the task that has the number then. Code on the stack of a
/// guest's own continuation (stack switching) carries the loop's labels where that has not called
/// the host.
#[derive(Clone, Default)]
pub struct TaskLabels {
    tasks: Arc<Mutex<Tasks>>,
}

#[derive(Default)]
struct Tasks {
    labelled: HashMap<GuestTaskId, Entry>,
    serial: u64,
    /// What was in effect on a stack before the guest was entered there.
    entered: Vec<Entered>,
}

struct Entry {
    serial: u64,
    labels: Labels,
    /// The task's caller, once the task has been seen.
    caller: Option<Option<GuestTaskId>>,
}

struct Entered {
    /// Where on the stack the hook was called.
    address: usize,
    before: wasmscope_sample::TaskLabel,
}

impl TaskLabels {
    /// Makes a set without labels, for one store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a task labels, in place of those that it has, until what is returned is dropped.
    ///
    /// The engine uses a task's number again once the task is over, which is at some time after
    /// its call has returned. So drop what is returned then, before the store's loop goes on: at
    /// the end of the `async` block that awaits the call. A task that goes on after its return
    /// then has no labels of its own any more.
    #[must_use = "dropping it takes the labels away"]
    pub fn set(&self, task: GuestTaskId, labels: Labels) -> LabelledTask {
        let mut tasks = self.lock();
        tasks.serial += 1;
        let serial = tasks.serial;
        let entry = Entry {
            serial,
            labels,
            caller: None,
        };
        tasks.labelled.insert(task, entry);
        drop(tasks);
        LabelledTask {
            tasks: self.clone(),
            task,
            serial,
        }
    }

    /// Returns the labels that a task was given; `None` where it has none of its own.
    #[must_use]
    pub fn get(&self, task: GuestTaskId) -> Option<Labels> {
        let tasks = self.lock();
        tasks.labelled.get(&task).map(|entry| entry.labels.clone())
    }

    /// Makes tasks' labels count whenever `future` is polled, on whichever thread. To be used on
    /// that of the store's `run_concurrent`, or of a `call_async`.
    pub fn follow<F: Future>(&self, future: F) -> FollowedTasks<F> {
        FollowedTasks {
            future: Box::pin(future),
        }
    }

    /// Makes tasks' labels count while `work` runs.
    pub fn scope<R>(&self, work: impl FnOnce() -> R) -> R {
        with_label(None, work)
    }

    /// Notes which task goes on; to be called from the store's call hook with what that was
    /// given. It comes last there: where a hook fails on the way into a guest, the engine does
    /// not call it on the way out, and the labels would stay until the scope ends.
    ///
    /// # Panics
    ///
    /// Where the store's engine has no support for concurrency (`Config::concurrency_support`)
    /// and yet a task, of another store, has labels here.
    #[inline]
    pub fn hook(&self, context: impl AsContextMut, kind: CallHook) {
        if takes_task_labels() {
            self.note(context, kind);
        }
    }

    #[inline(never)]
    fn note(&self, mut context: impl AsContextMut, kind: CallHook) {
        let here = 0u8;
        let address = std::hint::black_box(&raw const here) as usize;
        let mut tasks = self.lock();
        match kind {
            CallHook::CallingHost => {}
            CallHook::ReturningFromHost => {
                set_task_label(tasks.label(&mut context));
            }
            CallHook::CallingWasm => {
                let before = set_task_label(tasks.label(&mut context));
                tasks.enter(Entered { address, before });
            }
            CallHook::ReturningFromWasm => {
                restore_task_label(tasks.leave(address).unwrap_or_default());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tasks {
    /// Returns the number of the labels of whichever task runs now; `None` for none.
    fn label(&mut self, mut context: impl AsContextMut) -> Option<u64> {
        if self.labelled.is_empty() {
            return None;
        }
        let mut context = context.as_context_mut();
        let mut stack = context.async_call_stack().ok()?.peekable();
        while let Some(task) = stack.next() {
            let Some(entry) = self.labelled.get_mut(&task) else {
                continue;
            };
            // Another caller: another task, that has the number of one that is over. Or the
            // caller is over, and another has its number.
            let caller = stack.peek().copied();
            let is_same = match *entry.caller.get_or_insert(caller) {
                Some(first) => caller.is_none_or(|caller| caller == first),
                None => caller.is_none(),
            };
            return is_same.then(|| entry.labels.id());
        }
        None
    }

    fn enter(&mut self, entered: Entered) {
        // Entries further down the same stack were left without a word, by a panic.
        self.entered.retain(|before| {
            before.address > entered.address || entered.address - before.address > NEAR
        });
        self.entered.push(entered);
    }

    /// Returns what was in effect before the guest was entered from this place of a stack.
    fn leave(&mut self, address: usize) -> Option<wasmscope_sample::TaskLabel> {
        let distance = |entered: &Entered| entered.address.abs_diff(address);
        let entered = self.entered.iter().enumerate();
        let (index, _) = entered.min_by_key(|(_, entered)| distance(entered))?;
        let nearest = self.entered.get(index).map(distance)?;
        (nearest < NEAR).then(|| self.entered.swap_remove(index).before)
    }
}

/// No two stacks are so near each other that one is used there: they have guards between them
/// and begin with frames of the engine.
const NEAR: usize = 4096;

impl fmt::Debug for TaskLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = self.lock();
        let labelled = tasks.labelled.iter();
        f.debug_map()
            .entries(labelled.map(|(task, entry)| (task, &entry.labels)))
            .finish()
    }
}

/// Keeps a task's labels; see [`TaskLabels::set`].
#[derive(Debug)]
#[must_use = "dropping it takes the labels away"]
pub struct LabelledTask {
    tasks: TaskLabels,
    task: GuestTaskId,
    serial: u64,
}

impl Drop for LabelledTask {
    fn drop(&mut self) {
        let mut tasks = self.tasks.lock();
        let entry = tasks.labelled.get(&self.task);
        // Not those of another task that has the number since.
        if entry.is_some_and(|entry| entry.serial == self.serial) {
            tasks.labelled.remove(&self.task);
        }
    }
}

/// A future in which tasks' labels count; see [`TaskLabels::follow`].
pub struct FollowedTasks<F> {
    future: Pin<Box<F>>,
}

impl<F> fmt::Debug for FollowedTasks<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowedTasks").finish_non_exhaustive()
    }
}

impl<F: Future> Future for FollowedTasks<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        with_label(None, || self.future.as_mut().poll(context))
    }
}
