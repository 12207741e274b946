//! A frame as it is sampled: an address, and whose it is.
//!
//! One word, so that handlers can write it and rings hold it. What the address
//! means is the sink's business.

use wasmscope_address::HostPc;

/// One frame of a sample: an address, and whether it is the guest's or the host's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct RawFrame(u64);

impl RawFrame {
    // User addresses on x86-64 and aarch64 leave the top bits free.
    const HOST: u64 = 1 << 63;
    const RETURN: u64 = 1 << 62;

    /// Stands for one or more host frames that were not kept one by one.
    pub const HOST_RUN: RawFrame = RawFrame(Self::HOST);

    /// Returns the frame as one word, as rings hold it.
    #[inline]
    #[must_use]
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// Returns the frame that [`to_word`](Self::to_word) made this word of.
    #[inline]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// Makes a frame in guest code (or one of the engine's trampolines beside it).
    /// `is_return_address` is false where `pc` is the instruction that was about to
    /// run, and true where it is the one after a call.
    #[must_use]
    pub const fn guest(pc: HostPc, is_return_address: bool) -> Self {
        Self(
            (pc.0 & !(Self::HOST | Self::RETURN))
                | if is_return_address { Self::RETURN } else { 0 },
        )
    }

    /// Makes a frame in host code.
    #[must_use]
    pub const fn host(pc: HostPc, is_return_address: bool) -> Self {
        Self(Self::guest(pc, is_return_address).0 | Self::HOST)
    }

    /// Returns the program counter: the instruction that was about to run, or a
    /// return address. Zero for [`RawFrame::HOST_RUN`].
    #[must_use]
    pub const fn pc(self) -> HostPc {
        HostPc(self.0 & !(Self::HOST | Self::RETURN))
    }

    /// Returns an address within the instruction that the frame is at: the program
    /// counter, or one byte before a return address, which lies within the call.
    #[must_use]
    pub const fn lookup_pc(self) -> HostPc {
        let pc = self.pc();
        HostPc(if self.is_return_address() {
            pc.0.wrapping_sub(1)
        } else {
            pc.0
        })
    }

    /// Tells whether the frame is the host's.
    #[must_use]
    pub const fn is_host(self) -> bool {
        self.0 & Self::HOST != 0
    }

    /// Tells whether the program counter is a return address.
    #[must_use]
    pub const fn is_return_address(self) -> bool {
        self.0 & Self::RETURN != 0
    }
}

/// A copy of a stack that somebody left by a call, to go on with another.
#[derive(Clone, Copy, Debug)]
pub struct LeftStack<'a> {
    /// The return address of that call.
    pub pc: HostPc,
    /// The stack pointer after the return.
    pub sp: u64,
    /// The frame pointer after the return.
    pub fp: u64,
    /// The words from the stack pointer upward, to the stack's end.
    pub words: &'a [u64],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_their_address_and_kind() {
        let frame = RawFrame::guest(HostPc(0x7f00_0000_1000), true);
        assert!(!frame.is_host() && frame.is_return_address());
        assert_eq!(frame.lookup_pc(), HostPc(0x7f00_0000_0fff));
        assert!(RawFrame::HOST_RUN.is_host());
        assert_eq!(RawFrame::HOST_RUN.pc(), HostPc(0));
    }
}
