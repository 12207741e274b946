//! Stepping through host frames.

use super::coverage::Kind;
use super::objects::HostObjects;
use crate::x86_64::Registers;
use crate::{Cut, HostStep, HostUnwind, Memory, X86_64};
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64};
use framehop::{FrameAddress, MustNotAllocateDuringUnwind, Unwinder as _};
use wasmscope_address::HostPc;

/// What one thread needs to step through host frames without allocating.
///
/// About 60 KB; made outside handlers, used by one walk at a time.
pub struct HostCache(CacheX86_64<MustNotAllocateDuringUnwind>);

impl HostCache {
    /// Makes an empty cache.
    ///
    /// # Signal safety
    ///
    /// Not for handlers: allocates.
    #[must_use]
    pub fn new() -> Self {
        Self(CacheX86_64::new_in())
    }
}

impl Default for HostCache {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for HostCache {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HostCache").finish_non_exhaustive()
    }
}

/// Steps through host frames by the unwind tables of [`HostObjects`].
///
/// # Signal safety
///
/// Making one and stepping is safe in a signal handler: neither allocates, locks
/// nor panics.
#[derive(Debug)]
pub struct HostUnwinder<'a> {
    objects: &'a HostObjects,
    cache: &'a mut HostCache,
}

impl<'a> HostUnwinder<'a> {
    /// Makes an unwinder of both halves.
    #[must_use]
    pub fn new(objects: &'a HostObjects, cache: &'a mut HostCache) -> Self {
        Self { objects, cache }
    }
}

/// Where the stack that resumed this one goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// By the registers that a fiber's switch pushed on that stack, from `sp` on. The fiber's
    /// `first` frame is at the top of its stack, below two words of the engine's.
    Saved {
        /// Where the registers were pushed.
        sp: u64,
        /// The stack pointer of the fiber's first frame.
        first: u64,
    },
    /// By these registers, which a continuation's switch left on its own stack.
    Registers(Registers),
}

impl Switch {
    /// Returns the stack pointer of the other stack, from which on it can be read.
    #[must_use]
    pub fn sp(&self) -> u64 {
        match self {
            Switch::Saved { sp, .. } => *sp,
            Switch::Registers(registers) => registers.sp,
        }
    }

    /// Returns the stack pointer of the first frame of a fiber; `None` of a continuation.
    #[must_use]
    pub fn fiber(&self) -> Option<u64> {
        match self {
            Switch::Saved { first, .. } => Some(*first),
            Switch::Registers(_) => None,
        }
    }

    /// Returns the registers with which the other stack goes on. `memory` is of that stack.
    #[must_use]
    pub fn registers(&self, memory: &impl Memory) -> Option<Registers> {
        match *self {
            // Six registers, the frame pointer topmost, and the return address.
            Switch::Saved { sp, .. } => Some(Registers {
                pc: HostPc(memory.read(sp.checked_add(0x30)?)?),
                sp: sp.checked_add(0x38)?,
                fp: memory.read(sp.checked_add(0x28)?)?,
            }),
            Switch::Registers(registers) => Some(registers),
        }
    }
}

/// How a stack was exchanged for the one that it resumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exchange {
    Fiber,
    Continuation,
}

impl Exchange {
    /// Returns where the stack that resumed this one goes on, of its first frame.
    #[inline]
    pub(super) fn switch(self, registers: &Registers, memory: &impl Memory) -> Option<Switch> {
        match self {
            // What `wasmtime_fiber_start` says in its table: the other stack's pointer is on
            // top of this stack.
            Exchange::Fiber => Some(Switch::Saved {
                sp: memory.read(registers.sp)?,
                first: registers.sp,
            }),
            // What `wasmtime_continuation_start` does to return.
            Exchange::Continuation => {
                let (fp, pc) = memory.read_pair(registers.fp)?;
                let sp = memory.read(registers.fp.checked_sub(8)?)?;
                Some(Switch::Registers(Registers {
                    pc: HostPc(pc),
                    sp,
                    fp,
                }))
            }
        }
    }
}

