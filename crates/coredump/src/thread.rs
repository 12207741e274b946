//! One thread's stack.

use std::borrow::Cow;

use wasmscope_address::FuncIndex;

use crate::Value;

/// A thread and where it was.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Thread<'a> {
    /// The thread's name.
    pub name: Cow<'a, str>,
    /// Its frames, newest first.
    pub frames: Vec<Frame>,
    /// Whether older frames are missing. False in files of other tools, which do not say.
    pub cut: bool,
}

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The index of its instance in [`CoreDump::instances`](crate::CoreDump::instances);
    /// `None` where the writer did not know it.
    pub instance: Option<u32>,
    /// The function, in its module's index space.
    pub function: FuncIndex,
    /// Where in the function it was.
    pub code_offset: CodeOffset,
    /// The locals, parameters first. Empty where the writer knew nothing of them.
    pub locals: Vec<Value>,
    /// The operand stack, oldest first. Empty where the writer knew nothing of it.
    pub stack: Vec<Value>,
}

/// A byte offset of an instruction in its function.
///
/// It counts from the function's body: the first byte after the body's size, where the
/// groups of locals begin, in the module's code section. The convention says "relative to
/// the function's start"; this is what wasmtime writes and what its `FrameInfo::func_offset`
/// means. For a frame that is in a call it is the call instruction's.
///
/// No instruction is at 0, which stands for an offset that is not known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct CodeOffset(pub u32);

impl CodeOffset {
    /// An offset that is not known.
    pub const UNKNOWN: Self = Self(0);

    /// Returns the offset, or `None` when it is not known.
    #[must_use]
    pub fn known(self) -> Option<u32> {
        (self != Self::UNKNOWN).then_some(self.0)
    }
}
