//! The stack of the calling thread, from here, without a signal.
//!
//! For samples that are taken when the embedder asks, and for whoever wants to know
//! which guest called the host function that runs now.

#![expect(unsafe_code, reason = "reads the stack and frame pointers")]

use crate::code_map::CodeMap;
use crate::handler::stack_end;
use crate::record::{RawFrame, StackEnd};
use crate::stack_memory::{MappingQuery, StackBounds, StackMemory};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use wasmscope_address::HostPc;
use wasmscope_walk::host::{HostCache, HostObjects, HostUnwinder};
use wasmscope_walk::{FrameKind, Native};

/// Captures stacks of whatever thread calls it. Making one reads which libraries
/// are loaded; capturing allocates nothing once `frames` is large enough.
pub struct StackCapture {
    objects: Arc<HostObjects>,
    cache: HostCache,
    query: Arc<MappingQuery>,
}

impl StackCapture {
    /// Prepares to capture.
    #[must_use]
    pub fn new() -> Self {
        Self::with(
            Arc::new(HostObjects::load()),
            Arc::new(MappingQuery::open()),
        )
    }

    pub(crate) fn with(objects: Arc<HostObjects>, query: Arc<MappingQuery>) -> Self {
        Self {
            objects,
            cache: HostCache::new(),
            query,
        }
    }

    /// Replaces `frames` with the calling thread's stack, newest first: the guest
    /// frames that `code` knows, each run of host frames as one
    /// [`RawFrame::HOST_RUN`]. The run that calls this is left out. Stops after
    /// `at_most` frames.
    #[inline(never)]
    pub fn capture(
        &mut self,
        code: &CodeMap,
        at_most: usize,
        frames: &mut Vec<RawFrame>,
    ) -> StackEnd {
        frames.clear();
        let registers = here();
        let memory = StackMemory::at(registers.sp, StackBounds::NONE, &self.query);
        let mut host = HostUnwinder::new(&self.objects, &mut self.cache);
        let end = wasmscope_walk::walk::<Native>(registers, &memory, code, &mut host, |frame| {
            match frame.kind {
                FrameKind::Guest => {
                    frames.push(RawFrame::guest(frame.pc, frame.is_return_address));
                }
                FrameKind::Host if frames.last().is_some_and(|last| !last.is_host()) => {
                    frames.push(RawFrame::HOST_RUN);
                }
                FrameKind::Host => {}
            }
            if frames.len() >= at_most {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        stack_end(end)
    }
}

impl Default for StackCapture {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StackCapture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackCapture").finish_non_exhaustive()
    }
}

/// Returns the registers of the function that this is inlined into, at this point.
#[inline(always)]
fn here() -> wasmscope_walk::x86_64::Registers {
    let (pc, sp, fp): (u64, u64, u64);
    // SAFETY: copies three registers; touches neither memory nor flags.
    unsafe {
        std::arch::asm!(
            "lea {pc}, [rip]",
            "mov {sp}, rsp",
            "mov {fp}, rbp",
            pc = out(reg) pc,
            sp = out(reg) sp,
            fp = out(reg) fp,
            options(nomem, nostack, preserves_flags),
        );
    }
    wasmscope_walk::x86_64::Registers {
        pc: HostPc(pc),
        sp,
        fp,
    }
}
