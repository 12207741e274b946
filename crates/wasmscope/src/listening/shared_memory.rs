//! The memory that an instance within a component shares with its host.
//!
//! A component's core instances are nowhere at hand, so what of one is to be read and set is
//! found by its address, which the instance tells as it is made.

#![expect(
    unsafe_code,
    reason = "reads and writes a memory of a store that is held meanwhile"
)]

use std::ptr::{with_exposed_provenance, with_exposed_provenance_mut};
use wasmscope_instrument::component::SharedLayout;
use wasmscope_instrument::events::Event;

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

    /// Returns how many bytes of records there are that nobody has taken.
    pub(super) fn position(&self) -> u32 {
        let at = self.start + self.layout.position() as usize;
        // SAFETY: of a word within the memory, as the layout says; the store is held, so its
        // guest, which is all that writes there but us, does not run.
        let position = u32::from_le(unsafe { with_exposed_provenance::<u32>(at).read() });
        position.min(self.layout.records())
    }

    /// Makes the next record the first.
    pub(super) fn begin_again(&self) {
        self.write(self.layout.position(), 0);
    }

    /// Returns the records between two positions, no further than there are any.
    pub(super) fn records(&self, start: u32, end: u32) -> &[[u8; Event::SIZE as usize]] {
        let end = end.min(self.layout.records()) / Event::SIZE;
        let start = (start / Event::SIZE).min(end);
        let first = with_exposed_provenance::<[u8; Event::SIZE as usize]>(self.start);
        // SAFETY: so many records are in the memory, which the guest does not write as long as
        // the store is held.
        unsafe { std::slice::from_raw_parts(first.add(start as usize), (end - start) as usize) }
    }

    fn write(&self, offset: u32, word: u32) {
        let at = self.start + offset as usize;
        // SAFETY: as in `position`.
        unsafe { with_exposed_provenance_mut::<u32>(at).write(word.to_le()) };
    }
}

/// A number that an instance counts up, in a memory as long-lived as a [`SharedMemory`].
pub(super) struct SharedCount {
    at: usize,
}

impl SharedCount {
    /// Returns the one that these bytes are.
    ///
    /// # Safety
    ///
    /// As [`SharedMemory::new`]; the bytes are aligned as a `u64` is.
    pub(super) unsafe fn new(bytes: &[u8; size_of::<u64>()]) -> Self {
        Self {
            at: bytes.as_ptr().expose_provenance(),
        }
    }

    /// Returns the count, which begins again.
    pub(super) fn take(&self) -> u64 {
        // SAFETY: it is there as long as the store, which is held, so its guest does not count.
        let count = unsafe { with_exposed_provenance_mut::<u64>(self.at).replace(0) };
        u64::from_le(count)
    }
}
