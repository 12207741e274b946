//! A stack that was captured.

use super::activation::{Activation, Span, StoreId};
use super::codes::Codes;
use super::raw_frame::{RawFrame, RawFrameKind};
use crate::layout::{Owners, Walked};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use wasmscope_sample::{Cut, End, Frame, HostFrames, Visit};

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
    /// Too early: what the engine keeps of older activations was not found.
    Lost,
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

    /// Adds the frames of the next older activation of a store.
    pub(super) fn push_activation(
        &mut self,
        store: StoreId,
        frames: impl Iterator<Item = RawFrame>,
    ) {
        let start = self.frames.len();
        self.frames.extend(frames);
        let end = self.frames.len();
        // A guest that left by a tail call has no frame.
        if start < end {
            self.activations.push(Span {
                start,
                end,
                store: Some(store),
            });
        }
    }

    /// Notes which activations are of a store, of which there is a view of its own, taken on
    /// the same stack.
    pub(super) fn note_store(&mut self, view: &Self) {
        let mut spans = self.activations.iter_mut();
        for activation in view.activations() {
            let newest = activation
                .frames()
                .first()
                .and_then(|raw| raw.frame_pointer());
            // Its newest frame follows the trampoline's, if that is a guest's. Both lists
            // begin with the newest.
            let found = spans.find(|span| {
                let frames = self.frames.get(span.start..span.end).unwrap_or_default();
                let mut first = frames.iter().take(2).map(|raw| raw.frame_pointer());
                newest.is_some() && first.any(|frame| frame == newest)
            });
            match found {
                Some(span) => span.store = activation.store(),
                None => return,
            }
        }
    }

    /// Looks for the stores of activations that are not known yet. The stack is still there.
    pub(super) fn find_stores(&mut self) {
        let mut owners = Owners::default();
        for span in &mut self.activations {
            let frames = self.frames.get(span.start..span.end).unwrap_or_default();
            let end = |raw: Option<&RawFrame>| raw.and_then(|raw| raw.frame_pointer());
            let (Some(newest), Some(oldest)) = (end(frames.first()), end(frames.last())) else {
                continue;
            };
            let found = owners.next(Walked { newest, oldest });
            if span.store.is_none() {
                span.store = found.map(StoreId::at);
            }
        }
    }

    /// Returns what takes frames in, newest first.
    pub(super) fn filling(&mut self, host_frames: HostFrames) -> Filling<'_> {
        self.clear();
        Filling {
            frames: &mut self.frames,
            activations: &mut self.activations,
            keeps_host: host_frames == HostFrames::Keep,
            start: None,
        }
    }

    pub(super) fn set_end(&mut self, end: BacktraceEnd) {
        self.end = end;
    }
}

/// Takes frames in, newest first.
pub(super) struct Filling<'a> {
    frames: &'a mut Vec<RawFrame>,
    activations: &'a mut Vec<Span>,
    keeps_host: bool,
    /// Where the activation began that goes on.
    start: Option<usize>,
}

impl Filling<'_> {
    #[inline(always)]
    pub(super) fn push(&mut self, frame: RawFrame) {
        if frame.kind() == RawFrameKind::Guest {
            if self.start.is_none() {
                self.start = Some(self.frames.len());
            }
            self.frames.push(frame);
        } else {
            self.push_host(frame);
        }
    }

    #[inline(never)]
    fn push_host(&mut self, frame: RawFrame) {
        let goes_on = self.start.is_some();
        self.end_activation();
        if self.keeps_host {
            self.frames.push(frame);
        } else if goes_on || self.frames.is_empty() {
            self.frames.push(RawFrame::HOST_RUN);
        }
    }

    fn end_activation(&mut self) {
        if let Some(start) = self.start.take() {
            self.activations.push(Span {
                start,
                end: self.frames.len(),
                store: None,
            });
        }
    }
}

impl Visit for Filling<'_> {
    #[inline(always)]
    fn frame(&mut self, frame: Frame) -> ControlFlow<()> {
        self.push(frame.into());
        ControlFlow::Continue(())
    }
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        self.end_activation();
        // The host alone is no stack of guests.
        if !self.keeps_host && self.activations.is_empty() {
            self.frames.clear();
        }
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
