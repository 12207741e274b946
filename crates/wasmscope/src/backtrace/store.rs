//! One store's view: where its guests left for the host, and their callers.

#![expect(unsafe_code, reason = "walks frames of a store that is held meanwhile")]

use super::activation::StoreId;
use super::raw_frame::RawFrame;
use super::stack::{Backtrace, BacktraceEnd};
use crate::failure::recorded::{self, Recorded};
use crate::layout::{Callers, Entered, Found, Fp, StoreContext, Trust, agreed, disagreed};
use wasmtime::{StoreContextMut, WasmBacktrace};

/// Adds the frames of a store's guests.
pub(super) fn capture<T: 'static>(store: &StoreContextMut<'_, T>, backtrace: &mut Backtrace) {
    let context = match StoreContext::find(store) {
        Found::Context(context) => context,
        Found::Idle => return,
        Found::Unknown => return backtrace.set_end(BacktraceEnd::Lost),
    };
    let id = StoreId::of_data(store.data());
    // SAFETY: the store is held, so none of its activations ends meanwhile.
    let found = unsafe {
        context.activations(|entered| {
            backtrace.push_activation(id, Frames(Some(entered.callers())));
        })
    };
    if found != Ok(Trust::Proven) {
        compare(store, id, found.is_ok(), backtrace);
    }
}

/// Holds what was found against the engine's own record, which is believed. `is_whole` says
/// whether all activations were found.
#[cold]
fn compare<T: 'static>(
    store: &StoreContextMut<'_, T>,
    id: StoreId,
    is_whole: bool,
    backtrace: &mut Backtrace,
) {
    let Some(recorded) = recorded(store) else {
        return backtrace.set_end(BacktraceEnd::Lost);
    };
    let ours = backtrace.frames();
    let ours = ours.map(|frame| (frame.pc(), frame.frame_pointer()));
    let engines = recorded.iter().map(|frame| (frame.pc, Some(frame.fp)));
    if ours.eq(engines) {
        if is_whole {
            agreed();
        }
        return;
    }
    if is_whole {
        disagreed();
    }
    backtrace.clear();
    for entered in activations_of(&recorded) {
        // SAFETY: as in `capture`.
        let callers = unsafe { entered.callers() };
        backtrace.push_activation(id, Frames(Some(callers)));
    }
}

/// Returns a store's activations, newest first, as the engine records them; `None` when that
/// cannot be read.
pub(super) fn activations<T: 'static>(store: &StoreContextMut<'_, T>) -> Option<Vec<Entered>> {
    recorded(store).map(|recorded| activations_of(&recorded))
}

fn recorded<T: 'static>(store: &StoreContextMut<'_, T>) -> Option<Vec<Recorded>> {
    let mut recorded = recorded::frames(&WasmBacktrace::force_capture(store))?;
    recorded.retain(|frame| !frame.is_repeated);
    Some(recorded)
}

/// Returns the runs of frames of which each was called by the next.
fn activations_of(recorded: &[Recorded]) -> Vec<Entered> {
    let fp = |frame: &Recorded| Fp(usize::try_from(frame.fp).unwrap_or_default());
    // SAFETY: the engine recorded these frames just now, and their store is held.
    let caller = |frame: &Recorded| unsafe { fp(frame).caller() };
    let runs = recorded.chunk_by(|callee, next| caller(callee) == fp(next));
    runs.filter_map(|run| {
        let (newest, oldest) = (run.first()?, run.last()?);
        Some(Entered {
            exit_pc: newest.pc,
            exit: fp(newest),
            entry: caller(oldest),
        })
    })
    .collect()
}

/// The frames of one activation, newest first, without the trampolines.
struct Frames(Option<Callers>);

impl Iterator for Frames {
    type Item = RawFrame;

    #[inline]
    fn next(&mut self) -> Option<RawFrame> {
        let callers = self.0.as_mut()?;
        if callers.is_at_entry() {
            return None;
        }
        let frame = raw(callers)?;
        if !callers.advance() {
            self.0 = None;
        }
        Some(frame)
    }
}

/// Returns the frame that was reached.
#[inline]
pub(super) fn raw(callers: &Callers) -> Option<RawFrame> {
    let base = callers.frame.0.wrapping_add(16) as u64;
    Some(RawFrame::guest(callers.pc?, true, base))
}
