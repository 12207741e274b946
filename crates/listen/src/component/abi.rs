//! The options of a `canon lift` or `canon lower` that say how values lie in memory.

/// How a component function's core side passes its values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Abi {
    /// How strings are encoded.
    pub encoding: StringEncoding,
    /// How wide pointers and lengths are.
    pub pointer: Pointer,
    /// Whether the function is lifted or lowered with `async`. Then fewer parameters are
    /// flat, and results come another way than by the core function's own results.
    pub is_async: bool,
}

impl Abi {
    /// The options that a component has when it says nothing else: UTF-8, a 32-bit
    /// memory, no `async`.
    pub const DEFAULT: Self = Self {
        encoding: StringEncoding::Utf8,
        pointer: Pointer::Bits32,
        is_async: false,
    };
}

/// How strings are encoded in a component's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StringEncoding {
    /// UTF-8; the length counts bytes.
    #[default]
    Utf8,
    /// UTF-16, little-endian; the length counts 16-bit units.
    Utf16,
    /// Latin-1, or UTF-16 where the highest bit of the length is set.
    Latin1OrUtf16,
}

/// How wide a memory's addresses are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pointer {
    /// 32 bits.
    #[default]
    Bits32,
    /// 64 bits.
    Bits64,
}

impl Pointer {
    /// Returns how many bytes a pointer takes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Bits32 => 4,
            Self::Bits64 => 8,
        }
    }

    /// Reads a pointer or a length from a flat word.
    pub(super) const fn of_word(self, word: u64) -> u64 {
        match self {
            Self::Bits32 => word & 0xffff_ffff,
            Self::Bits64 => word,
        }
    }

    /// Returns the bit of a string's length that says that it is UTF-16.
    pub(super) const fn utf16_tag(self) -> u64 {
        1 << (self.bytes() * 8 - 1)
    }
}
