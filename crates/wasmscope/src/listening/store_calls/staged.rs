//! Words of an event that did not fit in its call: they come ahead of it.

use super::StoreCalls;
use crate::layout::{ExitSlot, StoreContext};

/// More words than any call has: a function has a thousand parameters or results at most,
/// of two words each.
const MOST_STAGED: usize = 2_048;

impl StoreCalls {
    /// Makes the next event take the long way: it meets no frame that it knows.
    pub(super) fn bar(&mut self) {
        self.exit = ExitSlot::NOWHERE;
    }

    /// Ends what [`bar`](Self::bar) began.
    pub(super) fn unbar(&mut self) {
        self.exit = self
            .context
            .map_or(ExitSlot::NOWHERE, StoreContext::exit_slot);
    }

    /// Keeps words of the event that follows.
    pub(in crate::listening) fn stage(&mut self, words: &[u64]) {
        if self.staged.len() > MOST_STAGED {
            // For no event: none has so many.
            self.staged.clear();
        }
        self.staged.extend_from_slice(words);
        self.bar();
    }

    /// Returns the words of an event, of which there are so many: those that were staged
    /// for it, and the rest.
    pub(super) fn values(&mut self, len: usize, rest: &[u64]) -> Vec<u64> {
        let mut values = std::mem::take(&mut self.staged);
        // What was staged for an event that never came lies before.
        let staged = len.saturating_sub(rest.len());
        values.drain(..values.len().saturating_sub(staged));
        values.extend_from_slice(rest);
        values
    }

    /// Keeps the room that words had.
    pub(super) fn recycle(&mut self, mut values: Vec<u64>) {
        values.clear();
        self.staged = values;
    }
}
