//! Continuations that wait to be resumed: where they are, and how they got there.
//!
//! The engine keeps no list of a store's continuations. Those on which a call is open that
//! somebody listens to are known, because each event says which stack it is on.

#![expect(
    unsafe_code,
    reason = "walks the stacks of a store that is held meanwhile"
)]

use super::module::Place;
use super::store_calls::StoreCalls;
use super::{Listening, current};
use crate::Frame;
use wasmscope_address::HostPc;
use wasmtime::AsContextMut;

impl Listening {
    /// Returns the stacks of a store's stack-switching continuations that wait to be resumed,
    /// in no order; of each the frames, newest first, with offsets and lines of the original.
    /// Those of continuations that were suspended together are one stack.
    ///
    /// A continuation is known while a call that is listened to is open on it.
    pub fn suspended<S>(&self, store: &mut S) -> Vec<Vec<Frame>>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let store = store.as_context_mut();
        current::with(store, |calls, _| calls.suspended()).unwrap_or_default()
    }
}

impl StoreCalls {
    /// Returns the stack of each continuation that waits and has an open call, newest frame
    /// first.
    pub(super) fn suspended(&self) -> Vec<Vec<Frame>> {
        let stacks = self.stacks_with_calls().map(|stack| {
            // SAFETY: who has the calls holds the store.
            let stacks = unsafe { stack.suspended() };
            let mut frames = Vec::new();
            for mut callers in stacks {
                // A continuation's stack ends in code of the engine's own.
                while let Some(place) = callers.pc.and_then(|pc| self.place(pc)) {
                    // What a probe put there is of no original.
                    frames.push(place.frame());
                    if !callers.advance() {
                        break;
                    }
                }
            }
            frames
        });
        stacks.filter(|frames| !frames.is_empty()).collect()
    }

    fn place(&self, pc: HostPc) -> Option<Place<'_>> {
        let mut modules = self.instances.iter().map(|attached| &attached.module);
        modules.find_map(|module| module.place(pc))
    }
}
