//! The frames below a call, guest and host, listened to or not.
//!
//! ```text
//!   call.stack()  -->  frame 0: the called function, with the parameters before() has
//!                      frame 1: its caller
//!                      ...
//! ```
//!
//! Walking is cheap and naming is not. So a [`StackSource`] hands over raw frames in one
//! piece, and a [`StackFrame`] asks it for names, offsets and values one by one. Every
//! [`Stack`] begins at the newest frame, whoever has walked before. How frames are found
//! is the source's business; those given by hand are in [`crate::frames`].

use std::fmt;

use wasmscope_address::{HostPc, WasmOffset};

use crate::definition::Definition;
use crate::frames::Frames;
use crate::instance::InstanceId;
use crate::values::Values;

/// A frame as it is found: where it is, and what its source needs to know it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// The program counter: an address of compiled code.
    pub pc: HostPc,
    /// The source's own number for the frame; means nothing to others.
    pub key: u64,
}

/// Finds the frames of one stack, and answers questions about each.
///
/// Frames stay the same as long as the source is borrowed.
pub trait StackSource {
    /// Returns all frames, newest first. The first is the called function.
    fn frames(&self) -> &[RawFrame];

    /// Returns what function a frame runs, or `None` for code whose module is not known.
    fn definition(&self, frame: RawFrame) -> Option<&Definition>;

    /// Returns where in the original module a frame is.
    fn source_offset(&self, frame: RawFrame) -> Option<SourceOffset>;

    /// Returns the line of source text a frame is at.
    fn line(&self, frame: RawFrame) -> Option<Line>;

    /// Returns the instance a frame runs in, or `None` rather than a guess.
    fn instance(&self, frame: RawFrame) -> Option<InstanceId>;

    /// Returns a frame's parameters as they were at the call, or `None` rather than a guess.
    fn params(&self, frame: RawFrame) -> Option<Values<'_>>;
}

/// A place in the original module, counted from two starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceOffset {
    /// Bytes from the start of the module.
    pub module: WasmOffset,
    /// Bytes from the start of the code section's contents, as DWARF counts.
    pub code_section: u32,
}

/// A place in source text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// The file, as the compiler wrote it down.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, where it is known.
    pub column: Option<u32>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        match self.column {
            Some(column) => write!(f, ":{column}"),
            None => Ok(()),
        }
    }
}

/// Visits the frames of a stack, newest first.
#[derive(Clone)]
pub struct Stack<'a> {
    source: &'a dyn StackSource,
    frames: std::slice::Iter<'a, RawFrame>,
}

impl<'a> Stack<'a> {
    /// Starts at the newest frame of a source.
    #[must_use]
    #[inline]
    pub fn new(source: &'a dyn StackSource) -> Self {
        Self {
            source,
            frames: source.frames().iter(),
        }
    }

    /// Starts at the newest of frames given by hand.
    #[must_use]
    pub fn from_frames(frames: &'a Frames) -> Self {
        Self::new(frames)
    }
}

impl<'a> Iterator for Stack<'a> {
    type Item = StackFrame<'a>;

    #[inline]
    fn next(&mut self) -> Option<StackFrame<'a>> {
        Some(StackFrame {
            source: self.source,
            raw: *self.frames.next()?,
        })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.frames.size_hint()
    }
}

impl ExactSizeIterator for Stack<'_> {}

impl DoubleEndedIterator for Stack<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        Some(StackFrame {
            source: self.source,
            raw: *self.frames.next_back()?,
        })
    }
}

impl fmt::Debug for Stack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// One frame of a stack.
#[derive(Clone, Copy)]
pub struct StackFrame<'a> {
    source: &'a dyn StackSource,
    raw: RawFrame,
}

impl<'a> StackFrame<'a> {
    /// Returns the program counter.
    #[must_use]
    #[inline]
    pub fn pc(self) -> HostPc {
        self.raw.pc
    }

    /// Returns the function, or `None` when the frame's module is not known.
    #[must_use]
    pub fn definition(self) -> Option<&'a Definition> {
        self.source.definition(self.raw)
    }

    /// Returns the offset in the original module, or `None` when it is not known.
    #[must_use]
    pub fn source_offset(self) -> Option<SourceOffset> {
        self.source.source_offset(self.raw)
    }

    /// Returns the line of source text, or `None` when it is not known.
    #[must_use]
    pub fn line(self) -> Option<Line> {
        self.source.line(self.raw)
    }

    /// Returns the instance, or `None` when it is not known.
    #[must_use]
    pub fn instance(self) -> Option<InstanceId> {
        self.source.instance(self.raw)
    }

    /// Returns the parameters as they were at the call, or `None` when they are not known.
    #[must_use]
    pub fn params(self) -> Option<Values<'a>> {
        self.source.params(self.raw)
    }
}

impl fmt::Debug for StackFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.definition() {
            Some(definition) => write!(f, "{definition} at {}", self.raw.pc),
            None => write!(f, "unknown at {}", self.raw.pc),
        }
    }
}
