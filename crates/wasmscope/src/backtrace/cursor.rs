//! A place in one activation.

#![expect(
    unsafe_code,
    reason = "walks frames of a store that is borrowed meanwhile"
)]

use super::raw_frame::RawFrame;
use super::store;
use crate::layout::{Callers, Found, StoreContext};
use std::marker::PhantomData;
use std::ops::ControlFlow;
use wasmtime::AsContextMut;

/// Goes from frame to frame of one activation, from where the guest called the host to where
/// the host entered it, without copying any.
///
/// It borrows the store: what lies on the stack stays there as long.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    callers: Callers,
    store: PhantomData<&'a mut ()>,
}

impl<'a> Cursor<'a> {
    /// Returns cursors at the newest frame of each of a store's activations, newest first. Of
    /// stacks that resume each other there is one for each.
    ///
    /// There are none of activations that the engine's record could not be found of, as
    /// [`BacktraceEnd::Lost`](crate::BacktraceEnd::Lost) says.
    pub fn of_activations<S: AsContextMut>(store: &'a mut S) -> Vec<Self> {
        let mut cursors = Vec::new();
        if let Found::Context(context) = StoreContext::find(&store.as_context_mut()) {
            // SAFETY: the store is borrowed as long as the cursors are used: none of its
            // activations ends meanwhile.
            let _ = unsafe {
                context.activations(|entered| {
                    cursors.push(Self {
                        callers: entered.callers(),
                        store: PhantomData,
                    });
                    ControlFlow::Continue(())
                })
            };
        }
        cursors
    }

    /// Returns the frame that was reached; `None` at the end.
    #[must_use]
    pub fn frame(&self) -> Option<RawFrame> {
        if self.is_done() {
            return None;
        }
        store::raw(&self.callers)
    }

    /// Tells whether the end is reached.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.callers.is_at_entry()
    }

    /// Goes on to the caller. Does nothing at the end.
    pub fn advance(&mut self) {
        self.callers.advance();
    }
}
