//! The instances of each store that keep events, and how they are emptied.
//!
//! An instance is attached by its first event. Its handles are the store's, so they are
//! forgotten with it.

use super::super::attached::new_instance_id;
use super::super::current::StoreKey;
use super::{Batch, Shared, StreamedModule, Taken};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmscope_instrument::events::{self, Event};
use wasmscope_instrument::hooks::{self, Hook};
use wasmscope_listen::InstanceId;
use wasmtime::{AsContextMut, Caller, Func, Global, Linker, Memory, StoreContextMut, Val};

/// What an instance is called whose module is no longer known.
const UNKNOWN: u32 = u32::MAX / 2;

/// The attached instances of each store.
#[derive(Default)]
pub(super) struct Stores(Mutex<HashMap<StoreKey, Vec<Arc<Attached>>>>);

impl Stores {
    fn lock(&self) -> MutexGuard<'_, HashMap<StoreKey, Vec<Arc<Attached>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One instance that keeps events.
struct Attached {
    id: InstanceId,
    module: Arc<StreamedModule>,
    memory: Memory,
    position: Global,
    /// Events lost since the sink took the last one.
    lost: AtomicU64,
}

/// Defines the hook in a linker.
pub(super) fn define<T: 'static>(
    shared: &Arc<Shared>,
    linker: &mut Linker<T>,
) -> wasmtime::Result<()> {
    let this = Arc::clone(shared);
    linker.func_wrap(
        hooks::MODULE,
        &Hook::Flush.import(&shared.suffix),
        move |caller: Caller<'_, T>, instance: u32| flush(&this, caller, instance),
    )?;
    Ok(())
}

/// Takes what is in a buffer that is full, or that holds the instance's first event.
fn flush<T: 'static>(shared: &Arc<Shared>, mut caller: Caller<'_, T>, instance: u32) {
    let size = shared.events.size() as usize;
    if instance.cast_signed() == hooks::UNATTACHED {
        let first = shared.events.first_position() as usize;
        match attach(shared, &mut caller) {
            Some(attached) => {
                attached.begin_again(&mut caller.as_context_mut());
                attached.deliver(shared, &caller.as_context_mut(), first, size);
            }
            None => shared.lose(1),
        }
        return;
    }
    let key = StoreKey::of(&caller.as_context_mut());
    let known = shared.stores.lock().get(&key).and_then(|instances| {
        let attached = instances.get(instance as usize)?;
        Some(Arc::clone(attached))
    });
    match known {
        Some(attached) => {
            attached.begin_again(&mut caller.as_context_mut());
            attached.deliver(shared, &caller.as_context_mut(), 0, size);
        }
        None => shared.lose(size as u64 / u64::from(Event::SIZE)),
    }
}

/// Takes what is in the buffers of a store.
pub(super) fn drain<T: 'static>(shared: &Shared, mut store: StoreContextMut<'_, T>) {
    let key = StoreKey::of(&store);
    let instances = shared.stores.lock().get(&key).cloned().unwrap_or_default();
    for attached in instances {
        let Val::I32(position) = attached.position.get(&mut store) else {
            continue;
        };
        let told = attached.lost.load(Ordering::Relaxed) == 0;
        if position == 0 && told {
            continue;
        }
        attached.begin_again(&mut store);
        attached.deliver(shared, &store, 0, position.cast_unsigned() as usize);
    }
}

/// Makes an instance known by its exports, and gives it its number in the store.
fn attach<T: 'static>(shared: &Arc<Shared>, caller: &mut Caller<'_, T>) -> Option<Arc<Attached>> {
    let suffix = &shared.suffix;
    let mut global = |name: &str| caller.get_export(name)?.into_global();
    let number = global(&hooks::instance_export(suffix))?;
    let key = global(&hooks::key_export(suffix))?;
    let position = global(&events::position_export(suffix))?;
    let memory = caller
        .get_export(&events::memory_export(suffix))?
        .into_memory()?;
    let Val::I64(key) = key.get(&mut *caller) else {
        return None;
    };
    let Some(module) = shared.module(key.cast_unsigned()) else {
        number.set(caller, Val::I32(UNKNOWN.cast_signed())).ok()?;
        return None;
    };
    let attached = Arc::new(Attached {
        id: new_instance_id(),
        module,
        memory,
        position,
        lost: AtomicU64::new(0),
    });
    let store = StoreKey::of(&caller.as_context_mut());
    let index = {
        let mut stores = shared.stores.lock();
        let instances = stores.entry(store).or_default();
        instances.push(Arc::clone(&attached));
        instances.len() - 1
    };
    if index == 0 {
        // A store drops the functions that it owns, and with them what they hold.
        let end = StoreEnd(Arc::clone(shared), store);
        Func::wrap(caller.as_context_mut(), move || {
            let _ = &end;
        });
    }
    let index = u32::try_from(index).ok()?;
    number.set(caller, Val::I32(index.cast_signed())).ok()?;
    Some(attached)
}

/// Forgets a store's instances when the store ends.
struct StoreEnd(Arc<Shared>, StoreKey);

impl Drop for StoreEnd {
    fn drop(&mut self) {
        self.0.stores.lock().remove(&self.1);
    }
}

impl Attached {
    /// Empties the buffer, before the sink is called: it may panic, and what it was shown
    /// shall not come again.
    fn begin_again<T: 'static>(&self, store: &mut StoreContextMut<'_, T>) {
        // Of this type, and mutable: the rewriter made it.
        let set = self.position.set(store, Val::I32(0));
        debug_assert!(set.is_ok(), "the position is a number that changes");
    }

    /// Hands the records between two addresses of the memory to the sink.
    fn deliver<T: 'static>(
        &self,
        shared: &Shared,
        store: &StoreContextMut<'_, T>,
        start: usize,
        end: usize,
    ) {
        let records = self.memory.data(store).get(start..end).unwrap_or_default();
        let (records, _) = records.as_chunks();
        let lost = self.lost.load(Ordering::Relaxed);
        let batch = Batch {
            instance: self.id,
            definitions: &self.module.probed,
            lost,
            records,
        };
        let taken = {
            let mut sink = shared.sink.lock().unwrap_or_else(PoisonError::into_inner);
            sink(&batch)
        };
        let (taken, told) = match taken {
            Taken::All => (records.len(), true),
            Taken::First(taken) => (taken.min(records.len()), taken > 0),
        };
        let rest = (records.len() - taken) as u64;
        let before = if told { 0 } else { lost };
        self.lost.store(before + rest, Ordering::Relaxed);
        shared.lose(rest);
    }
}

impl Shared {
    fn module(&self, key: u64) -> Option<Arc<StreamedModule>> {
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.get(&key)?.upgrade()
    }

    fn lose(&self, events: u64) {
        self.lost.fetch_add(events, Ordering::Relaxed);
    }
}
