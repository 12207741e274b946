//! Guarded exports: each call from the host to the guest is a scope of its own.
//!
//! ```text
//!   host      call of an export                      the same result, or error
//!   guest       '-> shim: parameters into globals              ^
//!   host              '-> guard: begins a scope ------> ends the scope
//!   guest                   '-> inner: calls the function itself ^
//! ```
//!
//! How an export becomes a shim is told in `wasmscope-instrument`.

#![expect(
    unsafe_code,
    reason = "borrows what an instance keeps while the store is lent on"
)]

use super::attach::attach;
use super::current;
use super::{Listening, Shared};
use crate::Error;
use std::ptr::NonNull;
use std::sync::Arc;
use wasmscope_instrument::hooks::{self, Hook, MODULE, UNATTACHED};
use wasmtime::{AsContextMut, Caller, Extern, Linker, TypedFunc};

/// What a guard calls.
type Inner = TypedFunc<(), ()>;

/// Where to find what a guard calls.
enum Found {
    /// Kept by the instance.
    Kept(NonNull<Inner>),
    /// Of an instance that nobody keeps anything of.
    Unkept(Inner),
}

/// What an instance's guards call, by guard, as far as they were called. Each stays where it
/// is as long as the instance is known.
#[derive(Default)]
pub(super) struct Guards(Vec<Option<Box<Inner>>>);

impl Guards {
    fn get(&self, guard: u32) -> Option<NonNull<Inner>> {
        let inner = self.0.get(guard as usize)?;
        inner.as_deref().map(NonNull::from_ref)
    }

    /// Keeps what a guard calls, unless it is kept.
    fn keep(&mut self, guard: u32, inner: Inner) -> NonNull<Inner> {
        let at = guard as usize;
        if self.0.len() <= at {
            self.0.resize_with(at + 1, || None);
        }
        NonNull::from_ref(&**self.0[at].get_or_insert_with(|| Box::new(inner)))
    }
}

/// Defines the hook that guarded exports call.
pub(super) fn define<T: 'static>(
    shared: &Arc<Shared>,
    linker: &mut Linker<T>,
) -> wasmtime::Result<()> {
    let listening = Listening {
        shared: Arc::clone(shared),
    };
    linker.func_wrap(
        MODULE,
        &Hook::Guard.import(&shared.suffix),
        move |caller: Caller<'_, T>, instance: u32, guard: u32| {
            enter(&listening, caller, instance, guard)
        },
    )?;
    Ok(())
}

fn enter<T: 'static>(
    listening: &Listening,
    mut caller: Caller<'_, T>,
    mut instance: u32,
    guard: u32,
) -> wasmtime::Result<()> {
    if instance.cast_signed() == UNATTACHED {
        instance = attach(&listening.shared, &mut caller).unwrap_or(instance);
    }
    let inner = inner(&listening.shared, &mut caller, instance, guard)?;
    let inner = match &inner {
        // SAFETY: an instance is known as long as its store is there, which the caller
        // borrows. A clone would count up and down at each call.
        Found::Kept(inner) => unsafe { inner.as_ref() },
        Found::Unkept(inner) => inner,
    };
    listening.guard(&mut caller, |caller| inner.call(caller, ()))
}

/// Returns what a guard calls: kept from before, or found among the exports of the
/// instance whose guard it is.
fn inner<T: 'static>(
    shared: &Shared,
    caller: &mut Caller<'_, T>,
    instance: u32,
    guard: u32,
) -> wasmtime::Result<Found> {
    let kept = current::with(caller.as_context_mut(), |calls, _| {
        if calls.context.is_some_and(|context| context.fiber() != 0) {
            return Err(Error::GuardedOnFiber);
        }
        let attached = calls.instance_mut(instance);
        Ok(attached.and_then(|attached| attached.guards.get(guard)))
    });
    if let Some(inner) = kept.transpose()?.flatten() {
        return Ok(Found::Kept(inner));
    }
    let name = hooks::inner_export(guard, &shared.suffix);
    let inner = caller.get_export(&name).and_then(Extern::into_func);
    let inner = inner.ok_or_else(|| wasmtime::format_err!("{name} is not exported"))?;
    let inner = inner.typed(&*caller)?;
    let kept = current::with(caller.as_context_mut(), |calls, _| {
        let attached = calls.instance_mut(instance)?;
        Some(attached.guards.keep(guard, inner.clone()))
    });
    Ok(kept.flatten().map_or(Found::Unkept(inner), Found::Kept))
}
