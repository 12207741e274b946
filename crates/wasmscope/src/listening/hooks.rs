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
use super::reach::{InStore, Reach};
use super::store_calls::StoreCalls;
use crate::layout::Callers;
use std::sync::Arc;
use wasmscope_instrument::hooks::{Hook, MODULE, UNATTACHED};
use wasmscope_listen::Call;
use wasmtime::{AsContextMut, Caller, Linker};

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
                move |caller: Caller<'_, T>, instance: u32, probe: u32 $(, $value: u64)*| {
                    before(&this, caller, instance, probe, [$($value),*]);
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
        long(&mut caller, |calls, callers, reach| {
            calls.close_tail(callers, reach)
        });
    })?;
    linker.func_wrap(MODULE, &name(Hook::Unwind), |mut caller: Caller<'_, T>| {
        long(&mut caller, |calls, callers, reach| {
            calls.close_thrown(callers, reach)
        });
    })?;
    guarded::define(shared, linker)
}

#[inline(always)]
fn before<T: 'static, const N: usize>(
    shared: &Arc<Shared>,
    mut caller: Caller<'_, T>,
    instance: u32,
    probe: u32,
    words: [u64; N],
) {
    const { assert!(N <= QUICK_WORDS) };
    let key = StoreKey::of(caller.data());
    // SAFETY: this is a hook, so this thread runs the store; the calls are used by nobody
    // else until the listener is called, and only read then.
    unsafe {
        let Some(calls) = current::quick(key) else {
            return before_long(shared, apart(&caller), instance, probe, &{ words });
        };
        let frame = (*calls).exit.frame();
        let parent = (*calls).calls.top();
        if frame.caller() != parent.fp()
            || !parent.probe().holds(frame.return_address())
            || !(*calls).calls.has_room()
        {
            return before_long(shared, apart(&caller), instance, probe, &{ words });
        }
        let Some(probe) = (*calls).probes.get(instance, probe) else {
            return before_long(shared, apart(&caller), instance, probe, &{ words });
        };
        let Some(probe) = probe else { return };
        (*calls).reach.leave(caller.as_context_mut());
        let open = &mut (*calls).calls;
        let (call, slot) = open.push_quick(calls, frame, probe, instance, words);
        probe.quick().before(&Call::new(call), slot);
    }
}

#[inline(always)]
fn after<T: 'static, const N: usize>(mut caller: Caller<'_, T>, words: [u64; N]) {
    let key = StoreKey::of(caller.data());
    // SAFETY: as in `before`.
    unsafe {
        let Some(calls) = current::quick(key) else {
            return after_long(apart(&caller), &{ words });
        };
        let frame = (*calls).exit.frame();
        if (*calls).calls.top().fp() != frame {
            return after_long(apart(&caller), &{ words });
        }
        (*calls).reach.leave(caller.as_context_mut());
        let (call, slot) = (*calls).calls.pop_quick(calls);
        call.probe().quick().after(&Call::new(call), &words, slot);
    }
}

/// Moves a caller to a place of its own for the long way, so that the quick way need not
/// have it in memory.
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

#[cold]
#[inline(never)]
fn before_long<T: 'static>(
    shared: &Arc<Shared>,
    mut caller: Caller<'_, T>,
    instance: u32,
    probe: u32,
    words: &[u64],
) {
    let instance = if instance.cast_signed() == UNATTACHED {
        match attach(shared, &mut caller) {
            Some(instance) => instance,
            None => return,
        }
    } else {
        instance
    };
    long(&mut caller, |calls, callers, reach| {
        calls.open(callers, instance, probe, words, reach);
    });
}

#[cold]
#[inline(never)]
fn after_long<T: 'static>(mut caller: Caller<'_, T>, words: &[u64]) {
    long(&mut caller, |calls, callers, reach| {
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

/// Settles the store's calls and does what an event asks for.
fn long<T: 'static>(
    caller: &mut Caller<'_, T>,
    event: impl FnOnce(&mut StoreCalls, Callers, &dyn Reach),
) {
    let key = StoreKey::of(caller.data());
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
    let reach = InStore::new(caller);
    if asked {
        calls.switch(&reach);
    }
    event(calls, callers, &reach);
}
