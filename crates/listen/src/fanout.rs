//! Several listeners on one function.
//!
//! They open in order and close in reverse, so that each one's calls nest in those of the
//! ones before it. When one of them panics the others are closed all the same, and the
//! panic goes on: if it was in `before`, those that had opened hear an abort.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::boxed::BoxListener;
use crate::call::Call;
use crate::cause::Cause;
use crate::listener::Listener;
use crate::slot::Slot;
use crate::values::Values;

/// Any number of listeners, as one.
///
/// An event allocates room for their states. A tuple of listeners does not, as long as
/// its states fit into three words.
#[derive(Clone, Debug, Default)]
pub struct Fanout(Vec<BoxListener>);

impl Fanout {
    /// Takes listeners, in the order in which they open calls.
    #[must_use]
    pub fn new(listeners: impl Into<Vec<BoxListener>>) -> Self {
        Self(listeners.into())
    }

    /// Makes one listener of several: the only one itself, or none of none.
    #[must_use]
    pub fn join(mut listeners: Vec<BoxListener>) -> Option<BoxListener> {
        match listeners.len() {
            0 | 1 => listeners.pop(),
            _ => Some(BoxListener::new(Self(listeners))),
        }
    }

    /// Makes a way to close those listeners whose slots are filled.
    fn closing<C>(&self, slots: Box<[Slot]>, filled: usize, close: C) -> Closing<'_, C>
    where
        C: Fn(&BoxListener, &mut Slot),
    {
        Closing {
            listeners: &self.0,
            filled: filled.min(slots.len()),
            slots,
            close,
        }
    }
}

/// Closes listeners, last first.
///
/// Dropped before it is done (so something has panicked), it closes the rest.
struct Closing<'a, C: Fn(&BoxListener, &mut Slot)> {
    listeners: &'a [BoxListener],
    /// A slot for each listener.
    slots: Box<[Slot]>,
    /// How many, from the first on, are still to be closed.
    filled: usize,
    close: C,
}

impl<C: Fn(&BoxListener, &mut Slot)> Closing<'_, C> {
    #[inline]
    fn run(&mut self) {
        while let Some(last) = self.filled.checked_sub(1) {
            self.filled = last;
            (self.close)(&self.listeners[last], &mut self.slots[last]);
        }
    }
}

impl<C: Fn(&BoxListener, &mut Slot)> Drop for Closing<'_, C> {
    #[inline]
    fn drop(&mut self) {
        while self.filled > 0 {
            // One panic goes on already; a second one changes nothing.
            let _ = catch_unwind(AssertUnwindSafe(|| self.run()));
        }
    }
}

impl Listener for Fanout {
    type State = Box<[Slot]>;

    fn before(&self, call: &Call<'_>) -> Box<[Slot]> {
        let slots = self.0.iter().map(|_| Slot::new()).collect();
        let mut opened = self.closing(slots, 0, |listener, slot| {
            listener.abort(call, &Cause::Panic, slot);
        });
        for (i, listener) in self.0.iter().enumerate() {
            listener.before(call, &mut opened.slots[i]);
            opened.filled = i + 1;
        }
        opened.filled = 0;
        std::mem::take(&mut opened.slots)
    }

    fn after(&self, call: &Call<'_>, results: Values<'_>, state: Box<[Slot]>) {
        self.closing(state, self.0.len(), |l, slot| l.after(call, results, slot))
            .run();
    }

    fn tail_call(&self, call: &Call<'_>, state: Box<[Slot]>) {
        self.closing(state, self.0.len(), |l, slot| l.tail_call(call, slot))
            .run();
    }

    fn abort(&self, call: &Call<'_>, cause: &Cause<'_>, state: Box<[Slot]>) {
        self.closing(state, self.0.len(), |l, slot| l.abort(call, cause, slot))
            .run();
    }

    fn show<'s>(state: &'s Box<[Slot]>, look: &mut dyn FnMut(&'s dyn Any)) {
        for slot in state {
            slot.show(look);
        }
    }
}
