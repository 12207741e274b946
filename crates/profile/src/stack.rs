//! Stacks, as nodes of a calling-context trie.
//!
//! ```text
//! stack        parent      location
//! 0  main      -           main+5
//! 1  render    0           render+9
//! 2  blit      1           blit+2      frames of 2, newest first: 2, 1, 0
//! 3  blit      1           blit+7      shares its callers with 2
//! ```
//!
//! A parent is always added before its children, so its index is smaller. A pass
//! over the table from its end therefore sees each child before its parent.

use crate::function::FunctionHandle;
use crate::handle::handle;
use crate::location::LocationHandle;

handle! {
    /// A stack of a profile: a node of its trie, with all its callers.
    pub StackHandle
}

/// A node of the trie: a location and who called it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stack {
    /// The caller's stack; none for the outermost frame.
    pub parent: Option<StackHandle>,
    /// Where this frame is.
    pub location: LocationHandle,
}

/// One frame of a stack, with inlined functions as frames of their own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Frame {
    /// The location that the frame is at. Inlined frames share it with the
    /// function they were inlined into.
    pub location: LocationHandle,
    /// The function.
    pub function: FunctionHandle,
    /// The source line, counted from one.
    pub line: Option<u32>,
    /// The source column, counted from one.
    pub column: Option<u32>,
    /// How many functions this one was inlined through: zero for a physical
    /// function.
    pub inline_depth: u32,
}

impl Frame {
    /// Tells whether the function was inlined here.
    #[must_use]
    pub const fn is_inlined(&self) -> bool {
        self.inline_depth > 0
    }
}
