//! Locations: one place in the code, with the functions inlined there.

use crate::function::FunctionHandle;
use crate::handle::handle;
use crate::mapping::MappingHandle;

handle! {
    /// A [`Location`] of a profile.
    pub LocationHandle
}

/// A place in the code. Two with the same fields are one entry.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Location {
    /// The binary that it is in.
    pub mapping: Option<MappingHandle>,
    /// The address in that binary: for a guest the byte offset in the original
    /// Wasm file.
    pub address: Option<u64>,
    /// The source lines, innermost inlined function first. The last one is the
    /// physical function that the others were inlined into.
    pub lines: Vec<Line>,
}

/// One source line of a [`Location`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Line {
    /// The function that the line is in.
    pub function: FunctionHandle,
    /// The line, counted from one.
    pub line: Option<u32>,
    /// The column, counted from one.
    pub column: Option<u32>,
}
