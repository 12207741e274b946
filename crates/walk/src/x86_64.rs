//! The walk's knowledge of x86-64.
//!
//! A function of Cranelift's or Winch's builds its frame with two instructions and
//! takes it down with one or two:
//!
//! ```text
//!            push rbp      mov rbp,rsp         ...        pop rbp      ret
//!   Entry  |   Pushed    |               body           |       Entry
//!
//!   rsp -> [return]        [return]         [return]        rsp -> [return]
//!                   rsp -> [caller's] rbp -> [caller's]
//!
//!   rbp    caller's        caller's         this frame's    caller's
//! ```
//!
//! A tail call takes the frame down like a return and leaves by `jmp`; if the
//! callee has fewer stack arguments, it copies the return address upward in
//! between, and `[rsp]` holds it before and after. A function that will tail-call
//! one with more stack arguments than its own moves its frame down first; see
//! [`Rule::Moving`].

#[cfg(feature = "classify")]
pub(crate) mod classify;

use crate::architecture::sealed::Sealed;
use crate::{Architecture, Cut, Memory, Unwound};
use wasmscope_address::HostPc;

/// The x86-64 architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum X86_64 {}

/// The registers that a walk starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// `rip`.
    pub pc: HostPc,
    /// `rsp`.
    pub sp: u64,
    /// `rbp`.
    pub fp: u64,
}

/// Where the frame is found in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The return address is at `[rsp]`, the caller's frame pointer in `rbp`.
    Entry,
    /// The return address is at `[rsp+8]`, the caller's frame pointer in `rbp`.
    Pushed,
    /// The frame is being moved down by as many bytes, `rbp` already points to its
    /// new place, and the words there are not all written. It is read where it was:
    ///
    /// ```text
    ///   [return address]    <- rbp + by + 8
    ///   [caller's rbp]      <- rbp + by
    ///   [ ... ]
    ///   [garbage]
    ///   [garbage]           <- rbp
    /// ```
    Moving {
        /// The number of bytes.
        by: u32,
    },
}

impl Sealed for X86_64 {}

impl Architecture for X86_64 {
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
        Registers { pc, sp, fp }
    }

    #[inline]
    fn strip(return_address: u64) -> HostPc {
        HostPc(return_address)
    }

    #[inline]
    fn unwind_window(
        rule: Rule,
        registers: &Registers,
        memory: &impl Memory,
    ) -> Result<Unwound, Cut> {
        let above = |address: u64, by: u64| address.checked_add(by).ok_or(Cut::Memory);
        match rule {
            Rule::Entry | Rule::Pushed => {
                let slot = match rule {
                    Rule::Pushed => above(registers.sp, 8)?,
                    _ => registers.sp,
                };
                Ok(Unwound {
                    return_address: memory.read(slot).ok_or(Cut::Memory)?,
                    fp: registers.fp,
                    base: above(slot, 8)?,
                })
            }
            Rule::Moving { by } => {
                let pair = above(registers.fp, u64::from(by))?;
                let (fp, return_address) = memory.read_pair(pair).ok_or(Cut::Memory)?;
                Ok(Unwound {
                    return_address,
                    fp,
                    base: above(pair, 16)?,
                })
            }
        }
    }
}
