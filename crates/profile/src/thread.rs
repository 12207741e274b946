//! Threads, and how many of their samples were kept.

use std::time::Duration;

use crate::handle::handle;

handle! {
    /// A [`Thread`] of a profile.
    pub ThreadHandle
}

/// A thread that was sampled.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Thread {
    /// The operating system's number for it.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The name of the process, or of the part of one, that it is shown under.
    /// Empty: the profile's product.
    pub process: String,
    /// When its sampling started, since the start of the profile.
    pub start: Duration,
    /// When its sampling ended; none when it lasted to the end of the profile.
    pub end: Option<Duration>,
    /// How many of its samples were kept, when that is known.
    pub accounting: Option<Accounting>,
}

/// How many samples of a thread were due, and what became of them.
///
/// `kept + lost` equals `due` within one, when `due` comes from a clock that the
/// sampler does not own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Accounting {
    /// How many should have been taken: the sampled time over the interval.
    pub due: u64,
    /// How many are in the profile.
    pub kept: u64,
    /// How many are not: timer overruns, a full ring.
    pub lost: u64,
    /// How long the thread was sampled, by the sampled clock.
    pub sampled: Duration,
}

impl Accounting {
    /// Adds up two threads.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            due: self.due.saturating_add(other.due),
            kept: self.kept.saturating_add(other.kept),
            lost: self.lost.saturating_add(other.lost),
            sampled: self.sampled.saturating_add(other.sampled),
        }
    }
}
