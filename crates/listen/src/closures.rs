//! Closures as listeners.

use std::fmt;

use crate::call::Call;
use crate::cause::Cause;
use crate::listener::{Close, Listener};
use crate::values::Values;

/// A closure hears `before`; what it returns is the state.
impl<F, S> Listener for F
where
    F: Fn(&Call<'_>) -> S + Send + Sync + 'static,
    S: Send + 'static,
{
    type State = S;

    #[inline]
    fn before(&self, call: &Call<'_>) -> S {
        self(call)
    }
}

/// Makes a listener of one closure that opens calls and one that closes them.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use wasmscope_listen::{BoxListener, Call, Close, pair};
///
/// static RETURNED: AtomicU64 = AtomicU64::new(0);
///
/// let listener = pair(
///     |call: &Call<'_>| call.params().len(),
///     |_: &Call<'_>, close: Close<'_>, params: usize| {
///         if let Close::Return(results) = close {
///             RETURNED.fetch_add((results.len() + params) as u64, Ordering::Relaxed);
///         }
///     },
/// );
/// let listener = BoxListener::new(listener);
/// ```
pub fn pair<S, B, C>(before: B, close: C) -> Pair<B, C>
where
    S: Send + 'static,
    B: Fn(&Call<'_>) -> S + Send + Sync + 'static,
    C: Fn(&Call<'_>, Close<'_>, S) + Send + Sync + 'static,
{
    Pair { before, close }
}

/// A listener of two closures: see [`pair`].
#[derive(Clone, Copy)]
pub struct Pair<B, C> {
    before: B,
    close: C,
}

impl<S, B, C> Listener for Pair<B, C>
where
    S: Send + 'static,
    B: Fn(&Call<'_>) -> S + Send + Sync + 'static,
    C: Fn(&Call<'_>, Close<'_>, S) + Send + Sync + 'static,
{
    type State = S;

    #[inline]
    fn before(&self, call: &Call<'_>) -> S {
        (self.before)(call)
    }

    #[inline]
    fn after(&self, call: &Call<'_>, results: Values<'_>, state: S) {
        (self.close)(call, Close::Return(results), state);
    }

    #[inline]
    fn tail_call(&self, call: &Call<'_>, state: S) {
        (self.close)(call, Close::TailCall, state);
    }

    #[inline]
    fn abort(&self, call: &Call<'_>, cause: &Cause<'_>, state: S) {
        (self.close)(call, Close::Abort(cause), state);
    }
}

impl<B, C> fmt::Debug for Pair<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair")
    }
}
