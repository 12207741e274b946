//! Scopes: what was opened within is closed when they end, however they end.

#![expect(
    unsafe_code,
    reason = "closes a store's calls when a future that held the store is dropped"
)]

use super::current::{self, StoreKey};
use super::reach::OutOfReach;
use super::store_calls::{Ends, Mark};
use wasmscope_listen::Cause;
use wasmtime::{AsContextMut, StoreContextMut};

/// A run of a guest, from its host's call to the end of that.
///
/// Dropped without [`Scope::end`] the run has not come to an end of its own: the host, or
/// a listener, panicked, or the future that ran it was dropped.
pub(super) struct Scope {
    store: StoreKey,
    mark: Mark,
}

impl Scope {
    pub(super) fn begin<T: 'static>(mut store: StoreContextMut<'_, T>) -> Self {
        let key = StoreKey::of(&store);
        let mark = current::with(store.as_context_mut(), |calls, reach| calls.mark(reach));
        Self {
            store: key,
            mark: mark.unwrap_or_default(),
        }
    }

    /// Ends a run; `cause` is why, if the guest did not return, and which tasks that `ends`.
    pub(super) fn end<T: 'static>(
        mut self,
        store: StoreContextMut<'_, T>,
        cause: Option<&Cause<'_>>,
        ends: Ends,
    ) {
        let mark = std::mem::take(&mut self.mark);
        std::mem::forget(self);
        current::with(store, |calls, reach| {
            calls.close_since(&mark, cause, ends, reach)
        });
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let cause = if std::thread::panicking() {
            Cause::Panic
        } else {
            Cause::FutureDropped
        };
        // SAFETY: the scope was made with the store's context, which its maker holds as
        // long as the scope; whatever ran within is gone.
        unsafe {
            current::with_key(self.store, |calls| {
                calls.close_since(&self.mark, Some(&cause), Ends::Last, &OutOfReach);
            });
        }
    }
}
