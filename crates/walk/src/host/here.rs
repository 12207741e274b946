//! The registers of whoever asks, from which a walk of the own stack begins.

#![expect(unsafe_code, reason = "reads the stack and frame pointers")]

use crate::x86_64::Registers;
use wasmscope_address::HostPc;

/// Returns the registers at this point of the function that it is called in, into
/// which it is inlined. They are good to walk from until that function returns.
///
/// # Signal safety
///
/// Safe in a signal handler: it copies three registers.
#[inline(always)]
#[must_use]
pub fn here() -> Registers {
    let (pc, sp, fp): (u64, u64, u64);
    // SAFETY: copies three registers; touches neither memory nor flags.
    unsafe {
        core::arch::asm!(
            "lea {pc}, [rip]",
            "mov {sp}, rsp",
            "mov {fp}, rbp",
            pc = out(reg) pc,
            sp = out(reg) sp,
            fp = out(reg) fp,
            options(nomem, nostack, preserves_flags),
        );
    }
    Registers {
        pc: HostPc(pc),
        sp,
        fp,
    }
}
