//! What the walk needs to know about a machine, as a trait.
//!
//! The walk itself is the same everywhere: a chain of pairs. Where the newest
//! frame is found while its function starts or ends is each machine's own.

use crate::{Cut, Memory};
use core::fmt::Debug;
use wasmscope_address::HostPc;

/// A machine whose stacks can be walked: [`X86_64`](crate::X86_64) or
/// [`Aarch64`](crate::Aarch64).
///
/// On each the body of a compiled function holds the frame pointer to a pair: the
/// caller's frame pointer, and the return address eight bytes above.
pub trait Architecture: Copy + Debug + PartialEq + Eq + 'static + sealed::Sealed {
    /// The registers that a walk starts from.
    type Registers: Copy + Debug + PartialEq + Eq;

    /// Where the frame is found in a window.
    type Rule: Copy + Debug + PartialEq + Eq;

    /// Returns the program counter.
    fn pc(registers: &Self::Registers) -> HostPc;

    /// Returns the frame pointer.
    fn fp(registers: &Self::Registers) -> u64;

    /// Returns the stack pointer.
    fn sp(registers: &Self::Registers) -> u64;

    /// Returns the registers of a caller after its callee has returned.
    fn caller(pc: HostPc, sp: u64, fp: u64) -> Self::Registers;

    /// Returns the address in a return address, without what else the machine
    /// keeps in its bits.
    fn strip(return_address: u64) -> HostPc;

    /// Finds the caller by the rule of the window that the frame is in.
    ///
    /// # Errors
    ///
    /// [`Cut::Memory`] when the frame cannot be read.
    ///
    /// # Signal safety
    ///
    /// Safe in a signal handler if `memory` is.
    fn unwind_window(
        rule: Self::Rule,
        registers: &Self::Registers,
        memory: &impl Memory,
    ) -> Result<Unwound, Cut>;
}

/// What a frame says about its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwound {
    /// The return address, as it was stored.
    pub return_address: u64,
    /// The caller's frame pointer.
    pub fp: u64,
    /// The stack pointer that the frame leaves behind: just above the slot of the
    /// return address, or where the slot would be on a machine with a link register.
    pub base: u64,
}

/// A machine whose code can be read for windows.
#[cfg(feature = "classify")]
pub trait Classify: Architecture {
    /// Appends the windows of one function.
    fn classify_function(
        text: &[u8],
        function: core::ops::Range<u32>,
        windows: &mut alloc::vec::Vec<crate::Window<Self>>,
    );

    /// Appends the windows of whatever lies between two functions.
    fn classify_gap(
        text: &[u8],
        gap: core::ops::Range<u32>,
        windows: &mut alloc::vec::Vec<crate::Window<Self>>,
    );
}

pub(crate) mod sealed {
    /// Keeps other crates from adding machines.
    pub trait Sealed {}
}
