//! One entry of the host into the guest, and which open calls of older ones are still there.

use super::StoreCalls;
use crate::layout::{Fp, StackId};
use crate::listening::outer::Outer;
use crate::listening::reach::Reach;
use std::cell::OnceCell;
use wasmscope_listen::Cause;

/// One entry of the host into the guest.
pub(super) struct Activation {
    /// The entry trampoline's frame.
    pub(super) entry: Fp,
    /// Which fiber it is on; 0 on a thread's own stack.
    pub(super) fiber: usize,
    /// The guest frames below it, once somebody has asked.
    pub(super) outer: OnceCell<Outer>,
}

impl Activation {
    /// Tells whether a frame can be one of this activation's: stacks grow down from where
    /// it was entered, and a fiber's guard pages are below its stack.
    pub(super) fn holds(&self, fp: Fp) -> bool {
        self.entry == Fp::NONE || (fp < self.entry && fp.0 > self.fiber)
    }

    /// Tells whether a frame that another may hold is this one's, whose entry is nearer above it.
    /// Which of two stacks lies above the other is chance, and the host may enter again from a
    /// continuation's; but where a frame's own stack was entered, none is in between.
    fn is_nearer_to(&self, fp: Fp, other: &Self) -> bool {
        let are_known = self.entry != Fp::NONE && other.entry != Fp::NONE;
        are_known && self.entry < other.entry && self.holds(fp)
    }
}

impl StoreCalls {
    /// Tells whether a frame is of an activation, among all that are known.
    pub(super) fn is_of(&self, activation: &Activation, fp: Fp) -> bool {
        let mut known = self.activations.iter();
        activation.holds(fp) && !known.any(|other| other.is_nearer_to(fp, activation))
    }

    /// Makes the newest activation the one with this entry. Returns those that it led to,
    /// which are over.
    pub(super) fn leave_dead_activations(
        &mut self,
        entry: Fp,
        fiber: usize,
        reach: &dyn Reach,
    ) -> Vec<Activation> {
        let is_it = |last: &Activation| last.entry == entry && last.fiber == fiber;
        if let Some(known) = self.activations.iter().rposition(is_it) {
            return self.activations.split_off(known + 1);
        }
        let outer = OnceCell::new();
        while let Some(last) = self.activations.last() {
            let (left, lives) = self.living_below(last, entry, fiber, &outer);
            let cause = if lives {
                Cause::Exception
            } else {
                Cause::Unknown
            };
            self.close_down_to(left, &cause, reach);
            if lives {
                break;
            }
            self.activations.pop();
        }
        self.activations.push(Activation {
            entry,
            fiber,
            outer,
        });
        Vec::new()
    }

    /// Tells which calls of the newest activation still have their frames, below a newer
    /// one that was entered at `entry`: how many are open without the others, and whether
    /// there are any.
    pub(super) fn living_below(
        &self,
        activation: &Activation,
        entry: Fp,
        fiber: usize,
        outer: &OnceCell<Outer>,
    ) -> (usize, bool) {
        let mut left = self.calls.len();
        while let Some(call) = self.calls.get(left)
            && activation.holds(call.fp())
        {
            if activation.fiber != fiber || matches!(self.stack, StackId::Continuation(_)) {
                // Another stack cannot be seen from here: its calls are left until their
                // future, their scope or their store ends.
                return (left, true);
            }
            // Stacks grow down. Where the host's cannot be walked, nothing speaks against it.
            let lives = call.fp() > entry
                && (!Outer::can_be_seen() || {
                    let outer = outer.get_or_init(|| Outer::below(entry));
                    let pc = outer.at(call.fp());
                    pc.is_some_and(|pc| call.probe().holds(pc))
                });
            // Nor can they be seen from a continuation that they resumed.
            if lives || self.has_running_continuation() {
                return (left, true);
            }
            left -= 1;
        }
        (left, false)
    }

    /// Returns the guest frames below the activation that runs on a thread's own stack.
    pub(in crate::listening) fn outer(&self) -> Option<&Outer> {
        let context = self.context?;
        let (entry, fiber) = (context.entry_of(self.stack), context.fiber());
        // Newer ones are over, if no event has told yet.
        let mut activations = self.activations.iter().rev();
        let activation = activations.find(|a| a.entry == entry && a.fiber == fiber)?;
        let outer = activation.outer.get_or_init(|| Outer::below(entry));
        Some(outer)
    }
}
