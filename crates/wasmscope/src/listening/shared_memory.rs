//! The memory that an instance within a component shares with its host.
//!
//! A component's core instances are nowhere at hand, so what of one is to be read and set is
//! found by its address, which the instance tells as it is made.

#![expect(
    unsafe_code,
    reason = "writes a memory of a store that is held meanwhile"
)]

use std::ptr::with_exposed_provenance_mut;
use wasmscope_instrument::component::SharedLayout;

/// One such memory. It is there as long as its store, for the engine frees no instance before;
/// and it cannot grow, so it stays where it is.
pub(super) struct SharedMemory {
    start: usize,
    layout: SharedLayout,
}

impl SharedMemory {
    /// Returns the one that these bytes are the first of.
    ///
    /// # Safety
    ///
    /// A component that was rewritten says so, of an instance whose memory has this layout.
    /// What is returned is used while the store is there, and held by the thread.
    pub(super) unsafe fn new(first: &[u8], layout: SharedLayout) -> Self {
        Self {
            start: first.as_ptr().expose_provenance(),
            layout,
        }
    }

    /// Sets which probes of a group are on.
    pub(super) fn switch(&self, group: u32, on: u32) {
        self.write(self.layout.switches(group), !on);
    }

    fn write(&self, offset: u32, word: u32) {
        let at = self.start + offset as usize;
        // SAFETY: of a word within the memory, as the layout says; the store is held, so its
        // guest, which is all that writes there but us, does not run.
        unsafe { with_exposed_provenance_mut::<u32>(at).write(word.to_le()) };
    }
}
