//! The hooks that a rewritten module calls.
//!
//! Each has a quick way, for a function that the newest open call itself calls, or that
//! call's return, and a long one for everything else. The quick way is what a listener
//! costs.

#![expect(
    unsafe_code,
    reason = "reads the guest's frames and the store's calls on every call of a guest"
)]

use super::Shared;
use super::attach::{attach, enter};
use super::current::{self, StoreKey};
use super::guarded;
use super::open_calls::QUICK_WORDS;
use super::reach::{InStore, QuickReach, Reach};
use super::store_calls::StoreCalls;
use crate::layout::Callers;
use std::sync::Arc;
use wasmscope_instrument::hooks::{Hook, MODULE, UNATTACHED};
use wasmscope_listen::Call;
use wasmtime::{AsContextMut, Caller, Linker, StoreContextMut};

/// Defines all hooks in a linker.
pub(super) fn define<T: 'static>(
    shared: &Arc<Shared>,
    linker: &mut Linker<T>,
) -> wasmtime::Result<()> {
    let name = |hook: Hook| hook.import(&shared.suffix);
    macro_rules! values {
        ($number:literal: $($value:ident),*) => {
            let this = Arc::clone(shared);
            linker.func_wrap(
                MODULE,
                &name(Hook::Before($number)),
                move |caller: Caller<'_, T>, number: u32 $(, $value: u64)*| {
                    before(&this, caller, number, [$($value),*]);
                },
            )?;
            linker.func_wrap(
                MODULE,
                &name(Hook::After($number)),
                |caller: Caller<'_, T> $(, $value: u64)*| after(caller, [$($value),*]),
            )?;
        };
    }
    values!(0:);
    values!(1: a);
    values!(2: a, b);
    values!(3: a, b, c);
    values!(4: a, b, c, d);
    linker.func_wrap(
        MODULE,
        &name(Hook::Stage),
        |caller: Caller<'_, T>, a: u64, b: u64, c: u64, d: u64| {
            stage(caller, &[a, b, c, d]);
        },
    )?;
    linker.func_wrap(MODULE, &name(Hook::Tail), |mut caller: Caller<'_, T>| {
        at_hook(caller.as_context_mut(), |calls, callers, reach| {
            calls.close_tail(callers, reach)
        });
    })?;
    linker.func_wrap(MODULE, &name(Hook::Unwind), |mut caller: Caller<'_, T>| {
        at_hook(caller.as_context_mut(), |calls, callers, reach| {
            calls.close_thrown(callers, reach)
        });
    })?;
    guarded::define(shared, linker)
}

#[inline(always)]
fn before<T: 'static, const N: usize>(
    shared: &Arc<Shared>,
    mut caller: Caller<'_, T>,
    number: u32,
    words: [u64; N],
) {
    const { assert!(N <= QUICK_WORDS && UNATTACHED < 0) };
    if number.cast_signed() < 0 {
        // Only here is the caller looked at, and what the hook was made with: so neither
        // has to be loaded elsewhere.
        // SAFETY: the caller is not used after.
        return before_first(shared, unsafe { apart(&caller) }, number, &{ words });
    }
    let mut store = caller.as_context_mut();
    QuickReach::lend(store.as_context_mut());
    let key = StoreKey::of(&store);
    // SAFETY: this is a hook.
    if unsafe { before_quick(key, number, words) }.is_none() {
        before_long(store, number, &{ words });
    }
}

/// Opens a call that the newest open call calls.
///
/// # Safety
///
/// A hook of this store runs, called with this, and its context is lent.
#[inline(always)]
unsafe fn before_quick<const N: usize>(key: StoreKey, number: u32, words: [u64; N]) -> Option<()> {
    // SAFETY: in a hook this thread runs the store; the calls are used by nobody else until
    // the listener is called, and only read then.
    unsafe {
        let calls = current::quick(key)?;
        let frame = (*calls).exit.frame();
        let parent = (*calls).calls.top();
        let is_callee = frame.caller() == parent.fp()
            && parent.probe().holds(frame.return_address())
            && (*calls).calls.has_room();
        if !is_callee {
            return None;
        }
        let found = (*calls).probes.get(number)?;
        let open = &mut (*calls).calls;
        let (call, slot) = open.push_quick(frame, found, number, words);
        found.quick().before_in_empty(&Call::new(call), slot);
    }
    Some(())
}

