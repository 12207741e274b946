//! The guest's memory, as far as a trace reads it.
//!
//! Memory is handed in, so that what reads it needs no engine and is tested with
//! arrays.

use std::borrow::Cow;

/// A memory of a guest.
///
/// Whatever address a guest gave away as a pointer may be asked for; an
/// implementation answers `None` where the memory ends and never panics.
pub trait Memory {
    /// Returns `length` bytes from `address` on; none unless all of them are there.
    fn read(&self, address: u64, length: usize) -> Option<Cow<'_, [u8]>>;
}

impl Memory for [u8] {
    fn read(&self, address: u64, length: usize) -> Option<Cow<'_, [u8]>> {
        let begin = usize::try_from(address).ok()?;
        let end = begin.checked_add(length)?;
        self.get(begin..end).map(Cow::Borrowed)
    }
}

impl<M: Memory + ?Sized> Memory for &M {
    fn read(&self, address: u64, length: usize) -> Option<Cow<'_, [u8]>> {
        (**self).read(address, length)
    }
}

/// The memory of a guest that has none.
#[derive(Clone, Copy, Debug)]
pub struct NoMemory;

impl Memory for NoMemory {
    fn read(&self, _address: u64, _length: usize) -> Option<Cow<'_, [u8]>> {
        None
    }
}
