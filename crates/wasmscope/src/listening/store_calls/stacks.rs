//! The stacks of a store: its own, those of continuations, and the fibers of its tasks.

#![expect(
    unsafe_code,
    reason = "asks how far continuations of the store at hand are"
)]

use super::StoreCalls;
use super::closing::ListenerPanic;
use crate::layout::{Fp, Progress, StackId, StoreContext};
use crate::listening::open_calls::OpenCalls;
use crate::listening::reach::Reach;
use wasmscope_listen::Cause;

impl StoreCalls {
    /// Notes that it runs components: from now on fibers are stacks of their own.
    pub(in crate::listening) fn expect_tasks(&mut self) {
        if !self.has_tasks {
            self.has_tasks = true;
            // What is open was opened on the fiber that led here, if on one.
            if self.stack == StackId::Entered {
                self.stack = self.host_stack();
            }
        }
    }

    /// Returns the stack that the guest runs on. Tasks take turns, so that each fiber's
    /// calls are apart; without tasks a fiber's are on top of those that led to it.
    pub(super) fn running(&self, context: StoreContext) -> StackId {
        match context.stack() {
            StackId::Entered if self.has_tasks && context.fiber() != 0 => {
                StackId::Fiber(context.fiber())
            }
            stack => stack,
        }
    }

    /// Returns the stack that the host is on, whatever continuation called it.
    pub(super) fn host_stack(&self) -> StackId {
        match self.context.map(StoreContext::fiber) {
            Some(fiber) if self.has_tasks && fiber != 0 => StackId::Fiber(fiber),
            _ => StackId::Entered,
        }
    }

    /// Makes `stack` the current one.
    pub(super) fn switch_to(&mut self, stack: StackId) {
        if stack == self.stack {
            return;
        }
        let (calls, activations) = self
            .suspended
            .remove(&stack)
            .unwrap_or_else(|| (OpenCalls::new(self.calls.store()), Vec::new()));
        let calls = std::mem::replace(&mut self.calls, calls);
        let activations = std::mem::replace(&mut self.activations, activations);
        if !calls.is_empty() || self.stack == StackId::Entered {
            self.suspended.insert(self.stack, (calls, activations));
        }
        self.stack = stack;
    }

    /// Closes the calls of continuations that a failure of their guest ended; those that
    /// are paused can go on. Returns the first panic.
    pub(super) fn close_continuations(
        &mut self,
        cause: &Cause<'_>,
        reach: &dyn Reach,
    ) -> Option<ListenerPanic> {
        let current = self.stack;
        self.switch_to(StackId::Entered);
        // None can be running when no guest is.
        let no_guest_runs = self.entry_around() == Fp::NONE;
        let ended = self.suspended.keys().filter_map(|stack| {
            // SAFETY: the store is there: it is at hand.
            let (progress, depth) = unsafe { stack.progress() };
            let has_ended = match progress {
                Progress::Trapped => true,
                Progress::Running => no_guest_runs,
                Progress::Paused => false,
            };
            has_ended.then_some((depth, *stack))
        });
        let mut ended: Vec<_> = ended.collect();
        ended.sort_unstable_by_key(|(depth, _)| std::cmp::Reverse(*depth));
        let mut panic = None;
        for (_, stack) in ended {
            self.switch_to(stack);
            panic = panic.or(self.try_close_down_to(0, cause, reach));
        }
        self.switch_to(current);
        panic
    }

    /// Returns the stacks that calls are open on.
    pub(in crate::listening) fn stacks_with_calls(&self) -> impl Iterator<Item = StackId> + '_ {
        let others = self.suspended.iter();
        let others = others.filter_map(|(stack, (calls, _))| (!calls.is_empty()).then_some(*stack));
        let newest = (!self.calls.is_empty()).then_some(self.stack);
        newest.into_iter().chain(others)
    }

    /// Tells whether calls are open on the fiber of another task than the one at hand.
    pub(in crate::listening) fn has_other_tasks(&self) -> bool {
        let mut others = self.suspended.iter();
        others.any(|(stack, (calls, _))| matches!(stack, StackId::Fiber(_)) && !calls.is_empty())
    }

    /// Tells whether a continuation with open calls runs, or waits for one that it resumed.
    pub(super) fn has_running_continuation(&self) -> bool {
        self.suspended.keys().any(|stack| {
            // SAFETY: the store is there: it has an event.
            let (progress, _) = unsafe { stack.progress() };
            *stack != StackId::Entered && progress == Progress::Running
        })
    }

    /// Tells whether no call is open on any stack, and all are entered on the current one.
    pub(super) fn has_nothing_open(&self) -> bool {
        self.calls.is_empty()
            && self.suspended.is_empty()
            && self.stack == StackId::Entered
            && !self.has_tasks
    }

    /// Returns where the activation was entered that the host's code is called by: none,
    /// if by none.
    pub(super) fn entry_around(&self) -> Fp {
        self.context.map_or(Fp::NONE, StoreContext::entry)
    }
}
