//! Finding out which open calls still have their frames, at each event that is not told in the
//! quick way.

#![expect(
    unsafe_code,
    reason = "reads the frames of a guest that called the host"
)]

use super::StoreCalls;
use super::closing::raise;
use crate::layout::{Callers, Fp, StackId};
use crate::listening::reach::Reach;
use std::cell::OnceCell;
use wasmscope_address::HostPc;
use wasmscope_listen::Cause;

/// Whether a function was just called, or is about to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::listening) enum Event {
    Open,
    Close,
}

impl StoreCalls {
    /// Makes the open calls those of the stack that runs, and closes the ones whose frames
    /// are gone. `callers` begin with the frame of the event: of a function that was just
    /// called, or that is about to end.
    pub(in crate::listening) fn settle(
        &mut self,
        event: Event,
        mut callers: Callers,
        reach: &dyn Reach,
    ) {
        let Some(context) = self.context else {
            return;
        };
        self.unbar();
        self.switch_to(self.running(context));
        let over =
            self.leave_dead_activations(context.entry_of(self.stack), context.fiber(), reach);

        let mut left = self.calls.len();
        let mut lives = false;
        while let Some(call) = self.calls.get(left) {
            let fp = call.fp();
            if !self.activations.last().is_some_and(|a| self.is_of(a, fp)) {
                // Of an older activation, or of a newer one's on another fiber.
                if !over.iter().any(|a| self.is_of(a, fp)) {
                    break;
                }
                left -= 1;
                continue;
            }
            // Up to the frame that would be this call's, which no other can be above.
            while callers.frame < call.fp()
                && callers.advance()
                && callers.pc.is_some_and(|pc| self.knows(pc))
            {}
            lives = callers.frame == call.fp()
                && match callers.pc {
                    Some(pc) => call.probe().holds(pc),
                    None => event == Event::Close,
                };
            if lives {
                break;
            }
            left -= 1;
        }
        if left < self.calls.len() && !self.suspended.is_empty() {
            raise(self.close_continuations(&Cause::Unknown, reach));
        }
        let is_over = |number: &usize| {
            let call = self.calls.get(*number);
            call.is_some_and(|call| over.iter().any(|a| self.is_of(a, call.fp())))
        };
        let trapped = (left + 1..=self.calls.len())
            .rev()
            .take_while(is_over)
            .count();
        self.close_down_to(self.calls.len() - trapped, &Cause::Unknown, reach);
        // A trap takes a whole activation; only an exception leaves some of it.
        let cause = if lives {
            Cause::Exception
        } else {
            Cause::Unknown
        };
        self.close_down_to(left, &cause, reach);
        if !lives
            && event == Event::Open
            && let Some(activation) = self.activations.last_mut()
        {
            // Perhaps another that was entered at the same place.
            activation.outer = OnceCell::new();
        }
    }

    /// Closes what is gone, while the host has control: in a host function the newest
    /// activation is the one that called it.
    pub(super) fn settle_in_host(&mut self, reach: &dyn Reach) {
        let Some(context) = self.context else {
            return;
        };
        if context.stack() != StackId::Entered {
            return;
        }
        if context.entry() == Fp::NONE {
            let panic = self.close_continuations(&Cause::Unknown, reach);
            self.switch_to(self.host_stack());
            self.activations.clear();
            raise(panic.or(self.try_close_down_to(0, &Cause::Unknown, reach)));
            return;
        }
        // SAFETY: the host was called by the store's guest, whose frames are there.
        let callers = unsafe { context.callers_of_host() };
        self.settle(Event::Close, callers, reach);
    }

    /// Tells whether an address is in a module that an instance of the store runs.
    pub(super) fn knows(&self, pc: HostPc) -> bool {
        self.instances
            .iter()
            .any(|attached| attached.module.binary.text.contains(pc))
    }
}
