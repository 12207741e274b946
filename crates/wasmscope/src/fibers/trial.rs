//! A fiber of our own, on which is seen whether the engine lays stacks out as is expected.
//!
//! It calls a function of the host that waits once. What is on the stack is looked at before
//! the call, while it runs, while it waits, and after: by loads alone, until all is as it
//! should be.

use super::Known;
use super::memory::{self, Creator, FiberMemory, Found};
use crate::Error;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use wasmscope_sample::{CodeMap, End, StackCapture};
use wasmtime::{Caller, Config, Engine, Func, Store};

/// Tells whether stacks are laid out as is expected, which is found out once.
pub(super) fn check() -> Result<(), Error> {
    static CHECKED: OnceLock<Result<(), &'static str>> = OnceLock::new();
    let checked = CHECKED.get_or_init(|| try_out(&Arc::default()));
    checked.map_err(|found| Error::FiberLayout { found })
}

/// How far the stack of who resumes a fiber reaches below the function that polls it.
const NEAR: u64 = 64 << 10;

/// Makes a fiber on one of `known`'s stacks, and looks at it.
fn try_out(known: &Arc<Known>) -> Result<(), &'static str> {
    let failed = |_: wasmtime::Error| "a function could not be called on a fiber";
    let mut config = Config::new();
    // It runs no guest: the process's signals stay as they are.
    config.signals_based_traps(false);
    config.with_host_stack(Arc::new(Creator(Arc::clone(known))));
    let engine = Engine::new(&config).map_err(failed)?;
    let mut store = Store::new(&engine, ());
    let here = 0u64;
    let above = std::ptr::from_ref(&here).addr() as u64;
    let running = Arc::clone(known);
    let wait = Func::wrap_async(&mut store, move |_: Caller<'_, ()>, ()| {
        let mut looked = looks_running(&running, above);
        let mut waits = true;
        Box::new(std::future::poll_fn(move |_| {
            if std::mem::take(&mut waits) {
                return Poll::Pending;
            }
            let looked = std::mem::replace(&mut looked, Ok(()));
            Poll::Ready(looked.map_err(wasmtime::Error::msg))
        }))
    });
    let wait = wait.typed::<(), ()>(&store).map_err(failed)?;
    let mut context = Context::from_waker(Waker::noop());
    {
        let mut call = pin!(wait.call_async(&mut store, ()));
        if call.as_mut().poll(&mut context).is_ready() {
            return Err("a function that waits was not put aside");
        }
        looks_suspended(&*the_only(known)?)?;
        match call.poll(&mut context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Err("a fiber that runs does not say so"),
            Poll::Pending => return Err("a function did not go on"),
        }
    }
    match the_only(known)?.copy(1, &mut Vec::new()) {
        Found::Idle => Ok(()),
        _ => Err("a fiber that has ended does not say so"),
    }
}

/// Returns the stack that was made.
fn the_only(known: &Known) -> Result<Arc<FiberMemory>, &'static str> {
    let stacks = known.there();
    match <[_; 1]>::try_from(stacks) {
        Ok([(_, memory)]) => Ok(memory),
        Err(_) => Err("a call on a fiber did not ask for one stack"),
    }
}

/// Looks at a stack from a function that runs on it. It was resumed just below `above`.
fn looks_running(known: &Known, above: u64) -> Result<(), &'static str> {
    let here = 0u64;
    let sp = std::ptr::from_ref(&here).addr();
    let memory = the_only(known)?;
    if !memory.range().contains(&sp) {
        return Err("a fiber does not run on the stack that was made for it");
    }
    let (resumed_from, result) = memory.engines_words();
    if result == 0 {
        return Err("a fiber that runs does not say so");
    }
    if resumed_from >= above || resumed_from < above.saturating_sub(NEAR) {
        return Err("a fiber that runs does not say who resumed it");
    }
    Ok(())
}

/// Looks at a stack on which a function waits.
fn looks_suspended(memory: &FiberMemory) -> Result<(), &'static str> {
    let (sp, result) = memory.engines_words();
    let range = memory.range();
    if result != 0 || !usize::try_from(sp).is_ok_and(|sp| range.contains(&sp)) {
        return Err("a fiber that waits does not say where");
    }
    let mut words = Vec::new();
    if memory.copy(1, &mut words) != Found::Suspended(sp) {
        return Err("a fiber that waits does not say so");
    }
    let left = memory::left(sp, &words).ok_or("a fiber that waits has no frames")?;
    let mut capture = StackCapture::new().ok_or("stacks cannot be walked")?;
    let mut frames = 0;
    let end = capture.visit_left(left, &CodeMap::default(), |_| {
        frames += 1;
        ControlFlow::Continue(())
    });
    // The engine's switch, what called it, and the first frame at least.
    if end == End::Fiber && frames > 2 {
        Ok(())
    } else {
        Err("the frames of a fiber that waits do not lead to its first")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_s_stacks_are_as_expected() {
        assert_eq!(try_out(&Arc::default()), Ok(()));
    }

    /// Each look finds what the others would miss.
    #[test]
    fn other_layouts_are_noticed() {
        let memory = FiberMemory::new(1 << 16).expect("maps");
        let top = memory.range().end as u64;
        assert!(looks_suspended(&memory).is_err(), "nothing is on it");
        memory.write(16, top - 160);
        assert!(looks_suspended(&memory).is_err(), "no frame is there");
        memory.write(8, 8);
        assert!(looks_suspended(&memory).is_err(), "it runs");

        let known = Arc::<Known>::default();
        assert!(the_only(&known).is_err(), "there is none");
        let memory = Arc::new(memory);
        known.add(&memory);
        let looked = looks_running(&known, u64::MAX);
        assert!(looked.is_err(), "this does not run on it");
    }
}
