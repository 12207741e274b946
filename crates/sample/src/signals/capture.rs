//! The stack of the calling thread, from here, without a signal.
//!
//! For samples that are taken when the embedder asks, and for whoever wants to know
//! which guest called the host function that runs now.

use super::handler::stack_end;
use super::stack_memory::{MappingQuery, StackBounds, StackMemory};
use crate::{CodeMap, LeftStack, RawFrame, StackEnd};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use wasmscope_walk::host::{HostCache, HostObjects, HostUnwinder, here};
use wasmscope_walk::x86_64::Registers;
use wasmscope_walk::{End, Frame, FrameKind, Native, Words};

/// Captures stacks of whatever thread calls it. Making one reads which libraries
/// are loaded; capturing allocates nothing once `frames` is large enough.
pub struct StackCapture {
    objects: Arc<HostObjects>,
    cache: HostCache,
    query: Arc<MappingQuery>,
}

impl StackCapture {
    /// Prepares to capture; `None` on platforms where stacks cannot be walked.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self::with(
            Arc::new(HostObjects::load()),
            Arc::new(MappingQuery::open()),
        ))
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
    pub fn capture(
        &mut self,
        code: &CodeMap,
        at_most: usize,
        frames: &mut Vec<RawFrame>,
    ) -> StackEnd {
        frames.clear();
        let end = self.visit(code, |frame| {
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

    /// Visits the frames of the calling thread's stack, newest first: those of the guests
    /// that `code` knows, and the host's, from the function that calls this on.
    #[inline(never)]
    pub fn visit(&mut self, code: &CodeMap, visit: impl FnMut(Frame) -> ControlFlow<()>) -> End {
        let registers = here();
        let memory = StackMemory::at(registers.sp, StackBounds::NONE, &self.query);
        let mut host = HostUnwinder::new(&self.objects, &mut self.cache);
        wasmscope_walk::walk::<Native>(registers, &memory, code, &mut host, visit)
    }

    /// Visits the frames of a stack that was left by a call and copied, newest first.
    pub fn visit_left(
        &mut self,
        left: LeftStack<'_>,
        code: &CodeMap,
        visit: impl FnMut(Frame) -> ControlFlow<()>,
    ) -> End {
        let LeftStack { pc, sp, fp, words } = left;
        let memory = Words { start: sp, words };
        let mut host = HostUnwinder::new(&self.objects, &mut self.cache);
        let registers = Registers { pc, sp, fp };
        wasmscope_walk::walk_left::<Native>(registers, &memory, code, &mut host, visit)
    }
}

impl fmt::Debug for StackCapture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackCapture").finish_non_exhaustive()
    }
}
