//! Which store this thread runs: from the address of a store to its open calls.
//!
//! Hooks are made for a linker, not for a store, so each event first finds its store. The
//! one that had the last event on this thread is kept in a thread-local variable, and a
//! single comparison says whether it is still the one.
//!
//! Entries are never freed, only used again, so a thread that looks at an old one sees
//! another store's address there, or none.

#![expect(
    unsafe_code,
    reason = "lends what belongs to a store to whichever thread runs the store"
)]

use super::reach::{self, InStore, QuickReach, Reach};
use super::store_calls::StoreCalls;
use std::cell::{Cell, UnsafeCell};
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wasmtime::StoreContextMut;

/// The address that a store's contexts lead to, which tells stores apart: the one thing
/// that is in a register when a hook begins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct StoreKey(usize);

impl StoreKey {
    #[inline(always)]
    pub(super) fn of<T: 'static>(context: &StoreContextMut<'_, T>) -> Self {
        Self(reach::address(context))
    }
}

/// Set in an entry's address to make its next event take the long way. No address of a
/// program has it.
const ATTENTION: usize = 1 << (usize::BITS - 1);

/// One store's place in the table. The calls are first, for they are what each event touches.
#[repr(C)]
pub(super) struct Entry {
    /// Written before `store` is, and then only touched by the thread that runs the store.
    calls: UnsafeCell<MaybeUninit<StoreCalls>>,
    /// The store's key; 0 while there is none.
    store: AtomicUsize,
}

// SAFETY: `calls` is only reached by who has checked `store` against the store that it
// runs, and a store is run by one thread at a time.
unsafe impl Sync for Entry {}
// SAFETY: as above.
unsafe impl Send for Entry {}

static NONE: Entry = Entry {
    store: AtomicUsize::new(0),
    calls: UnsafeCell::new(MaybeUninit::uninit()),
};

thread_local! {
    static CURRENT: Cell<&'static Entry> = const { Cell::new(&NONE) };
}

#[derive(Default)]
struct Table {
    by_store: Option<HashMap<usize, &'static Entry>>,
    free: Vec<&'static Entry>,
}

static TABLE: Mutex<Table> = Mutex::new(Table {
    by_store: None,
    free: Vec::new(),
});

fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the store's calls if the store had this thread's last event, and nothing has
/// asked for its attention.
///
/// # Safety
///
/// `key` is of the store that this thread runs, or holds.
#[inline(always)]
pub(super) unsafe fn quick(key: StoreKey) -> Option<*mut StoreCalls> {
    let entry = CURRENT.get();
    // SAFETY: an entry with a store has its calls.
    (entry.store.load(Ordering::Relaxed) == key.0).then(|| entry.calls.get().cast::<StoreCalls>())
}

/// Returns the store's calls, and whether something has asked for its attention since.
///
/// # Safety
///
/// As [`quick`].
pub(super) unsafe fn find(key: StoreKey) -> Option<(*mut StoreCalls, bool)> {
    let mut entry = CURRENT.get();
    if entry.store.load(Ordering::Relaxed) & !ATTENTION != key.0 {
        entry = table().by_store.as_ref()?.get(&key.0).copied()?;
        CURRENT.set(entry);
    }
    // Others only ask: what is not set needs no taking away.
    let asked = entry.store.load(Ordering::Relaxed) != key.0
        && entry.store.swap(key.0, Ordering::Acquire) & ATTENTION != 0;
    Some((entry.calls.get().cast(), asked))
}

/// Lets a function use the calls of a store that this thread holds, if it has an entry.
pub(super) fn with<T: 'static, R>(
    store: StoreContextMut<'_, T>,
    f: impl FnOnce(&mut StoreCalls, &dyn Reach) -> R,
) -> Option<R> {
    let key = StoreKey::of(&store);
    // SAFETY: holding the store's context, this thread holds the store; and no event of
    // the store is going on, or it would hold the context.
    let (calls, asked) = unsafe {
        let (calls, asked) = find(key)?;
        (&mut *calls, asked)
    };
    let reach = InStore::new(store);
    if asked {
        calls.switch(&reach);
    }
    Some(f(calls, &reach))
}

/// As [`with`], when nothing of the store can be reached but its calls: what asks for attention
/// goes on asking.
///
/// # Safety
///
/// As [`quick`]; and no event of the store is going on.
pub(super) unsafe fn with_key<R>(key: StoreKey, f: impl FnOnce(&mut StoreCalls) -> R) -> Option<R> {
    // SAFETY: the caller promises what `find` asks.
    let (calls, asked) = unsafe { find(key)? };
    if asked {
        CURRENT.get().store.fetch_or(ATTENTION, Ordering::Release);
    }
    // SAFETY: nobody else uses them now.
    Some(f(unsafe { &mut *calls }))
}

/// Makes an entry for a store. Returns `false` when it has one.
pub(super) fn enter(key: StoreKey, reach: impl FnOnce() -> QuickReach) -> bool {
    if CURRENT.get().store.load(Ordering::Relaxed) & !ATTENTION == key.0 {
        return false;
    }
    let mut table = table();
    if table
        .by_store
        .as_ref()
        .is_some_and(|known| known.contains_key(&key.0))
    {
        return false;
    }
    let entry = table.free.pop().unwrap_or_else(|| {
        Box::leak(Box::new(Entry {
            store: AtomicUsize::new(0),
            calls: UnsafeCell::new(MaybeUninit::uninit()),
        }))
    });
    // SAFETY: no store has the entry, so nobody looks behind its address.
    unsafe {
        let place = entry.calls.get();
        (*place).write(StoreCalls::new(place.cast(), reach()));
    }
    entry.store.store(key.0, Ordering::Release);
    table.by_store.get_or_insert_default().insert(key.0, entry);
    true
}

/// Takes a store's entry away, at the store's end, and returns its calls.
pub(super) fn leave(key: StoreKey) -> Option<StoreCalls> {
    let mut table = table();
    let entry = table.by_store.as_mut()?.remove(&key.0)?;
    entry.store.store(0, Ordering::Relaxed);
    // SAFETY: the store is at its end, on this thread; the entry has lost its address, so
    // nobody comes here after.
    let calls = unsafe { (*entry.calls.get()).assume_init_read() };
    table.free.push(entry);
    Some(calls)
}

/// Makes the next event of every store take the long way.
pub(super) fn ask_for_attention() {
    let table = table();
    for entry in table.by_store.iter().flat_map(HashMap::values) {
        entry.store.fetch_or(ATTENTION, Ordering::Release);
    }
}
