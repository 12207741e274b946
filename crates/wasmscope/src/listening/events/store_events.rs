//! The instances of each store that keep events, and how they are emptied.
//!
//! An instance is attached by its first event. Its handles are the store's, so they are
//! forgotten with it.

use super::super::attached::new_instance_id;
use super::super::current::StoreKey;
use super::super::shared_memory::SharedCount;
use super::buffer::Buffer;
use super::{Batch, Shared, Taken};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use wasmscope_instrument::events::{self, Event};
use wasmscope_instrument::hooks::{self, Hook};
use wasmscope_listen::{Definition, InstanceId};
use wasmtime::{AsContextMut, Caller, Func, Linker, StoreContextMut, Val};

/// What an instance is called whose module is no longer known.
pub(super) const UNKNOWN: u32 = u32::MAX / 2;

/// The attached instances of each store.
#[derive(Default)]
pub(super) struct Stores(Mutex<HashMap<StoreKey, Vec<Arc<Attached>>>>);

impl Stores {
    fn lock(&self) -> MutexGuard<'_, HashMap<StoreKey, Vec<Arc<Attached>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One instance that keeps events.
pub(super) struct Attached {
    id: InstanceId,
    /// The function of each probe.
    probed: Arc<[Arc<Definition>]>,
    /// Not yet known while an instance within a component starts.
    buffer: OnceLock<Buffer>,
    /// How many times the buffer was full and could not be taken.
    untaken: Option<SharedCount>,
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
    let size = shared.events.size();
    if instance.cast_signed() == hooks::UNATTACHED {
        let first = shared.events.first_position();
        match attach(shared, &mut caller) {
            Some(attached) => attached.take(shared, caller.as_context_mut(), first, size),
            None => shared.lose(1),
        }
        return;
    }
    take_full(shared, caller.as_context_mut(), instance);
}

/// Takes what is in the buffer of an instance that is attached: it is full.
pub(super) fn take_full<T: 'static>(shared: &Shared, store: StoreContextMut<'_, T>, instance: u32) {
    match shared.attached(&store, instance) {
        Some(attached) => attached.take_full(shared, store),
        None => {
            shared.lose_buffers(1);
        }
    }
}

/// Takes what is in the buffers of a store.
pub(super) fn drain<T: 'static>(shared: &Shared, mut store: StoreContextMut<'_, T>) {
    let key = StoreKey::of(&store);
    let instances = shared.stores.lock().get(&key).cloned().unwrap_or_default();
    for attached in instances {
        let Some(buffer) = attached.buffer.get() else {
            continue;
        };
        let position = buffer.position(&mut store);
        attached.count_untaken(shared);
        let told = attached.lost.load(Ordering::Relaxed) == 0;
        if position == 0 && told {
            continue;
        }
        attached.take(shared, store.as_context_mut(), 0, position);
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
    let attached = Arc::new(Attached::new(Arc::clone(&module.probed), None));
    attached.keeps_in(Buffer::Exported { memory, position });
    let index = add(shared, caller.as_context_mut(), Arc::clone(&attached))?;
    number.set(caller, Val::I32(index.cast_signed())).ok()?;
    Some(attached)
}

/// Adds an instance to its store's. Returns its number there.
pub(super) fn add<T: 'static>(
    shared: &Arc<Shared>,
    context: StoreContextMut<'_, T>,
    attached: Arc<Attached>,
) -> Option<u32> {
    let store = StoreKey::of(&context);
    let index = {
        let mut stores = shared.stores.lock();
        let instances = stores.entry(store).or_default();
        instances.push(attached);
        instances.len() - 1
    };
    if index == 0 {
        // A store drops the functions that it owns, and with them what they hold.
        let end = StoreEnd(Arc::clone(shared), store);
        Func::wrap(context, move || {
            let _ = &end;
        });
    }
    u32::try_from(index).ok()
}

/// Forgets a store's instances when the store ends.
struct StoreEnd(Arc<Shared>, StoreKey);

impl Drop for StoreEnd {
    fn drop(&mut self) {
        self.0.stores.lock().remove(&self.1);
    }
}

impl Attached {
    pub(super) fn new(probed: Arc<[Arc<Definition>]>, untaken: Option<SharedCount>) -> Self {
        Self {
            id: new_instance_id(),
            probed,
            buffer: OnceLock::new(),
            untaken,
            lost: AtomicU64::new(0),
        }
    }

    /// Returns how many functions have a probe.
    pub(super) fn probes(&self) -> u32 {
        self.probed.len() as u32
    }

    /// Says where it keeps its events, unless that is known.
    pub(super) fn keeps_in(&self, buffer: Buffer) {
        let _ = self.buffer.set(buffer);
    }

    /// Takes what is in a buffer whose last place was written just now.
    ///
    /// The position is still that of the last place, unless somebody drained the store on the
    /// guest's way here, as a call hook or an epoch callback can. Then what lies before it has
    /// been taken.
    fn take_full<T: 'static>(&self, shared: &Shared, mut store: StoreContextMut<'_, T>) {
        let (last, size) = (shared.events.first_position(), shared.events.size());
        let position = self.buffer.get().map(|buffer| buffer.position(&mut store));
        let is_drained = position.is_some_and(|position| position != last);
        self.take(shared, store, if is_drained { last } else { 0 }, size);
    }

    /// Empties the buffer and hands the records between two positions to the sink.
    ///
    /// In this order: the sink may panic, and what it was shown shall not come again.
    fn take<T: 'static>(
        &self,
        shared: &Shared,
        mut store: StoreContextMut<'_, T>,
        start: u32,
        end: u32,
    ) {
        let Some(buffer) = self.buffer.get() else {
            let events = u64::from((end - start) / Event::SIZE);
            self.lost.fetch_add(events, Ordering::Relaxed);
            shared.lose(events);
            return;
        };
        self.count_untaken(shared);
        buffer.begin_again(&mut store);
        self.deliver(shared, buffer.records(&store, start, end));
    }

    /// Counts as lost what could not be taken since the last time.
    fn count_untaken(&self, shared: &Shared) {
        let buffers = self.untaken.as_ref().map_or(0, SharedCount::take);
        self.lost
            .fetch_add(shared.lose_buffers(buffers), Ordering::Relaxed);
    }

    /// Hands records to the sink.
    fn deliver(&self, shared: &Shared, records: &[[u8; Event::SIZE as usize]]) {
        let lost = self.lost.load(Ordering::Relaxed);
        let batch = Batch {
            instance: self.id,
            definitions: &self.probed,
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
    /// Returns an instance by its number in its store.
    pub(super) fn attached<T: 'static>(
        &self,
        store: &StoreContextMut<'_, T>,
        instance: u32,
    ) -> Option<Arc<Attached>> {
        let stores = self.stores.lock();
        let instances = stores.get(&StoreKey::of(store))?;
        instances.get(instance as usize).cloned()
    }

    fn lose(&self, events: u64) {
        self.lost.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts as lost what so many full buffers hold. Returns how many events that is.
    fn lose_buffers(&self, buffers: u64) -> u64 {
        let events = buffers * u64::from(self.events.size() / Event::SIZE);
        self.lose(events);
        events
    }
}
