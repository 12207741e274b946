//! The first event of an instance: from here on its store's calls are kept.

use super::Shared;
use super::attached::Attached;
use super::current::{self, StoreKey};
use super::module::ListenedModule;
use super::probe::Probe;
use super::reach::{OutOfReach, QuickReach};
use super::store_calls::StoreCalls;
use super::switches::Switches;
use crate::layout::StoreContext;
use std::sync::Arc;
use wasmscope_instrument::hooks;
use wasmscope_listen::Cause;
use wasmtime::{AsContextMut, Caller, Extern, Func, Global, Instance, StoreContextMut, Val};

/// What an instance is called that nobody listens to: its module is no longer known. Higher
/// than the number of any probe, and still so that no sum with one is negative to a guest.
pub(super) const UNKNOWN: u32 = u32::MAX / 4;

/// Finds the exports of an instance, whichever way it is at hand.
pub(super) trait Exports {
    type Data: 'static;

    fn export(&mut self, name: &str) -> Option<Extern>;

    fn store(&mut self) -> StoreContextMut<'_, Self::Data>;

    fn global(&mut self, name: &str) -> Option<Global> {
        self.export(name)?.into_global()
    }
}

impl<T: 'static> Exports for Caller<'_, T> {
    type Data = T;

    fn export(&mut self, name: &str) -> Option<Extern> {
        self.get_export(name)
    }

    fn store(&mut self) -> StoreContextMut<'_, T> {
        self.as_context_mut()
    }
}

impl<T: 'static> Exports for (Instance, StoreContextMut<'_, T>) {
    type Data = T;

    fn export(&mut self, name: &str) -> Option<Extern> {
        self.0.get_export(&mut self.1, name)
    }

    fn store(&mut self) -> StoreContextMut<'_, T> {
        self.1.as_context_mut()
    }
}

/// Attaches an instance, unless it is. Returns the number of its first probe.
pub(super) fn attach<E: Exports>(shared: &Shared, instance: &mut E) -> Option<u32> {
    let number = instance.global(&hooks::instance_export(&shared.suffix))?;
    if let Val::I32(number) = number.get(instance.store())
        && number != hooks::UNATTACHED
    {
        return Some(number.cast_unsigned());
    }
    let attached = make(shared, instance).unwrap_or(UNKNOWN);
    let value = Val::I32(attached.cast_signed());
    // Of this type, and mutable: the rewriter made it.
    number.set(instance.store(), value).ok()?;
    Some(attached)
}

fn make<E: Exports>(shared: &Shared, instance: &mut E) -> Option<u32> {
    let key = instance.global(&hooks::key_export(&shared.suffix))?;
    let Val::I64(key) = key.get(instance.store()) else {
        return None;
    };
    let module = shared.module(key.cast_unsigned())?;
    enter(instance.store());

    let function = instance
        .export(&hooks::function_export(&shared.suffix))?
        .into_func()?;
    let data = std::ptr::from_ref(instance.store().data()).addr();
    let context = StoreContext::of(instance.store(), function, data)?;
    let switches = switches(&module, instance);
    let probes = current::with(instance.store(), |calls, _| chosen(shared, calls, &module))?;
    let mut attached = Attached::new(module, probes, switches);
    attached.find(|name| instance.export(name));

    current::with(instance.store(), |calls, reach| {
        attached.switch(reach);
        let number = add(calls, context, attached)?;
        calls.probes.first(number)
    })?
}

/// Returns the probes of an instance as whoever chooses for it has chosen.
pub(super) fn chosen(shared: &Shared, calls: &StoreCalls, module: &ListenedModule) -> Arc<[Probe]> {
    match calls.factory.clone() {
        Some(factory) => module.probes(&*factory),
        None => module.usual_probes(&*shared.factory),
    }
}

/// Adds an instance to its store's. Returns its number there.
pub(super) fn add(
    calls: &mut StoreCalls,
    context: StoreContext,
    attached: Attached,
) -> Option<u32> {
    calls.exit = context.exit_slot();
    calls.context = Some(context);
    let number = u32::try_from(calls.instances.len()).ok()?;
    calls.probes.push(&attached.probes)?;
    calls.instances.push(attached);
    Some(number)
}

fn switches<E: Exports>(module: &ListenedModule, instance: &mut E) -> Switches {
    let names: Vec<String> = module.switches_exports().collect();
    let globals = names.iter().map_while(|name| instance.global(name));
    Switches::Globals(globals.collect())
}

/// Makes an entry for a store, unless it has one, that ends with the store.
pub(super) fn enter<T: 'static>(mut store: StoreContextMut<'_, T>) {
    let key = StoreKey::of(&store);
    if current::enter(key, || QuickReach::new(store.as_context_mut())) {
        // A store drops the functions that it owns, and with them what they hold.
        let end = StoreEnd(key);
        Func::wrap(&mut store, move || {
            let _ = &end;
        });
    }
}

/// Closes what is open when a store ends.
struct StoreEnd(StoreKey);

impl Drop for StoreEnd {
    fn drop(&mut self) {
        if let Some(mut calls) = current::leave(self.0) {
            calls.close_all(&Cause::StoreDropped, &OutOfReach);
        }
    }
}
