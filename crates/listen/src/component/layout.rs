//! How many bytes and how many flat words a type's values take.
//!
//! ```text
//!   record { a: u8, b: u32, c: string }
//!
//!   in memory   a . . .  b b b b  ptr ....  len ....     size 16, align 4
//!   flat        a   b   ptr   len                        4 words
//! ```
//!
//! Sizes saturate: a type that is larger than any memory stays so.

use super::abi::Pointer;

/// Flat values beyond which parameters go through memory.
pub(super) const MAX_FLAT_PARAMS: u8 = 16;

/// The same for a function lowered with `async`.
pub(super) const MAX_FLAT_ASYNC_PARAMS: u8 = 4;

/// Flat values beyond which a result goes through memory.
pub(super) const MAX_FLAT_RESULTS: u8 = 1;

/// Stands for more flat words than are ever passed.
const UNFLAT: u8 = MAX_FLAT_PARAMS + 1;

/// Size and alignment in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Extent {
    pub(super) size: u64,
    pub(super) align: u32,
}

/// The extents of a type in memories of either kind, and its flat words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Layout {
    bits32: Extent,
    bits64: Extent,
    /// At most [`UNFLAT`], which stands for all that is more.
    pub(super) flat: u8,
}

impl Extent {
    pub(super) const EMPTY: Self = Self { size: 0, align: 1 };

    const fn of_scalar(bytes: u32) -> Self {
        Self {
            size: bytes as u64,
            align: bytes,
        }
    }

    /// Puts another one behind, and returns where it begins.
    pub(super) fn push(&mut self, next: Self) -> u64 {
        let at = align(self.size, next.align);
        self.size = at.saturating_add(next.size);
        self.align = self.align.max(next.align);
        at
    }

    /// Fills up to a multiple of the alignment.
    fn pad(mut self) -> Self {
        self.size = align(self.size, self.align);
        self
    }

    fn join(self, other: Self) -> Self {
        Self {
            size: self.size.max(other.size),
            align: self.align.max(other.align),
        }
    }
}

/// Rounds up to a multiple of a power of two.
fn align(at: u64, align: u32) -> u64 {
    at.checked_next_multiple_of(u64::from(align))
        .unwrap_or(u64::MAX)
}

impl Layout {
    pub(super) const BYTES_1: Self = Self::scalar(1);
    pub(super) const BYTES_2: Self = Self::scalar(2);
    pub(super) const BYTES_4: Self = Self::scalar(4);
    pub(super) const BYTES_8: Self = Self::scalar(8);

    /// Pointer and length.
    pub(super) const POINTER_PAIR: Self = Self {
        bits32: Extent { size: 8, align: 4 },
        bits64: Extent { size: 16, align: 8 },
        flat: 2,
    };

    const fn scalar(bytes: u32) -> Self {
        Self {
            bits32: Extent::of_scalar(bytes),
            bits64: Extent::of_scalar(bytes),
            flat: 1,
        }
    }

    pub(super) fn extent(&self, pointer: Pointer) -> Extent {
        match pointer {
            Pointer::Bits32 => self.bits32,
            Pointer::Bits64 => self.bits64,
        }
    }

    /// Lays out fields one after the other.
    pub(super) fn of_fields<'l>(fields: impl IntoIterator<Item = &'l Self>) -> Self {
        let (mut bits32, mut bits64, mut flat) = (Extent::EMPTY, Extent::EMPTY, 0);
        for field in fields {
            bits32.push(field.bits32);
            bits64.push(field.bits64);
            flat = add_flat(flat, field.flat);
        }
        Self {
            bits32: bits32.pad(),
            bits64: bits64.pad(),
            flat,
        }
    }

    /// Lays out a list of fixed length.
    pub(super) fn of_repeated(element: &Self, length: u32) -> Self {
        let repeat = |extent: Extent| Extent {
            size: extent.size.saturating_mul(u64::from(length)),
            align: extent.align,
        };
        let flat = u64::from(element.flat) * u64::from(length);
        Self {
            bits32: repeat(element.bits32),
            bits64: repeat(element.bits64),
            flat: u8::try_from(flat).unwrap_or(UNFLAT).min(UNFLAT),
        }
    }

    /// Lays out a discriminant and the largest of some payloads.
    pub(super) fn of_cases<'l>(cases: usize, payloads: impl Iterator<Item = &'l Self>) -> Self {
        let (mut bits32, mut bits64, mut flat) = (Extent::EMPTY, Extent::EMPTY, 0);
        for payload in payloads {
            bits32 = bits32.join(payload.bits32);
            bits64 = bits64.join(payload.bits64);
            flat = flat.max(payload.flat);
        }
        let behind_discriminant = |payload: Extent| {
            let mut whole = Extent::of_scalar(discriminant_bytes(cases));
            whole.push(payload);
            whole.pad()
        };
        Self {
            bits32: behind_discriminant(bits32),
            bits64: behind_discriminant(bits64),
            flat: add_flat(flat, 1),
        }
    }

    /// Lays out flags: one byte, two, or as many 32-bit words as they need.
    pub(super) fn of_flags(flags: usize) -> Self {
        match flags {
            0 => Self::of_fields([]),
            1..=8 => Self::BYTES_1,
            9..=16 => Self::BYTES_2,
            _ => {
                let words = u32::try_from(flags.div_ceil(32)).unwrap_or(u32::MAX);
                Self::of_repeated(&Self::BYTES_4, words)
            }
        }
    }
}

fn add_flat(a: u8, b: u8) -> u8 {
    a.saturating_add(b).min(UNFLAT)
}

/// Returns how many bytes tell so many cases apart.
pub(super) fn discriminant_bytes(cases: usize) -> u32 {
    match cases {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}
