//! Closes that no guest code reports.

#![expect(unsafe_code, reason = "takes open calls off without a check at each")]

use super::StoreCalls;
use crate::layout::StackId;
use crate::listening::reach::Reach;
use crate::listening::site::EventSite;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use wasmscope_listen::{Call, Cause};

/// What a listener panicked with.
pub(in crate::listening) type ListenerPanic = Box<dyn Any + Send>;

/// Lets a listener's panic go on, unless the thread panics as it is.
pub(in crate::listening) fn raise(panic: Option<ListenerPanic>) {
    if let Some(payload) = panic
        && !std::thread::panicking()
    {
        resume_unwind(payload);
    }
}

impl StoreCalls {
    /// Closes everything, at the store's end.
    pub(in crate::listening) fn close_all(&mut self, cause: &Cause<'_>, reach: &dyn Reach) {
        let mut panic = self.try_close_down_to(0, cause, reach);
        let others: Vec<StackId> = self.suspended.keys().copied().collect();
        for stack in others {
            self.switch_to(stack);
            panic = panic.or(self.try_close_down_to(0, cause, reach));
        }
        raise(panic);
    }

    /// Closes the newest calls of the current stack until `left` are open.
    ///
    /// A listener that panics does not keep the others from hearing; its panic goes on when
    /// all have heard.
    pub(in crate::listening) fn close_down_to(
        &mut self,
        left: usize,
        cause: &Cause<'_>,
        reach: &dyn Reach,
    ) {
        raise(self.try_close_down_to(left, cause, reach));
    }

    /// As [`Self::close_down_to`], but returns the first panic.
    pub(in crate::listening) fn try_close_down_to(
        &mut self,
        left: usize,
        cause: &Cause<'_>,
        reach: &dyn Reach,
    ) -> Option<ListenerPanic> {
        let mut panic = None;
        while self.calls.len() > left {
            let closed = catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: a call is open; nothing is pushed while it hears.
                let (call, slot) = unsafe { self.calls.pop() };
                let site = EventSite::of_gone(self, &reach, call);
                let listener = &call.probe().listener;
                listener.abort(&Call::new(&site), cause, slot);
            }));
            panic = panic.or(closed.err());
        }
        panic
    }
}
