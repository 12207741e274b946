//! Address spaces and indices as types.
//!
//! A profiler handles several kinds of number that all look like `usize`: an
//! address in the host's memory, an offset into a module's compiled text, an
//! offset into the bytes of the original `.wasm` file, the index of a function.
//! Mixing two of them yields a plausible and wrong profile. Here each is a type
//! of its own, and the only conversions are the ones that mean something.
//!
//! ```
//! use wasmscope_address::{HostPc, TextOffset, TextRange};
//!
//! let text = TextRange::new(HostPc(0x7000), 0x100).expect("does not wrap");
//! assert_eq!(text.offset_of(HostPc(0x7010)), Some(TextOffset(0x10)));
//! assert_eq!(text.offset_of(HostPc(0x7100)), None);
//! assert_eq!(text.pc_of(TextOffset(0x10)), HostPc(0x7010));
//! ```
#![no_std]

use core::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $format:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "(", $format, ")"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }
    };
}

number! {
    /// An address of machine code in this process.
    HostPc(u64), "{:#x}"
}

number! {
    /// A byte offset into one module's (or component's) compiled text.
    TextOffset(u32), "{:#x}"
}

number! {
    /// A byte offset into an original Wasm binary: the module's file, or for a
    /// component the component's file.
    WasmOffset(u32), "{:#x}"
}

number! {
    /// A function's index in its module's function index space: imports first,
    /// as the Wasm specification numbers them.
    FuncIndex(u32), "{}"
}

number! {
    /// The index of a core module: 0 for a plain module; within a component, the
    /// order in which the engine lists its core modules.
    ModuleIndex(u32), "{}"
}

/// A half-open range of machine code in this process: one compiled text.
///
/// Never wraps around the end of the address space, and is at most 4 GiB long, so
/// that every address in it has a [`TextOffset`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TextRange {
    start: u64,
    len: u32,
}

impl TextRange {
    /// Makes the range of `len` bytes from `start`, or `None` when it would wrap
    /// around the end of the address space.
    #[must_use]
    pub const fn new(start: HostPc, len: u32) -> Option<Self> {
        if start.0.checked_add(len as u64).is_none() {
            return None;
        }
        Some(Self {
            start: start.0,
            len,
        })
    }

    /// Returns the first address of the range.
    #[must_use]
    pub const fn start(self) -> HostPc {
        HostPc(self.start)
    }

    /// Returns the first address past the range.
    #[must_use]
    pub const fn end(self) -> HostPc {
        // Cannot wrap: `new` checked it.
        HostPc(self.start.wrapping_add(self.len as u64))
    }

    /// Returns the length in bytes.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.len
    }

    /// Tells whether the range holds no address at all.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Tells whether `pc` lies in the range.
    #[must_use]
    #[inline]
    pub const fn contains(self, pc: HostPc) -> bool {
        pc.0.wrapping_sub(self.start) < self.len as u64
    }

    /// Returns the offset of `pc` in this text, or `None` when it lies outside.
    #[must_use]
    #[inline]
    pub const fn offset_of(self, pc: HostPc) -> Option<TextOffset> {
        let offset = pc.0.wrapping_sub(self.start);
        if offset < self.len as u64 {
            Some(TextOffset(offset as u32))
        } else {
            None
        }
    }

    /// Returns the address of an offset in this text. The offset need not lie
    /// within the range; one that does not gives an address that does not either.
    #[must_use]
    #[inline]
    pub const fn pc_of(self, offset: TextOffset) -> HostPc {
        HostPc(self.start.wrapping_add(offset.0 as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_may_end_at_the_last_address_but_not_wrap() {
        assert!(TextRange::new(HostPc(u64::MAX - 8), 8).is_some());
        assert!(TextRange::new(HostPc(u64::MAX - 8), 9).is_none());
    }

    #[test]
    fn both_ends_of_a_range() {
        let text = TextRange::new(HostPc(100), 10).expect("does not wrap");
        assert_eq!(text.offset_of(HostPc(99)), None);
        assert_eq!(text.offset_of(HostPc(100)), Some(TextOffset(0)));
        assert_eq!(text.offset_of(HostPc(109)), Some(TextOffset(9)));
        assert_eq!(text.offset_of(HostPc(110)), None);
        assert!(TextRange::new(HostPc(1), 0).is_some_and(TextRange::is_empty));
    }
}
