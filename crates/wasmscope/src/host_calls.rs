//! Host calls as markers, from the embedder's call hook.

use crate::collector::Collector;
use std::sync::Arc;
use std::time::Duration;
use wasmscope_sample::{Sampler, StackCapture, monotonic_nanos};
use wasmtime::CallHook;

/// How many frames of a host call's caller are kept.
const CALLER_FRAMES: usize = 256;

/// Records the host calls of one store that take long enough, each with its name,
/// its duration and its caller's stack.
///
/// The engine's hook says that a host function is called but not which; the name
/// comes from the guest's own call instruction, found by walking the stack. That is
/// done when a call that was long returns, so short calls cost two readings of the
/// clock each.
///
/// Needs wasmtime's cargo feature `call-hook`, which costs every host call a few
/// nanoseconds; the hook stays the embedder's:
///
/// ```ignore
/// let mut calls = profiler.host_calls(Duration::from_micros(100));
/// store.call_hook(move |_context, kind| {
///     calls.hook(kind);
///     Ok(())
/// });
/// ```
#[derive(Debug)]
pub struct HostCalls {
    sampler: Arc<Sampler<Collector>>,
    threshold: u64,
    open: OpenCalls,
    /// Made when the first long call returns: many stores have none.
    capture: Option<StackCapture>,
}

impl HostCalls {
    pub(crate) fn new(sampler: Arc<Sampler<Collector>>, threshold: Duration) -> Self {
        Self {
            sampler,
            threshold: u64::try_from(threshold.as_nanos()).unwrap_or(u64::MAX),
            open: OpenCalls::default(),
            capture: None,
        }
    }

    /// Notes a transition; to be called from the store's call hook with what that
    /// was given. The marker goes to the calling thread, if it is sampled.
    #[inline]
    pub fn hook(&mut self, kind: CallHook) {
        if let Some((start, end)) = self.open.hook(kind, monotonic_nanos())
            && end.saturating_sub(start) >= self.threshold
        {
            self.record(start, end);
        }
    }

    #[cold]
    fn record(&mut self, start: u64, end: u64) {
        let Some((thread, labels)) = wasmscope_sample::current_thread() else {
            return;
        };
        let mut frames = Vec::with_capacity(CALLER_FRAMES);
        let code = self.sampler.code();
        self.capture
            .get_or_insert_with(|| self.sampler.stack_capture())
            .capture(&code, CALLER_FRAMES, &mut frames);
        self.sampler
            .sink_undrained()
            .host_call(thread, labels, (start, end), &frames);
    }
}

/// The host calls that are under way, outermost first. Calls nest when the host
/// calls back into the guest.
#[derive(Debug, Default)]
pub(crate) struct OpenCalls {
    starts: Vec<u64>,
    /// How many host calls were open at each entry into the guest: what a trap
    /// unwinds never returns.
    entries: Vec<usize>,
}

impl OpenCalls {
    /// Notes a transition at `now`; returns the start and end of the host call that
    /// it ends.
    #[inline]
    pub(crate) fn hook(&mut self, kind: CallHook, now: u64) -> Option<(u64, u64)> {
        match kind {
            CallHook::CallingHost => {
                self.starts.push(now);
                None
            }
            CallHook::ReturningFromHost => self.starts.pop().map(|start| (start, now)),
            CallHook::CallingWasm => {
                self.entries.push(self.starts.len());
                None
            }
            CallHook::ReturningFromWasm => {
                let open = self.entries.pop().unwrap_or(0);
                self.starts.truncate(open);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_nest_and_a_trap_leaves_none_open() {
        let mut open = OpenCalls::default();
        assert_eq!(open.hook(CallHook::CallingWasm, 0), None);
        assert_eq!(open.hook(CallHook::CallingHost, 1), None);
        assert_eq!(open.hook(CallHook::CallingWasm, 2), None);
        assert_eq!(open.hook(CallHook::CallingHost, 3), None);
        // The inner host function traps: the engine reports no return from it.
        assert_eq!(open.hook(CallHook::ReturningFromWasm, 4), None);
        assert_eq!(open.hook(CallHook::ReturningFromHost, 5), Some((1, 5)));
        assert_eq!(open.hook(CallHook::CallingHost, 6), None);
        assert_eq!(open.hook(CallHook::ReturningFromHost, 8), Some((6, 8)));
        assert_eq!(open.hook(CallHook::ReturningFromWasm, 9), None);
    }
}
