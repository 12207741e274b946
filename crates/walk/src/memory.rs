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

    /// Tells whether each of some words from `start` on is what is expected of it. They are
    /// read in order, and none after one that is not.
    #[inline]
    fn holds(&self, start: u64, expected: &[Expected]) -> bool {
        expected.iter().all(|word| {
            let address = start.checked_add(word.distance());
            let value = address.and_then(|address| self.read(address));
            value.is_some_and(|value| word.is(start, value))
        })
    }
}

/// What is expected of one word of a stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// How far it is from the start; the lowest bit says whether `value` is.
    place: u32,
    value: u64,
}

impl Expected {
    /// Expects a value so far from the start, which must be a multiple of eight; `None` if it
    /// is not.
    #[must_use]
    pub fn value(distance: u32, value: u64) -> Option<Self> {
        distance.is_multiple_of(8).then_some(Self {
            place: distance,
            value,
        })
    }

    /// Expects the address that is `value` from the start so far from the start.
    #[must_use]
    pub fn address(distance: u32, value: u64) -> Option<Self> {
        let expected = Self::value(distance, value)?;
        Some(Self {
            place: expected.place | 1,
            ..expected
        })
    }

    /// Returns how far from the start the word is, a multiple of eight.
    #[inline(always)]
    #[must_use]
    pub fn distance(self) -> u64 {
        u64::from(self.place & !7)
    }

    /// Tells whether a value is the one that is expected.
    #[inline(always)]
    #[must_use]
    pub fn is(self, start: u64, value: u64) -> bool {
        let origin = if self.place & 1 == 1 { start } else { 0 };
        value.wrapping_sub(origin) == self.value
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

    #[inline]
    fn holds(&self, start: u64, expected: &[Expected]) -> bool {
        (**self).holds(start, expected)
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
