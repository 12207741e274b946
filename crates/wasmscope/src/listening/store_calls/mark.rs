//! How many calls are open as the host enters a guest, and the close of those that are more
//! when it is back.

use super::StoreCalls;
use super::closing::{ListenerPanic, raise};
use crate::layout::StackId;
use crate::listening::reach::Reach;
use wasmscope_listen::Cause;

/// How far a call is unwound by the host: down to so many open calls.
#[derive(Clone, Debug, Default)]
pub(in crate::listening) struct Mark {
    /// The stack that the host was on.
    pub(super) stack: StackId,
    /// How many were open on that one.
    pub(super) left: usize,
    /// How many were open on the fibers of other tasks.
    fibers: Vec<(StackId, usize)>,
}

/// Which tasks on other fibers than the scope's end with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::listening) enum Ends {
    /// All: the guest failed, and the engine lets none of the store's tasks go on.
    All,
    /// The one that ran last: what ran the store was dropped, perhaps while it held that.
    Last,
    /// None: the host gave up. The engine keeps them, and lets them go on another time.
    None,
}

impl StoreCalls {
    /// Notes how many calls are open, before the host enters the guest.
    pub(in crate::listening) fn mark(&mut self, reach: &dyn Reach) -> Mark {
        if self.has_nothing_open() {
            // Nothing to close, and of no activation is anything to be remembered.
            self.unbar();
            self.activations.clear();
            return Mark::default();
        }
        self.settle_in_host(reach);
        self.switch_to(self.host_stack());
        raise(self.try_tell_kept(self.failed_if_left(), reach));
        let fibers = self.suspended.iter().filter_map(|(stack, (calls, _))| {
            matches!(stack, StackId::Fiber(_)).then_some((*stack, calls.len()))
        });
        Mark {
            stack: self.stack,
            left: self.calls.len(),
            fibers: fibers.collect(),
        }
    }

    /// Closes what was opened since, when the host is back from the guest: nothing, if the
    /// guest returned, which is when there is no cause.
    ///
    /// Calls on continuations that are suspended stay open then; when the guest failed, the
    /// engine has dropped the one that ran. So do those of other tasks, but for those that the
    /// scope `ends`.
    pub(in crate::listening) fn close_since(
        &mut self,
        mark: &Mark,
        cause: Option<&Cause<'_>>,
        ends: Ends,
        reach: &dyn Reach,
    ) {
        self.staged.clear();
        self.awaited = None;
        self.unbar();
        if self.has_nothing_open() {
            self.activations.clear();
            return;
        }
        let mut panic = None;
        if let Some(cause) = cause {
            panic = self.try_tell_kept(Some(cause), reach);
            panic = panic.or(self.close_continuations(cause, reach));
            panic = panic.or(self.close_fibers_since(mark, cause, ends, reach));
        }
        self.switch_to(mark.stack);
        let is_over = cause.unwrap_or(&Cause::Unknown);
        panic = panic.or(self.try_close_down_to(mark.left, is_over, reach));
        if cause.is_none() {
            panic = panic.or(self.try_tell_kept(self.failed_if_left(), reach));
        }
        if self.calls.is_empty() {
            self.activations.clear();
        }
        raise(panic);
    }

    /// Closes what was opened on the fibers of other tasks that end, the one that ran last
    /// first. Returns the first panic.
    fn close_fibers_since(
        &mut self,
        mark: &Mark,
        cause: &Cause<'_>,
        ends: Ends,
        reach: &dyn Reach,
    ) -> Option<ListenerPanic> {
        let others = self.suspended.keys().copied();
        let ended = match ends {
            Ends::All => usize::MAX,
            Ends::Last => 1,
            Ends::None => 0,
        };
        let fibers: Vec<_> = std::iter::once(self.stack)
            .chain(others)
            .take(ended)
            .filter(|stack| matches!(stack, StackId::Fiber(_)) && *stack != mark.stack)
            .collect();
        let mut panic = None;
        for fiber in fibers {
            let mut marked = mark.fibers.iter();
            let left = marked
                .find(|(stack, _)| *stack == fiber)
                .map_or(0, |(_, left)| *left);
            self.switch_to(fiber);
            panic = panic.or(self.try_close_down_to(left, cause, reach));
        }
        panic
    }
}
