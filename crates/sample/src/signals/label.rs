//! Which label a thread's samples carry.
//!
//! A label is a scope's or a task's. A scope's is in effect on whatever stack the thread
//! runs while the scope lasts. A task's is in effect only on the stack on which it was set:
//! a fiber may be left without anybody being told, and what the thread runs then is not the
//! task. Tasks' labels are set within a scope, which takes them away at its end, so that none
//! outlives its stack.

use super::stack_memory::StackBounds;
use std::sync::atomic::{AtomicU64, Ordering};

/// One thread's labels. Written by the thread, read by it and by its handler.
#[derive(Debug)]
pub(crate) struct ThreadLabels {
    /// The innermost scope's.
    scope: AtomicU64,
    /// How many scopes there are.
    scopes: AtomicU64,
    task: AtomicU64,
    /// An address on the stack of the task; 0 where there is none.
    stack: AtomicU64,
}

/// A task's label, and an address on its stack; none if that is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TaskLabel {
    label: u64,
    stack: u64,
}

/// What was in effect before a scope.
#[derive(Debug)]
struct Before {
    scope: u64,
    task: TaskLabel,
}

thread_local! {
    /// Needs no destructor, so that the handler's access to it is a plain load.
    static LABELS: ThreadLabels = const { ThreadLabels::new() };
}

impl ThreadLabels {
    const fn new() -> Self {
        Self {
            scope: AtomicU64::new(0),
            scopes: AtomicU64::new(0),
            task: AtomicU64::new(0),
            stack: AtomicU64::new(0),
        }
    }

    /// Returns the label in effect on a stack. `is_on_it` tells whether an address is on that
    /// stack, and is asked only where a task has a label.
    fn in_effect(&self, is_on_it: impl FnOnce(u64) -> bool) -> u64 {
        let stack = self.stack.load(Ordering::Acquire);
        if stack != 0 && is_on_it(stack) {
            self.task.load(Ordering::Relaxed)
        } else {
            self.scope.load(Ordering::Relaxed)
        }
    }

    fn task(&self) -> TaskLabel {
        TaskLabel {
            label: self.task.load(Ordering::Relaxed),
            stack: self.stack.load(Ordering::Relaxed),
        }
    }

    /// The thread's own handler may come in between: then there is no task.
    fn set_task(&self, task: TaskLabel) {
        self.stack.store(0, Ordering::Release);
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
        self.task.store(task.label, Ordering::Relaxed);
        self.stack.store(task.stack, Ordering::Release);
    }

    fn enter(&self, label: Option<u64>) -> Before {
        let before = Before {
            scope: self.scope.load(Ordering::Relaxed),
            task: self.task(),
        };
        self.scopes.fetch_add(1, Ordering::Relaxed);
        if let Some(label) = label {
            self.scope.store(label, Ordering::Release);
            self.stack.store(0, Ordering::Release);
        }
        before
    }

