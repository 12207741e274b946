//! The hooks that a rewritten component calls: lowered functions of the host.

#![expect(unsafe_code, reason = "reads the guest's frames and the store's calls")]

use super::anchor::Anchor;
use super::attach::{attach, share};
use super::awaited::{self, Told};
use super::deferred;
use crate::layout::Callers;
use crate::listening::Shared;
use crate::listening::attach::enter;
use crate::listening::current::{self, StoreKey};
use crate::listening::hooks::at_hook;
use crate::listening::reach::OutOfReach;
use crate::listening::store_calls::StoreCalls;
use std::sync::Arc;
use wasmscope_instrument::component::interface::import_name;
use wasmscope_instrument::hooks::Hook;
use wasmtime::component::{Linker, WasmList};
use wasmtime::{AsContextMut, StoreContextMut};

/// Defines all hooks in a linker.
pub(super) fn define<T: 'static>(
    shared: &Arc<Shared>,
    linker: &mut Linker<T>,
) -> wasmtime::Result<()> {
    let anchor = Anchor::new(linker.engine())?;
    let mut instance = linker.instance(&import_name(&shared.suffix))?;
    let this = Arc::clone(shared);
    instance.func_wrap(
        "attach",
        move |store: StoreContextMut<'_, T>, params: (u64, u32, WasmList<u8>)| {
            Ok((attach(&this, &anchor, store, params)?,))
        },
    )?;
    let this = Arc::clone(shared);
    instance.func_wrap(
        "share",
        move |store: StoreContextMut<'_, T>, (key, instance, first): (u64, u32, WasmList<u8>)| {
            share(&this, store, key, instance, first);
            Ok(())
        },
    )?;
    macro_rules! values {
        ($number:literal: $($value:ident: $type:ty),*) => {
            instance.func_wrap(
                &Hook::Before($number).to_string(),
                |store: StoreContextMut<'_, T>,
                 (instance, probe $(, $value)*): (u32, u32 $(, $type)*)| {
                    event(store, Told::Opened { instance, probe }, &[$($value),*]);
                    Ok(())
                },
            )?;
            instance.func_wrap(
                &Hook::After($number).to_string(),
                |store: StoreContextMut<'_, T>, ($($value,)*): ($($type,)*)| {
                    event(store, Told::Returned, &[$($value),*]);
                    Ok(())
                },
            )?;
        };
    }
    values!(0:);
    values!(1: a: u64);
    values!(2: a: u64, b: u64);
    values!(3: a: u64, b: u64, c: u64);
    values!(4: a: u64, b: u64, c: u64, d: u64);
    instance.func_wrap(
        &Hook::Stage.to_string(),
        |mut store: StoreContextMut<'_, T>, (a, b, c, d): (u64, u64, u64, u64)| {
            enter(store.as_context_mut());
            current::with(store, |calls, _| calls.stage(&[a, b, c, d]));
            Ok(())
        },
    )?;
    instance.func_wrap(
        &Hook::Tail.to_string(),
        |store: StoreContextMut<'_, T>, (): ()| {
            event(store, Told::TailCalled, &[]);
            Ok(())
        },
    )?;
    instance.func_wrap(
        &Hook::Unwind.to_string(),
        |store: StoreContextMut<'_, T>, (): ()| {
            event(store, Told::Thrown, &[]);
            Ok(())
        },
    )?;
    instance.func_wrap(
        "look",
        |store: StoreContextMut<'_, T>, (key, first, len): (u64, WasmList<u8>, u64)| {
            // The memory is borrowed from the store for as long as listeners read it, and
            // nothing else of the store is asked for meanwhile.
            let store_key = StoreKey::of(&store);
            // SAFETY: this is a hook, so this thread runs the store, and no other event of it
            // is going on. Only what shows memories has run since the event.
            unsafe {
                current::with_key(store_key, |calls| {
                    let memory = whole(calls, &store, key, (&first, len));
                    awaited::tell_awaited(calls, memory, &OutOfReach);
                });
            }
            Ok(())
        },
    )?;
    instance.func_wrap(
        "memory",
        |store: StoreContextMut<'_, T>, (key, index, first, len): (u64, u32, WasmList<u8>, u64)| {
            add(&store, |calls| {
                let memory = whole(calls, &store, key, (&first, len));
                if let Some(awaited) = &mut calls.awaited {
                    awaited.add_memory(index, memory);
                }
            });
            Ok(())
        },
    )?;
    instance.func_wrap(
        "globals",
        |store: StoreContextMut<'_, T>, (values,): (WasmList<u8>,)| {
            add(&store, |calls| {
                if let Some(awaited) = &mut calls.awaited {
                    awaited.add_globals(values.as_le_slice(&store));
                }
            });
            Ok(())
        },
    )?;
    instance.func_wrap(
        "deferred",
        |store: StoreContextMut<'_, T>, (records, lost): (WasmList<u8>, u64)| {
            let records = records.as_le_slice(&store).to_vec();
            deferred(store, &records, lost);
            Ok(())
        },
    )?;
    Ok(())
}

/// Returns a memory whose first byte is listed, if it has any, and which has so many.
///
/// The engine counts the bytes of a list against what the store allows for copies, and traps
/// where there are more: so no list is as long as a memory may be.
fn whole<'s, T: 'static>(
    calls: &StoreCalls,
    store: &'s StoreContextMut<'_, T>,
    key: u64,
    (first, len): (&WasmList<u8>, u64),
) -> &'s [u8] {
    let first = first.as_le_slice(store);
    let is_known = calls.components.iter().any(|known| known.key == key);
    if first.is_empty() || !is_known {
        return first;
    }
    // SAFETY: who knows the component's key is the component as it was rewritten, which says how
    // long the memory is. What follows its first byte is the rest, borrowed with the store.
    unsafe { std::slice::from_raw_parts(first.as_ptr(), len as usize) }
}

/// Adds something to the event that waits for it.
fn add<T: 'static>(store: &StoreContextMut<'_, T>, add: impl FnOnce(&mut StoreCalls)) {
    // SAFETY: this is a hook, so this thread runs the store, and no event of it is going on.
    unsafe {
        current::with_key(StoreKey::of(store), add);
    }
}

/// Tells the event of the function that called the function that called this hook.
fn event<T: 'static>(store: StoreContextMut<'_, T>, told: Told, words: &[u64]) {
    at_hook(store, |calls, mut callers, reach| {
        let entry = callers.entry();
        if callers.advance() {
            // SAFETY: a live frame, as it is its callee's; its own place is not known, as with
            // any event's.
            let callers = unsafe { Callers::of(callers.frame, entry) };
            awaited::tell(calls, told, callers, words, reach);
        }
    });
}

fn deferred<T: 'static>(store: StoreContextMut<'_, T>, records: &[u8], lost: u64) {
    at_hook(store, |calls, callers, reach| {
        deferred::replay(calls, callers, records, lost, reach);
    });
}
