//! What the engine's call hook tells.

use super::StoreCalls;
use super::mark::{Ends, Mark};
use crate::layout::{Fp, StackId};
use crate::listening::reach::Reach;
use wasmscope_listen::Cause;

impl StoreCalls {
    /// Notes how many calls are open, as the engine's call hook says that the host enters.
    pub(in crate::listening) fn enter_hooked(&mut self, reach: &dyn Reach) {
        let mark = self.mark(reach);
        let around = self.entry_around();
        // The engine says nothing more of an entry that the embedder's hook refused.
        self.hooked
            .retain(|(refused, of)| *refused != around || of.stack != mark.stack);
        self.hooked.push((around, mark));
    }

    /// Closes what was opened since the host entered, as the engine's call hook says that
    /// it is back.
    pub(in crate::listening) fn leave_hooked(&mut self, reach: &dyn Reach) {
        let (around, stack) = (self.entry_around(), self.host_stack());
        let is_it = |(entry, mark): &(Fp, Mark)| *entry == around && mark.stack == stack;
        let Some(entered) = self.hooked.iter().rposition(is_it) else {
            return;
        };
        let (_, mark) = self.hooked.remove(entered);
        // What the same stack entered since is over; other tasks' entries are not.
        let mut number = 0;
        self.hooked.retain(|(_, later)| {
            number += 1;
            number <= entered || later.stack != stack
        });
        let open = match self.stack {
            StackId::Fiber(_) if self.stack != stack => {
                let suspended = self.suspended.get(&stack);
                suspended.map_or(0, |(calls, _)| calls.len())
            }
            _ => self.calls.len(),
        };
        let failed = open > mark.left;
        let cause = failed.then_some(&Cause::Unknown);
        self.close_since(&mark, cause, Ends::All, reach);
    }
}