#[inline(always)]
fn after<T: 'static, const N: usize>(mut caller: Caller<'_, T>, words: [u64; N]) {
    let mut store = caller.as_context_mut();
    QuickReach::lend(store.as_context_mut());
    let key = StoreKey::of(&store);
    // SAFETY: this is a hook.
    if unsafe { after_quick(key, &words) }.is_none() {
        after_long(store, &words);
    }
}

/// Closes the newest open call.
///
/// # Safety
///
/// As [`before_quick`].
#[inline(always)]
unsafe fn after_quick(key: StoreKey, words: &[u64]) -> Option<()> {
    // SAFETY: as in `before_quick`.
    unsafe {
        let calls = current::quick(key)?;
        if (*calls).calls.top().fp() != (*calls).exit.frame() {
            return None;
        }
        let (call, slot) = (*calls).calls.pop_quick();
        call.probe().quick().after(&Call::new(call), words, slot);
    }
    Some(())
}

/// Moves a caller to a place of its own, so that it is in memory only where it has to be.
///
/// # Safety
///
/// The caller itself is not used any more.
#[inline(always)]
unsafe fn apart<'a, T>(caller: &Caller<'a, T>) -> Caller<'a, T> {
    // SAFETY: a move: the other is not used, and has nothing to drop. The compiler would
    // have it made where it goes if it saw through this.
    std::hint::black_box(unsafe { std::ptr::read(caller) })
}

/// The first event of an instance.
#[cold]
#[inline(never)]
fn before_first<T: 'static>(
    shared: &Arc<Shared>,
    mut caller: Caller<'_, T>,
    number: u32,
    words: &[u64],
) {
    let probe = number.wrapping_sub(UNATTACHED.cast_unsigned());
    if let Some(first) = attach(shared, &mut caller) {
        before_long(caller.as_context_mut(), first.saturating_add(probe), words);
    }
}

#[cold]
#[inline(never)]
fn before_long<T: 'static>(store: StoreContextMut<'_, T>, number: u32, words: &[u64]) {
    at_hook(store, |calls, callers, reach| {
        calls.open_at(callers, number, words, reach);
    });
}

#[cold]
#[inline(never)]
fn after_long<T: 'static>(store: StoreContextMut<'_, T>, words: &[u64]) {
    at_hook(store, |calls, callers, reach| {
        calls.close(callers, words, reach)
    });
}

/// Keeps values for the event that follows, which may be the first of its store.
fn stage<T: 'static>(mut caller: Caller<'_, T>, words: &[u64]) {
    enter(caller.as_context_mut());
    current::with(caller.as_context_mut(), |calls, _| {
        calls.stage(words);
    });
}

/// Hands over the store's calls, and the frames from the one that called the hook up.
pub(super) fn at_hook<T: 'static>(
    store: StoreContextMut<'_, T>,
    event: impl FnOnce(&mut StoreCalls, Callers, &dyn Reach),
) {
    let key = StoreKey::of(&store);
    // SAFETY: this is a hook, so this thread runs the store, and the frame that called the
    // hook is there, with its callers up to the trampoline that the host entered by.
    let (calls, asked, callers) = unsafe {
        let Some((calls, asked)) = current::find(key) else {
            return;
        };
        let calls = &mut *calls;
        let Some(context) = calls.context else {
            return;
        };
        let callers = Callers::of(
            context.exit_slot().frame(),
            context.entry_of(context.stack()),
        );
        (calls, asked, callers)
    };
    let reach = InStore::new(store);
    if asked {
        calls.switch(&reach);
    }
    event(calls, callers, &reach);
}
