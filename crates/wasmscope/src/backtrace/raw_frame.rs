//! One frame as it is walked: addresses only.

use std::fmt;
use wasmscope_address::HostPc;

/// Whose code a frame's address is in, as far as an address tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RawFrameKind {
    /// In the code of a registered guest: one of its functions, or a trampoline that the
    /// engine compiled beside them.
    Guest,
    /// Anywhere else.
    Host,
    /// Not one frame but a run of the host's frames that were not kept one by one.
    HostRun,
}

/// One frame of a [`Backtrace`](crate::Backtrace): two words.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawFrame {
    /// The address, with its kind in the bits that no address of a program has.
    word: wasmscope_sample::RawFrame,
    /// The address just above the return address, or 0.
    base: u64,
}

impl RawFrame {
    /// Stands for host frames that are not kept one by one.
    pub(crate) const HOST_RUN: Self = Self {
        word: wasmscope_sample::RawFrame::HOST_RUN,
        base: 0,
    };

    #[inline]
    pub(crate) const fn guest(pc: HostPc, is_return_address: bool, base: u64) -> Self {
        Self {
            word: wasmscope_sample::RawFrame::guest(pc, is_return_address),
            base,
        }
    }

    #[inline]
    pub(crate) const fn host(pc: HostPc, is_return_address: bool) -> Self {
        Self {
            word: wasmscope_sample::RawFrame::host(pc, is_return_address),
            base: 0,
        }
    }

    /// Returns whose code the frame's address is in.
    #[must_use]
    #[inline]
    pub const fn kind(self) -> RawFrameKind {
        if !self.word.is_host() {
            RawFrameKind::Guest
        } else if self.word.pc().0 == 0 {
            RawFrameKind::HostRun
        } else {
            RawFrameKind::Host
        }
    }

    /// Returns the address of the next instruction of this frame; 0 for a run.
    #[must_use]
    #[inline]
    pub const fn pc(self) -> HostPc {
        self.word.pc()
    }

    /// Returns all but what tells frames at one place apart.
    #[inline]
    pub(crate) const fn word(self) -> u64 {
        self.word.to_word()
    }

    /// Tells whether the frame called the one before: its address follows the call. If not,
    /// it was interrupted there.
    #[must_use]
    pub const fn is_return_address(self) -> bool {
        self.word.is_return_address()
    }

    /// Returns an address within the instruction that the frame is at.
    #[must_use]
    pub const fn lookup_pc(self) -> HostPc {
        self.word.lookup_pc()
    }

    /// Returns the frame pointer of a guest's frame: the address of the pair of its caller's
    /// frame pointer and its return address. `None` for a host frame, and for a guest's
    /// frame that could not be read.
    #[must_use]
    pub const fn frame_pointer(self) -> Option<u64> {
        self.base.checked_sub(16)
    }
}

impl fmt::Debug for RawFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawFrame")
            .field("kind", &self.kind())
            .field("pc", &self.pc())
            .field("is_return_address", &self.is_return_address())
            .field("frame_pointer", &self.frame_pointer())
            .finish()
    }
}

impl From<wasmscope_sample::Frame> for RawFrame {
    #[inline(always)]
    fn from(frame: wasmscope_sample::Frame) -> Self {
        match frame.kind {
            wasmscope_sample::FrameKind::Guest => Self::guest(
                frame.pc,
                frame.is_return_address,
                frame.base.unwrap_or_default(),
            ),
            wasmscope_sample::FrameKind::Host => Self::host(frame.pc, frame.is_return_address),
        }
    }
}
