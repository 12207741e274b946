//! What a guest may grow to, and the record of how it grew.

use wasmscope::MemoryTrack;
use wasmtime::{ResourceLimiter, Result, StoreLimits};

/// The engine's limiter with a recorder behind it: what it allows is recorded.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: StoreLimits,
    /// None when nobody asks how memory grows.
    track: Option<MemoryTrack>,
    /// Whether the growth asked for last was allowed, and so recorded.
    is_recorded: bool,
}

impl Limiter {
    pub(crate) fn new(limits: StoreLimits, track: Option<MemoryTrack>) -> Self {
        Self {
            limits,
            track,
            is_recorded: false,
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        self.is_recorded = self.limits.memory_growing(current, desired, maximum)?;
        if let Some(track) = &mut self.track
            && self.is_recorded
        {
            track.memory_growing(current, desired, maximum)?;
        }
        Ok(self.is_recorded)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        if let Some(track) = &mut self.track
            && self.is_recorded
        {
            track.growth_failed();
        }
        self.limits.memory_grow_failed(error)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        self.limits.table_growing(current, desired, maximum)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        self.limits.table_grow_failed(error)
    }

    fn instances(&self) -> usize {
        self.limits.instances()
    }

    fn tables(&self) -> usize {
        self.limits.tables()
    }

    fn memories(&self) -> usize {
        self.limits.memories()
    }
}
