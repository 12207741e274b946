//! How to sample, as the caller chooses it.

use crate::{Clock, Mechanism, Rate};
use std::time::Duration;

/// What becomes of host frames in samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HostFrames {
    /// Each run of host frames becomes one [`HOST_RUN`](crate::RawFrame::HOST_RUN), so that no host
    /// address leaves the handler.
    #[default]
    Omit,
    /// Each host frame is kept.
    Keep,
}

/// How to sample.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which time is sampled.
    pub clock: Clock,
    /// How often.
    pub rate: Rate,
    /// The mechanism to use, instead of the best that works here.
    pub mechanism: Option<Mechanism>,
    /// What becomes of host frames.
    pub host_frames: HostFrames,
    /// Whether wall-clock samples also say how much CPU time passed, which costs a
    /// system call each. Samples of the CPU clock always do.
    pub cpu_time: bool,
    /// Size of each thread's ring in bytes. 512 KiB hold 60 samples of depth 1,000.
    pub ring_bytes: usize,
    /// How many frames to keep of one stack, the newest first.
    pub max_frames: usize,
    /// How long the drain thread sleeps unless a ring gets half full.
    pub drain_period: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Clock::default(),
            rate: Rate::default(),
            mechanism: None,
            host_frames: HostFrames::default(),
            cpu_time: true,
            ring_bytes: 512 << 10,
            max_frames: 32 << 10,
            drain_period: Duration::from_millis(20),
        }
    }
}
