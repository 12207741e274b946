//! How much work and memory a file's debug information may cost.
//!
//! DWARF is a graph: a few bytes can refer to the same abbreviations, range list
//! or line program a million times. Work in proportion to the bytes is what an
//! honest file needs, and all that any file gets.

use crate::Error;

/// What is left to spend, for one module's debug information.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Entries, attributes, rows and ranges that may still be read.
    steps: usize,
    /// Bytes of tables that may still be kept.
    bytes: usize,
}

impl Budget {
    /// Makes the budget of `size` bytes of debug information. What compilers
    /// write takes one to three steps a byte, and fewer bytes than it has.
    pub(crate) fn new(size: usize) -> Self {
        let some = size.saturating_mul(16);
        Self {
            steps: some.saturating_add(1 << 20),
            bytes: some.saturating_add(16 << 20),
        }
    }

    /// Spends `count` steps.
    pub(crate) fn step(&mut self, count: usize) -> Result<(), Error> {
        self.steps = self.steps.checked_sub(count).ok_or(Error::TooMuchWork)?;
        Ok(())
    }

    /// Spends the memory of `count` more `T`.
    pub(crate) fn keep<T>(&mut self, count: usize) -> Result<(), Error> {
        let bytes = count.saturating_mul(size_of::<T>());
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Error::TooMuchWork)?;
        Ok(())
    }
}
