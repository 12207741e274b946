//! The size of a guest's memories over time.

use crate::collector::{Collector, TrackId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmscope_sample::{Sampler, monotonic_nanos};
use wasmtime::ResourceLimiter;

/// Records each growth of a store's linear memories, as a counter of the profile;
/// dropping it brings the counter to zero. Stores may have the same name: each has a
/// counter of its own.
///
/// It is a [`ResourceLimiter`] that allows everything, for stores that have none;
/// an embedder's own limiter calls [`grown`](Self::grown) instead.
#[derive(Debug)]
pub struct MemoryTrack {
    sampler: Arc<Sampler<Collector>>,
    id: TrackId,
    name: String,
    bytes: i64,
    /// The growth that was allowed last, in case the engine then fails to carry it
    /// out.
    last: i64,
}

impl MemoryTrack {
    pub(crate) fn new(sampler: Arc<Sampler<Collector>>, name: String) -> Self {
        /// How many tracks there were so far, of all profilers.
        static TRACKS: AtomicU64 = AtomicU64::new(0);
        Self {
            sampler,
            id: TrackId(TRACKS.fetch_add(1, Ordering::Relaxed)),
            name,
            bytes: 0,
            last: 0,
        }
    }

    /// Notes that one memory went from `current` bytes to `desired`; the counter
    /// shows the sum over all memories.
    pub fn grown(&mut self, current: usize, desired: usize) {
        let size = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.change(size(desired).saturating_sub(size(current)));
    }

    /// Notes that the growth noted last did not come to be.
    pub fn growth_failed(&mut self) {
        if self.last != 0 {
            self.change(-self.last);
            self.last = 0;
        }
    }

    fn change(&mut self, by: i64) {
        self.last = by;
        self.bytes = self.bytes.saturating_add(by);
        self.sampler
            .sink_undrained()
            .count(self.id, &self.name, monotonic_nanos(), self.bytes);
    }
}

impl Drop for MemoryTrack {
    /// The store is gone, and its memories with it.
    fn drop(&mut self) {
        if self.bytes != 0 {
            self.change(-self.bytes);
        }
    }
}

impl ResourceLimiter for MemoryTrack {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Beyond its own maximum a memory does not grow, whatever is said here.
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.grown(current, desired);
        } else {
            self.last = 0;
        }
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        drop(error);
        self.growth_failed();
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        _desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(true)
    }
}
