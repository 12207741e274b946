//! One store's view: where its guests left for the host, and their callers.

#![expect(unsafe_code, reason = "walks frames of a store that is held meanwhile")]

use super::activation::StoreId;
use super::raw_frame::RawFrame;
use super::stack::{Backtrace, BacktraceEnd};
use crate::layout::{Callers, Found, StoreContext, Unknown};
use std::ops::ControlFlow;
use wasmtime::StoreContextMut;

/// Adds the frames of a store's guests.
pub(super) fn capture<T: 'static>(store: &StoreContextMut<'_, T>, backtrace: &mut Backtrace) {
    let context = match StoreContext::find(store) {
        Found::Context(context) => context,
        Found::Idle => return,
        Found::Unknown => return backtrace.set_end(BacktraceEnd::Lost),
    };
    let id = StoreId::of_data(store.data());
    // SAFETY: the store is held, so none of its activations ends meanwhile.
    let end = unsafe {
        context.activations(|entered| {
            backtrace.push_activation(id, Frames(Some(entered.callers())));
            ControlFlow::Continue(())
        })
    };
    if let Err(Unknown) = end {
        backtrace.set_end(BacktraceEnd::Lost);
    }
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