    fn leave(&self, before: &Before) {
        // The task's first: a sample in between is the outer task's or the inner scope's.
        self.set_task(before.task);
        self.scope.store(before.scope, Ordering::Release);
        self.scopes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs `work` with a label in effect, or with the one that is, and then puts everything
/// about the calling thread's labels back, however `work` ends. Tasks' labels may be set in
/// there, see [`set_task_label`].
pub fn with_label<R>(label: Option<u64>, work: impl FnOnce() -> R) -> R {
    /// Runs on the thread that made it, within one call of `with_label`.
    struct Scope(Option<Before>);
    impl Drop for Scope {
        fn drop(&mut self) {
            if let Some(before) = &self.0 {
                let _ = LABELS.try_with(|labels| labels.leave(before));
            }
        }
    }
    let _scope = Scope(LABELS.try_with(|labels| labels.enter(label)).ok());
    work()
}

/// Tells whether tasks' labels may be set: within [`with_label`], on a thread that is sampled.
#[must_use]
#[inline]
pub fn takes_task_labels() -> bool {
    super::handler::is_attached()
        && LABELS.with(|labels| labels.scopes.load(Ordering::Relaxed)) != 0
}

/// Puts a label in effect on the stack that the caller runs on, and nowhere else, until the
/// next one is set or the scope ends; with `None`, the scope's is in effect. Returns what
/// [`restore_task_label`] takes to undo it. Has no effect where there is no scope.
#[inline(never)]
pub fn set_task_label(label: Option<u64>) -> TaskLabel {
    LABELS.with(|labels| {
        let before = labels.task();
        if labels.scopes.load(Ordering::Relaxed) != 0 {
            let here = 0u8;
            labels.set_task(match label {
                Some(label) => TaskLabel {
                    label,
                    stack: std::hint::black_box(&raw const here) as u64,
                },
                None => TaskLabel::default(),
            });
        }
        before
    })
}

/// Puts a task's label back in effect, if it was on the stack that the caller runs on; else
/// the scope's is in effect.
#[inline(never)]
pub fn restore_task_label(task: TaskLabel) {
    let here = 0u8;
    let here = std::hint::black_box(&raw const here) as u64;
    let is_here = task.stack != 0 && super::handler::are_on_one_stack(here, task.stack);
    LABELS.with(|labels| {
        if labels.scopes.load(Ordering::Relaxed) != 0 {
            labels.set_task(if is_here { task } else { TaskLabel::default() });
        }
    });
}

/// Sets the label of a thread that begins to be sampled outside of all scopes.
pub(super) fn reset() {
    LABELS.with(|labels| {
        if labels.scopes.load(Ordering::Relaxed) == 0 {
            labels.scope.store(0, Ordering::Relaxed);
            labels.stack.store(0, Ordering::Release);
        }
    });
}

/// Sets the label outside of scopes, or of the innermost one; returns the one before.
pub(super) fn set(label: u64) -> u64 {
    LABELS.with(|labels| {
        let before = labels.scope.swap(label, Ordering::Relaxed);
        labels.stack.store(0, Ordering::Release);
        before
    })
}

/// Returns the calling thread's label in effect on a stack, which is `own` if that holds
/// `sp`, and otherwise what `bounds` finds.
///
/// # Signal safety
///
/// That of `bounds`, which is asked only where a task has a label, off the thread's stack.
pub(super) fn at(sp: u64, own: StackBounds, bounds: impl FnOnce(u64) -> bool) -> u64 {
    LABELS
        .try_with(|labels| {
            labels.in_effect(|stack| {
                if own.holds(sp) {
                    own.holds(stack)
                } else {
                    !own.holds(stack) && bounds(stack)
                }
            })
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The labels of a thread that runs on a stack.
    fn on(labels: &ThreadLabels, stack: u64) -> u64 {
        labels.in_effect(|address| address == stack)
    }

    #[test]
    fn a_task_s_label_is_in_effect_on_its_stack_only() {
        let labels = ThreadLabels::new();
        let outer = labels.enter(Some(1));
        labels.set_task(TaskLabel {
            label: 7,
            stack: 100,
        });
        assert_eq!([on(&labels, 100), on(&labels, 200)], [7, 1]);
        // A scope within the task is the nearer one, and then it is the task's turn again,
        // whatever was set meanwhile.
        let inner = labels.enter(Some(2));
        assert_eq!([on(&labels, 100), on(&labels, 200)], [2, 2]);
        labels.set_task(TaskLabel {
            label: 8,
            stack: 200,
        });
        assert_eq!([on(&labels, 100), on(&labels, 200)], [2, 8]);
        labels.leave(&inner);
        assert_eq!([on(&labels, 100), on(&labels, 200)], [7, 1]);
        // One that only keeps what is there.
        let kept = labels.enter(None);
        assert_eq!([on(&labels, 100), on(&labels, 200)], [7, 1]);
        labels.set_task(TaskLabel::default());
        assert_eq!([on(&labels, 100), on(&labels, 200)], [1, 1]);
        labels.leave(&kept);
        assert_eq!([on(&labels, 100), on(&labels, 200)], [7, 1]);
        labels.leave(&outer);
        assert_eq!([on(&labels, 100), on(&labels, 200)], [0, 0]);
    }

    #[test]
    fn no_task_s_label_outlives_the_scope() {
        let failed = std::panic::catch_unwind(|| {
            with_label(None, || {
                set_task_label(Some(7));
                let here = LABELS.with(ThreadLabels::task);
                assert_eq!(here.label, 7);
                assert_ne!(here.stack, 0);
                std::panic::resume_unwind(Box::new("the work failed"));
            })
        });
        assert!(failed.is_err());
        assert_eq!(LABELS.with(|labels| labels.task().stack), 0);
        set_task_label(Some(7));
        assert_eq!(
            LABELS.with(|labels| labels.task().stack),
            0,
            "nobody would take it away"
        );
    }

    #[test]
    fn what_a_task_covered_is_there_after_it() {
        with_label(Some(1), || {
            let nothing = set_task_label(Some(7));
            let outer = set_task_label(Some(8));
            assert_eq!(outer.label, 7);
            restore_task_label(outer);
            assert_eq!(
                LABELS.with(|labels| labels.task().stack),
                0,
                "nobody knows the stack of a thread that is not sampled"
            );
            restore_task_label(nothing);
            assert_eq!(LABELS.with(|labels| labels.task().stack), 0);
            // Of a stack that this thread does not run.
            let elsewhere = Box::new(0u8);
            restore_task_label(TaskLabel {
                label: 9,
                stack: &raw const *elsewhere as u64,
            });
            assert_eq!(LABELS.with(|labels| labels.task().stack), 0);
        });
    }
}
