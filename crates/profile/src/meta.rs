//! What a profile says about itself: what ran, when, and how it was sampled.

use std::time::{Duration, SystemTime};

/// The clock whose time the samples' weights measure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Clock {
    /// Time as it passes, also while the thread waits.
    Wall,
    /// Time that the thread spent on a processor.
    Cpu,
}

impl Clock {
    /// Returns the clock's name: `wall` or `cpu`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Cpu => "cpu",
        }
    }
}

/// What a profile says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meta {
    /// What ran, for example the file name of the guest.
    pub product: String,
    /// When the profile starts. All times in the profile count from here.
    pub start: SystemTime,
    /// How long the profile lasts.
    pub duration: Duration,
    /// The interval between samples that was asked for.
    pub interval: Duration,
    /// The clock whose time the weights measure.
    pub clock: Clock,
    /// What made the samples, for example `perf_event task-clock`.
    pub mechanism: String,
    /// Anything else worth saying, a line each.
    pub comments: Vec<String>,
}

impl Meta {
    /// Describes a profile of `product` that starts at `start`, with everything
    /// else unknown: no duration, no interval, wall clock, no mechanism.
    #[must_use]
    pub fn new(product: impl Into<String>, start: SystemTime) -> Self {
        Self {
            product: product.into(),
            start,
            duration: Duration::ZERO,
            interval: Duration::ZERO,
            clock: Clock::Wall,
            mechanism: String::new(),
            comments: Vec::new(),
        }
    }
}
