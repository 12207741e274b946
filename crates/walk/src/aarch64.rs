//! The walk's knowledge of aarch64.
//!
//! A call leaves the return address in the link register. It stays there until the
//! function has built its frame, and is back before the frame pointer is the
//! caller's again:
//!
//! ```text
//!   [paciasp]  stp fp,lr,[sp,-16]!   mov fp,sp       ...     ldp fp,lr,[sp],16    ret
//!       Link          |     Link         |          body           |      Link
//!
//!                             [return]         [return]
//!                       sp -> [caller's] fp -> [caller's]
//! ```
//!
//! A function that will tail-call one with more stack arguments than its own
//! moves its frame down first, and loads the caller's frame pointer into `fp`
//! for the while: there too the return address is in the link register.
//!
//! Return addresses may be signed; the walk strips the signature.

#[cfg(feature = "classify")]
pub(crate) mod classify;

use crate::architecture::sealed::Sealed;
use crate::{Architecture, Cut, Memory, Unwound};
use wasmscope_address::HostPc;

/// The aarch64 architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aarch64 {}

/// The registers that a walk starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// `pc`.
    pub pc: HostPc,
    /// `sp`.
    pub sp: u64,
    /// `x29`.
    pub fp: u64,
    /// `x30`, the link register. Unused but in the newest frame.
    pub lr: u64,
}

/// Where the frame is found in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The return address is in the link register, the caller's frame pointer in
    /// `fp`, and the frame ends as many bytes above `sp`.
    Link {
        /// The number of bytes; negative when its arguments are already gone.
        above: i32,
    },
}

/// The bits that hold an address in user space; the rest may hold a signature.
const ADDRESS: u64 = (1 << 48) - 1;

impl Sealed for Aarch64 {}

impl Architecture for Aarch64 {
    type Registers = Registers;
    type Rule = Rule;

    #[inline]
    fn pc(registers: &Registers) -> HostPc {
        registers.pc
    }

    #[inline]
    fn fp(registers: &Registers) -> u64 {
        registers.fp
    }

    #[inline]
    fn sp(registers: &Registers) -> u64 {
        registers.sp
    }

    #[inline]
    fn caller(pc: HostPc, sp: u64, fp: u64) -> Registers {
        Registers { pc, sp, fp, lr: 0 }
    }

    #[inline]
    fn strip(return_address: u64) -> HostPc {
        HostPc(return_address & ADDRESS)
    }

    #[inline]
    fn unwind_window(
        rule: Rule,
        registers: &Registers,
        _memory: &impl Memory,
    ) -> Result<Unwound, Cut> {
        let Rule::Link { above } = rule;
        Ok(Unwound {
            return_address: registers.lr,
            fp: registers.fp,
            base: registers
                .sp
                .checked_add_signed(i64::from(above))
                .ok_or(Cut::Memory)?,
        })
    }
}
