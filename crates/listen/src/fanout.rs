//! Several listeners on one function.
//!
//! They open in order and close in reverse, so that each one's calls nest in those of the
//! ones before it. When one of them panics the others are closed all the same, and the
//! panic goes on: if it was in `before`, those that had opened hear an abort.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

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

    /// Closes those that are open, last first, whatever panics on the way.
    fn close(&self, mut slots: Vec<Slot>, close: impl Fn(&BoxListener, &mut Slot)) {
        let mut panic = None;
        for (listener, slot) in self.0.iter().zip(&mut slots).rev() {
            let closed = catch_unwind(AssertUnwindSafe(|| close(listener, slot)));
            panic = panic.or(closed.err());
        }
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Listener for Fanout {
    type State = Vec<Slot>;

    fn before(&self, call: &Call<'_>) -> Vec<Slot> {
        let mut slots = Vec::with_capacity(self.0.len());
        for listener in &self.0 {
            let mut slot = Slot::new();
            let opened = catch_unwind(AssertUnwindSafe(|| listener.before(call, &mut slot)));
            if let Err(panic) = opened {
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    self.close(slots, |l, slot| l.abort(call, &Cause::Panic, slot));
                }));
                resume_unwind(panic);
            }
            slots.push(slot);
        }
        slots
    }

    fn after(&self, call: &Call<'_>, results: Values<'_>, state: Vec<Slot>) {
        self.close(state, |l, slot| l.after(call, results, slot));
    }

    fn tail_call(&self, call: &Call<'_>, state: Vec<Slot>) {
        self.close(state, |l, slot| l.tail_call(call, slot));
    }

    fn abort(&self, call: &Call<'_>, cause: &Cause<'_>, state: Vec<Slot>) {
        self.close(state, |l, slot| l.abort(call, cause, slot));
    }

    fn show<'s>(state: &'s Vec<Slot>, look: &mut dyn FnMut(&'s dyn Any)) {
        for slot in state {
            slot.show(look);
        }
    }
}
