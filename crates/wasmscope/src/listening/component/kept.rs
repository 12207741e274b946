//! The memory where a component keeps events that it could not tell at once.
//!
//! What is kept is told by the component itself, ahead of its next event. Behind the last
//! call of all there is none: so the host looks there too, when it has the store back.

#![expect(
    unsafe_code,
    reason = "reads and empties a memory of the store while no guest runs in it"
)]

use super::ComponentModules;
use std::ptr::{with_exposed_provenance, with_exposed_provenance_mut};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use wasmscope_instrument::component::deferred::{MEMORY, RECORDS, State};

/// One such memory, of an instance of a component. There as long as its store: the engine
/// frees no instance before, and the memory cannot grow, so it is never moved.
pub(in crate::listening) struct Kept {
    start: usize,
    component: Arc<ComponentModules>,
}

impl Kept {
    /// Returns the one whose bytes these are, all of them.
    ///
    /// Only rewritten components know the name of the hook that brings them.
    pub(super) fn new(memory: &[u8], component: &Arc<ComponentModules>) -> Option<Self> {
        (memory.len() == MEMORY as usize).then(|| Self {
            start: memory.as_ptr().expose_provenance(),
            component: Arc::clone(component),
        })
    }

    /// Tells whether it is the same memory.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.start == other.start
    }

    /// Takes the records that are there, and counts events that are lost. None are taken where
    /// more are about to come, unless the guest `has_failed`.
    ///
    /// # Safety
    ///
    /// The store is there, this thread holds it, and its guest does not run just now.
    pub(in crate::listening) unsafe fn take(&self, has_failed: bool) -> Option<Vec<u8>> {
        // SAFETY: the memory is there as long as the store, and only compiled code, which
        // does not run, and hooks of this store write it.
        let state = unsafe { with_exposed_provenance::<[u8; RECORDS as usize]>(self.start).read() };
        let state = State::read(&state);
        if state.len == 0 && state.lost == 0 || state.is_quiet && !has_failed {
            return None;
        }
        let mut records = vec![0; state.len as usize];
        // SAFETY: as above; so many bytes are behind the state.
        unsafe {
            let from = with_exposed_provenance::<u8>(self.start).add(RECORDS as usize);
            from.copy_to_nonoverlapping(records.as_mut_ptr(), records.len());
            with_exposed_provenance_mut::<[u8; RECORDS as usize]>(self.start)
                .write(state.emptied());
        }
        self.component.lost.fetch_add(state.lost, Ordering::Relaxed);
        Some(records)
    }
}
