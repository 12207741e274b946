//! Finding the windows of a text in its bytes.
//!
//! Done once, when a module is registered. Neither the engine's public interface
//! nor its unwind tables say where epilogues are, so the code itself is read.

use crate::{Architecture, Window};
use alloc::vec::Vec;
use core::ops::{Deref, Range};

/// The windows of one text, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows<A: Architecture>(Vec<Window<A>>);

impl<A: crate::architecture::Classify> Windows<A> {
    /// Finds the windows of `text`.
    ///
    /// `functions` are the ranges of its functions, in any order, as the engine
    /// lists them. What lies between them is taken for trampolines, each starting
    /// where the bytes of a prologue stand.
    ///
    /// Bytes that are not code of the known compilers give useless windows, never
    /// a panic.
    #[must_use]
    pub fn classify(text: &[u8], functions: impl IntoIterator<Item = Range<u32>>) -> Self {
        let mut functions: Vec<Range<u32>> = functions.into_iter().collect();
        functions.sort_unstable_by_key(|function| (function.start, function.end));
        let mut windows = Vec::new();
        let mut done = 0;
        for function in functions {
            if function.start > done {
                A::classify_gap(text, done..function.start, &mut windows);
            }
            let start = function.start.max(done);
            if start < function.end {
                A::classify_function(text, start..function.end, &mut windows);
                done = function.end;
            }
        }
        let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
        if done < len {
            A::classify_gap(text, done..len, &mut windows);
        }
        Self(windows)
    }

    /// Returns the windows.
    #[must_use]
    pub fn into_vec(self) -> Vec<Window<A>> {
        self.0
    }
}

impl<A: Architecture> Deref for Windows<A> {
    type Target = [Window<A>];

    fn deref(&self) -> &[Window<A>] {
        &self.0
    }
}
