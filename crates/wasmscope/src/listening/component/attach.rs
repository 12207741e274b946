//! The first event of a core instance within a component.

#![expect(unsafe_code, reason = "believes an instance where its memory is")]

use super::anchor::Anchor;
use super::kept::Kept;
use crate::Error;
use crate::listening::Shared;
use crate::listening::attach::{UNKNOWN, add, chosen, enter};
use crate::listening::attached::Attached;
use crate::listening::current;
use crate::listening::shared_memory::SharedMemory;
use crate::listening::switches::Switches;
use std::sync::Arc;
use wasmscope_instrument::component::SharedLayout;
use wasmscope_instrument::component::interface::{GLOBALS, LOOK};
use wasmtime::component::WasmList;
use wasmtime::{AsContextMut, StoreContextMut};

/// Attaches an instance, of a component whose deferred events are kept in `events`. Returns
/// its number in its store.
pub(super) fn attach<T: 'static>(
    shared: &Shared,
    anchor: &Anchor,
    mut store: StoreContextMut<'_, T>,
    (key, instantiation, events): (u64, u32, WasmList<u8>),
) -> Result<u32, Error> {
    let Some(component) = shared.component(key) else {
        return Ok(UNKNOWN);
    };
    let Some(instantiated) = component.instantiations.get(&instantiation) else {
        return Ok(UNKNOWN);
    };
    let module = Arc::clone(&instantiated.module);
    enter(store.as_context_mut());
    let known = current::with(store.as_context_mut(), |calls, _| calls.context).flatten();
    let context = match known {
        Some(context) => context,
        None => {
            let data = std::ptr::from_ref(store.data()).addr();
            anchor.context_of(store.as_context_mut(), data)?
        }
    };
    let kept = Kept::new(events.as_le_slice(&store), &component);
    let number = current::with(store, |calls, _| {
        if let Some(kept) = kept
            && !calls.kept.iter().any(|known| known.is(&kept))
        {
            calls.kept.push(kept);
        }
        let mut probes = chosen(shared, calls, &module);
        if !instantiated.told_elsewhere.is_empty() {
            probes = module.without(&probes, &instantiated.told_elsewhere);
        }
        let looks = module.memories > 0 && (module.is_around() || shared.component_memory);
        let looks_at_globals = module.globals > 0 && shared.component_globals;
        let mut attached =
            Attached::new(Arc::clone(&module), probes, Switches::Globals(Vec::new()));
        attached.looks = looks || looks_at_globals;
        if !calls
            .components
            .iter()
            .any(|known| Arc::ptr_eq(known, &component))
        {
            calls.components.push(Arc::clone(&component));
        }
        let number = add(calls, context, attached)?;
        calls.expect_tasks();
        calls.names_tasks = anchor.names_tasks();
        let look = if looks { LOOK } else { 0 };
        let globals = if looks_at_globals { GLOBALS } else { 0 };
        Some(number | look | globals)
    });
    Ok(number.flatten().unwrap_or(UNKNOWN))
}

/// Finds the switches of an instance in the memory whose first bytes these are, and sets them as
/// they are wanted.
pub(super) fn share<T: 'static>(
    shared: &Shared,
    store: StoreContextMut<'_, T>,
    key: u64,
    instance: u32,
    first: WasmList<u8>,
) {
    let Some(component) = shared.component(key) else {
        return;
    };
    let first = std::ptr::from_ref(first.as_le_slice(&store));
    current::with(store, |calls, reach| {
        let attached = calls.instances.get_mut(instance as usize);
        if let Some(attached) = attached.filter(|attached| component.has(&attached.module)) {
            let layout = SharedLayout::new(None, attached.module.probed.len() as u32);
            // SAFETY: the bytes are there: nothing of the store has run since. Who knows the
            // component's key is the component as it was rewritten, with this layout. The
            // switches are the store's, and used by who holds it.
            let memory = unsafe { SharedMemory::new(&*first, layout) };
            attached.switches = Switches::Shared(memory);
            attached.switch(reach);
        }
    });
}
