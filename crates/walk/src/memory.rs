//! The stack's memory, as the caller of the walk hands it in.
//!
//! The walk decides which words it wants; whether they may be read is the
//! caller's to know. So the walk has no `unsafe` and can be tested with arrays.

/// Words of memory that may or may not be readable.
///
/// Reading never faults and never changes anything. An implementation answers
/// `None` for whatever it does not know to be readable; the walk then ends with
/// [`Cut::Memory`](crate::Cut::Memory).
///
/// # Signal safety
///
/// A walk in a signal handler is as safe there as the memory that it is given.
pub trait Memory {
    /// Returns the eight bytes at `address` in the machine's byte order.
    fn read(&self, address: u64) -> Option<u64>;

    /// Returns the words at `address` and `address + 8`.
    ///
    /// A frame is such a pair, so an implementation that checks bounds can check
    /// once instead of twice.
    #[inline]
    fn read_pair(&self, address: u64) -> Option<(u64, u64)> {
        Some((self.read(address)?, self.read(address.checked_add(8)?)?))
    }
}

impl<M: Memory + ?Sized> Memory for &M {
    #[inline]
    fn read(&self, address: u64) -> Option<u64> {
        (**self).read(address)
    }

    #[inline]
    fn read_pair(&self, address: u64) -> Option<(u64, u64)> {
        (**self).read_pair(address)
    }
}

/// A function as memory.
#[derive(Clone, Copy, Debug)]
pub struct MemoryFn<F>(
    /// Returns the word at an address, or `None`.
    pub F,
);

impl<F: Fn(u64) -> Option<u64>> Memory for MemoryFn<F> {
    #[inline]
    fn read(&self, address: u64) -> Option<u64> {
        (self.0)(address)
    }
}

/// A copy of a stack: words that stood one after another from an address on.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// The address of the first word, a multiple of eight.
    pub start: u64,
    /// The words, lowest address first.
    pub words: &'a [u64],
}

impl Memory for Words<'_> {
    #[inline]
    fn read(&self, address: u64) -> Option<u64> {
        let offset = address.checked_sub(self.start)?;
        if !offset.is_multiple_of(8) {
            return None;
        }
        self.words.get(usize::try_from(offset >> 3).ok()?).copied()
    }
}
