//! What hears calls.

use std::any::Any;

use crate::call::Call;
use crate::cause::Cause;
use crate::values::Values;

/// Hears the calls of the functions it is attached to.
///
/// For each [`before`](Self::before) that returns there is exactly one close, with the
/// value that it returned: [`after`](Self::after), [`tail_call`](Self::tail_call) or
/// [`abort`](Self::abort). On one execution stack calls nest: what opened last closes
/// first. Several stacks (threads, fibers, continuations) interleave, so a listener keeps
/// what belongs to one call in its state, and shares only what it counts over all.
///
/// A closure over [`Call`] is a listener that hears `before`; [`crate::pair`] makes one of
/// two closures; tuples and [`crate::Fanout`] are several in one.
pub trait Listener: Send + Sync + 'static {
    /// What `before` hands to the close. Up to three words it costs no allocation.
    type State: Send + 'static;

    /// Hears that a function was called.
    fn before(&self, call: &Call<'_>) -> Self::State;

    /// Hears that the call returned.
    fn after(&self, call: &Call<'_>, results: Values<'_>, state: Self::State) {
        let _ = (call, results, state);
    }

    /// Hears that the call is about to make way for the function it tail-calls.
    fn tail_call(&self, call: &Call<'_>, state: Self::State) {
        let _ = (call, state);
    }

    /// Hears that the call ended without returning.
    fn abort(&self, call: &Call<'_>, cause: &Cause<'_>, state: Self::State) {
        let _ = (call, cause, state);
    }

    /// Shows a state to whoever looks for it through [`crate::Parent::state`].
    ///
    /// Only a listener made of others has a reason to show something else than the state
    /// itself: the states of those others.
    fn show<'s>(state: &'s Self::State, look: &mut dyn FnMut(&'s dyn Any)) {
        look(state);
    }
}

/// How a call ended, for listeners that treat all ends alike.
#[derive(Clone, Copy, Debug)]
pub enum Close<'a> {
    /// It returned these results.
    Return(Values<'a>),
    /// It made way for the function it tail-called.
    TailCall,
    /// It ended without returning.
    Abort(&'a Cause<'a>),
}
