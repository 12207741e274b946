//! What a component may pass to the host in one call, while it shows its memory.
//!
//! A memory goes to the host as a list, which is not copied. But the engine counts the bytes
//! of each list against the store's allowance for copies ([`Store::set_hostcall_fuel`]), and
//! would trap where a memory is larger than that. So the allowance is lifted from an event
//! whose memory follows until that is there: only what shows it runs in between.
//!
//! [`Store::set_hostcall_fuel`]: wasmtime::Store::set_hostcall_fuel

use crate::listening::current;
use wasmtime::{AsContextMut, StoreContextMut};

/// Lifts the store's allowance while an event waits for its memory, and puts it back when none
/// does.
pub(in crate::listening) fn settle<T: 'static>(mut store: StoreContextMut<'_, T>) {
    let now = store.hostcall_fuel();
    let wanted = current::with(store.as_context_mut(), |calls, _| {
        if calls.awaited.is_some() {
            calls.allowance.get_or_insert(now);
            Some(usize::MAX)
        } else {
            calls.allowance.take()
        }
    });
    if let Some(wanted) = wanted.flatten() {
        store.set_hostcall_fuel(wanted);
    }
}
