//! A stack that was captured.

use super::activation::{Activation, Span};
use super::codes::Codes;
use super::raw_frame::{RawFrame, RawFrameKind};
use std::fmt;
use std::sync::Arc;
use wasmscope_sample::{Cut, End};

/// How a backtrace ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum BacktraceEnd {
    /// With the first frame that was asked for: nothing is missing.
    #[default]
    Whole,
    /// Where the visitor said to stop.
    Stopped,
    /// Too early: older frames are missing. Those that are there are right.
    Cut(Cut),
}

impl BacktraceEnd {
    /// Tells whether nothing is missing.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self == Self::Whole
    }
}

impl From<End> for BacktraceEnd {
    fn from(end: End) -> Self {
        match end {
            End::Root | End::Fiber | End::LeftGuest => Self::Whole,
            End::Stopped => Self::Stopped,
            End::Cut(cut) => Self::Cut(cut),
        }
    }
}

/// A stack, newest frame first: addresses, without names.
///
/// It keeps the guests' code that was registered when it was captured, so that its addresses
/// can be named later, also when a guest is gone. Capturing into one again uses its room.
#[derive(Clone, Default)]
pub struct Backtrace {
    frames: Vec<RawFrame>,
    activations: Vec<Span>,
    end: BacktraceEnd,
    pub(super) codes: Option<Arc<Codes>>,
}

impl Backtrace {
    /// Returns a backtrace without frames.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            frames: Vec::new(),
            activations: Vec::new(),
            end: BacktraceEnd::Whole,
            codes: None,
        }
    }

    /// Returns an empty backtrace with room for as many frames and activations.
    #[must_use]
    pub fn with_capacity(frames: usize, activations: usize) -> Self {
        Self {
            frames: Vec::with_capacity(frames),
            activations: Vec::with_capacity(activations),
            ..Self::empty()
        }
    }

    /// Tells whether there is no frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Returns the number of frames.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Returns the frames, newest first; `rev()` gives the oldest first.
    pub fn frames(&self) -> impl DoubleEndedIterator<Item = RawFrame> + ExactSizeIterator + '_ {
        self.frames.iter().copied()
    }

    /// Returns the activations, newest first.
    pub fn activations(
        &self,
    ) -> impl DoubleEndedIterator<Item = Activation<'_>> + ExactSizeIterator + '_ {
        let activation = |&span: &Span| Activation::new(&self.frames, span);
        self.activations.iter().map(activation)
    }

    /// Tells how it ends.
    #[must_use]
    pub fn end(&self) -> BacktraceEnd {
        self.end
    }

    /// Takes all frames out, and keeps the room.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.activations.clear();
        self.end = BacktraceEnd::Whole;
    }

    /// Adds the next older frame.
    #[inline]
    pub(super) fn push(&mut self, frame: RawFrame) {
        let at = self.frames.len();
        if frame.kind() == RawFrameKind::Guest {
            match self.activations.last_mut() {
                Some(last) if last.end == at => last.end = at.wrapping_add(1),
                _ => self.activations.push(Span {
                    start: at,
                    end: at.wrapping_add(1),
                    store: None,
                }),
            }
        }
        self.frames.push(frame);
    }

    /// Adds the next older frame; of a run of host frames only that it is there.
    #[inline]
    pub(super) fn push_or_omit(&mut self, frame: RawFrame) {
        if frame.kind() == RawFrameKind::Guest {
            self.push(frame);
        } else if self
            .frames
            .last()
            .is_none_or(|last| *last != RawFrame::HOST_RUN)
        {
            self.frames.push(RawFrame::HOST_RUN);
        }
    }

    pub(super) fn set_end(&mut self, end: BacktraceEnd) {
        self.end = end;
    }
}

impl fmt::Debug for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backtrace")
            .field("frames", &self.frames)
            .field("activations", &self.activations.len())
            .field("end", &self.end)
            .finish()
    }
}
