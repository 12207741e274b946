//! Telling what components keep, as soon as the host has the store back.

#![expect(unsafe_code, reason = "reads a memory of the store")]

use super::StoreCalls;
use super::closing::{ListenerPanic, raise};
use crate::layout::Fp;
use crate::listening::component::replay_here;
use crate::listening::reach::Reach;
use wasmscope_listen::Cause;

impl StoreCalls {
    /// Tells what components keep, where the host has control.
    pub(in crate::listening) fn tell_kept(&mut self, reach: &dyn Reach) {
        if !self.kept.is_empty() {
            self.settle_in_host(reach);
            self.switch_to(self.host_stack());
            raise(self.try_tell_kept(self.failed_if_left(), reach));
        }
    }

    /// Returns a cause for what components keep and expect more of, if no guest is entered:
    /// then what would have added it has failed. An epoch's callback has control too while
    /// such a function runs on.
    pub(super) fn failed_if_left(&self) -> Option<&'static Cause<'static>> {
        (self.entry_around() == Fp::NONE).then_some(&Cause::Unknown)
    }

    /// Tells what components keep, within the newest call that is open; with a cause where a
    /// guest that expected to add more has failed. Returns the first panic.
    pub(super) fn try_tell_kept(
        &mut self,
        failed: Option<&Cause<'_>>,
        reach: &dyn Reach,
    ) -> Option<ListenerPanic> {
        let mut panic = None;
        for kept in 0..self.kept.len() {
            // SAFETY: whoever asks holds the store, in a function of the host, or in a scope
            // whose guest is over.
            if let Some(records) = unsafe { self.kept[kept].take(failed.is_some()) } {
                let cause = failed.unwrap_or(&Cause::Unknown);
                panic = panic.or(replay_here(self, &records, cause, reach));
            }
        }
        panic
    }
}
