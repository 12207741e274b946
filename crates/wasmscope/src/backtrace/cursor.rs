//! A place in one activation.

#![expect(
    unsafe_code,
    reason = "walks frames of a store that is borrowed meanwhile"
)]

use super::raw_frame::RawFrame;
use super::store;
use crate::layout::{Callers, Found, StoreContext, Trust};
use std::marker::PhantomData;
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
    /// Returns `None` where the engine does not tell which they are, as
    /// [`BacktraceEnd::Lost`](crate::BacktraceEnd::Lost) says.
    pub fn of_activations<S>(store: &'a mut S) -> Option<Vec<Self>>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let store = store.as_context_mut();
        let context = match StoreContext::find(&store) {
            Found::Context(context) => context,
            Found::Idle => return Some(Vec::new()),
            Found::Unknown => return None,
        };
        let mut entered = Vec::new();
        // SAFETY: the store is borrowed as long as the cursors are used: none of its
        // activations ends meanwhile.
        let found = unsafe { context.activations(|each| entered.push(each)) };
        if found != Ok(Trust::Proven) {
            entered = store::activations(&store)?;
        }
        let cursors = entered.into_iter().map(|entered| Self {
            // SAFETY: as above.
            callers: unsafe { entered.callers() },
            store: PhantomData,
        });
        Some(cursors.collect())
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