impl HostUnwinder<'_> {
    /// Returns where the stack that resumed this one goes on, of the frame at which a step
    /// said [`HostStep::Fiber`].
    ///
    /// # Signal safety
    ///
    /// As a step.
    pub fn switch(&self, registers: &Registers, memory: &impl Memory) -> Option<Switch> {
        self.exchange(registers.pc)?.switch(registers, memory)
    }

    /// Returns whose first frame returns to an address.
    pub(super) fn exchange(&self, pc: HostPc) -> Option<Exchange> {
        match self.objects.coverage.kind_at(pc.0.wrapping_sub(1))? {
            Kind::Fiber => Some(Exchange::Fiber),
            Kind::Continuation => Some(Exchange::Continuation),
            _ => None,
        }
    }
}

impl HostUnwind<X86_64> for HostUnwinder<'_> {
    fn step(
        &mut self,
        registers: Registers,
        is_return_address: bool,
        memory: &impl Memory,
    ) -> HostStep<X86_64> {
        let address = if is_return_address {
            match FrameAddress::from_return_address(registers.pc.0) {
                Some(address) => address,
                None => return HostStep::Cut(Cut::UnknownCode),
            }
        } else {
            FrameAddress::from_instruction_pointer(registers.pc.0)
        };
        let coverage = &self.objects.coverage;
        let kind = match coverage.kind_at(address.address_for_lookup()) {
            None => return HostStep::Cut(Cut::UnknownCode),
            Some(Kind::Opaque) => return HostStep::Cut(Cut::UnwindTables),
            Some(Kind::Fiber | Kind::Continuation) => return HostStep::Fiber,
            Some(Kind::Signal) => return interrupted(registers.sp, memory),
            Some(Kind::Stub) => return stub(registers, memory),
            Some(kind) => kind,
        };
        let mut unwound = UnwindRegsX86_64::new(registers.pc.0, registers.sp, registers.fp);
        let step = self.objects.unwinder.unwind_frame(
            address,
            &mut unwound,
            &mut self.cache.0,
            &mut |address| memory.read(address).ok_or(()),
        );
        match step {
            Ok(Some(return_address)) => {
                if unwound.sp() <= registers.sp {
                    return HostStep::Cut(Cut::Order);
                }
                HostStep::Caller {
                    registers: Registers {
                        pc: HostPc(return_address),
                        sp: unwound.sp(),
                        fp: unwound.bp(),
                    },
                    is_return_address: true,
                }
            }
            Ok(None) if kind == Kind::MayBeRoot => HostStep::Root,
            Ok(None) => HostStep::Cut(Cut::UnwindTables),
            Err(_) => HostStep::Cut(Cut::Memory),
        }
    }
}

/// Returns the caller of a function that is not entered yet.
fn stub(registers: Registers, memory: &impl Memory) -> HostStep<X86_64> {
    match memory.read(registers.sp) {
        Some(return_address) => HostStep::Caller {
            registers: Registers {
                pc: HostPc(return_address),
                sp: registers.sp.wrapping_add(8),
                fp: registers.fp,
            },
            is_return_address: true,
        },
        None => HostStep::Cut(Cut::Memory),
    }
}

/// Reads the registers that the kernel saved before it called a signal handler.
///
/// The handler has returned to code of the C library's whose only job is to ask the
/// kernel to go back. The stack pointer is where the kernel put the `ucontext_t`.
fn interrupted(context: u64, memory: &impl Memory) -> HostStep<X86_64> {
    let register = |index: i32| {
        let registers = core::mem::offset_of!(libc::ucontext_t, uc_mcontext)
            .wrapping_add(core::mem::offset_of!(libc::mcontext_t, gregs));
        let offset = registers.wrapping_add((index as usize).wrapping_mul(8));
        memory.read(context.checked_add(offset as u64)?)
    };
    let saved = || {
        Some(Registers {
            pc: HostPc(register(libc::REG_RIP)?),
            sp: register(libc::REG_RSP)?,
            fp: register(libc::REG_RBP)?,
        })
    };
    match saved() {
        Some(registers) => HostStep::Caller {
            registers,
            is_return_address: false,
        },
        None => HostStep::Cut(Cut::Memory),
    }
}
