//! Tuples of listeners: several of known types on one function.
//!
//! They behave as [`crate::Fanout`] does. Their states form a tuple too, so small ones
//! cost no allocation.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::call::Call;
use crate::cause::Cause;
use crate::listener::Listener;
use crate::values::Values;

/// Does the first, then the second, and goes on with the panic of the first if it had one.
#[inline]
fn both(first: impl FnOnce(), second: impl FnOnce()) {
    let first = catch_unwind(AssertUnwindSafe(first));
    second();
    if let Err(panic) = first {
        resume_unwind(panic);
    }
}

impl<A: Listener, B: Listener> Listener for (A, B) {
    type State = (A::State, B::State);

    #[inline]
    fn before(&self, call: &Call<'_>) -> Self::State {
        let a = self.0.before(call);
        match catch_unwind(AssertUnwindSafe(|| self.1.before(call))) {
            Ok(b) => (a, b),
            Err(panic) => {
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    self.0.abort(call, &Cause::Panic, a);
                }));
                resume_unwind(panic)
            }
        }
    }

    #[inline]
    fn after(&self, call: &Call<'_>, results: Values<'_>, (a, b): Self::State) {
        both(
            || self.1.after(call, results, b),
            || self.0.after(call, results, a),
        );
    }

    #[inline]
    fn tail_call(&self, call: &Call<'_>, (a, b): Self::State) {
        both(|| self.1.tail_call(call, b), || self.0.tail_call(call, a));
    }

    #[inline]
    fn abort(&self, call: &Call<'_>, cause: &Cause<'_>, (a, b): Self::State) {
        both(
            || self.1.abort(call, cause, b),
            || self.0.abort(call, cause, a),
        );
    }

    fn show<'s>(state: &'s Self::State, look: &mut dyn FnMut(&'s dyn Any)) {
        A::show(&state.0, look);
        B::show(&state.1, look);
    }
}
