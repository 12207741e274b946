//! What the walk visits, and how it ends.

use wasmscope_address::HostPc;

/// One frame of a stack, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The address of the next instruction of this frame. See
    /// [`lookup_pc`](Self::lookup_pc) for asking which function it is in.
    pub pc: HostPc,
    /// Whether the frame is guest or host code.
    pub kind: FrameKind,
    /// True for a frame that called another: `pc` follows its call.
    pub is_return_address: bool,
    /// For a guest frame the address just above the slot of its return address. It
    /// tells two frames of one stack apart. It stays the same while a function runs,
    /// unless the function moves its frame to make room for the arguments of a tail
    /// call. `None` for a host frame, and for a frame that could not be read.
    pub base: Option<u64>,
}

impl Frame {
    /// Returns an address inside the instruction that this frame is executing.
    ///
    /// A return address may belong to the next function, or to no function at
    /// all, when the call is the last instruction of its own.
    #[inline]
    #[must_use]
    pub const fn lookup_pc(&self) -> HostPc {
        if self.is_return_address {
            HostPc(self.pc.0.wrapping_sub(1))
        } else {
            self.pc
        }
    }
}

/// Whose code a frame runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// Compiled WebAssembly, or a trampoline in a compiled text.
    Guest,
    /// Anything else.
    Host,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum End {
    /// At the thread's first frame.
    Root,
    /// At the first frame of a fiber: the stack ends here, the code that resumed
    /// the fiber is on another.
    Fiber,
    /// At host code, which [`NoHost`](crate::NoHost) does not enter. Nothing is
    /// known to be missing before it.
    LeftGuest,
    /// Where the visitor said to stop.
    Stopped,
    /// Too early: what follows is not known. All frames visited before are right.
    Cut(Cut),
}

/// Why a walk could not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cut {
    /// A word of the stack could not be read.
    Memory,
    /// A frame pointer was not a multiple of the machine's alignment.
    Alignment,
    /// A frame was not above the one before, as frames of one stack are.
    Order,
    /// Host code in an object without unwind tables, or in no known object.
    UnknownCode,
    /// Unwind tables that the host unwinder could not evaluate.
    UnwindTables,
}
