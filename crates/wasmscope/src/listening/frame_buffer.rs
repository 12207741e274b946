//! Room for the frames of one walk, kept from event to event so that a walk allocates
//! nothing.

#![expect(
    unsafe_code,
    reason = "lends what it holds for as long as an event lasts"
)]

use std::cell::UnsafeCell;
use wasmscope_listen::RawFrame;

/// Holds the frames of the walk that was made last.
#[derive(Default)]
pub(super) struct FrameBuffer(UnsafeCell<Vec<RawFrame>>);

impl FrameBuffer {
    /// Empties the buffer, has it filled, and lends what is in it.
    ///
    /// # Safety
    ///
    /// Nothing that an earlier call lent is used any more: an event asks at most once, and
    /// keeps what it got no longer than it lasts itself.
    pub(super) unsafe fn fill(&self, fill: impl FnOnce(&mut Vec<RawFrame>)) -> &[RawFrame] {
        // SAFETY: not shared between threads, and no reference into it is left.
        let frames = unsafe { &mut *self.0.get() };
        frames.clear();
        fill(frames);
        frames
    }
}
