//! What is said of a thread that is or was sampled.

use crate::clock::Mechanism;
use std::time::Duration;

/// The number of an attached thread, unique within its sampler, in the order of
/// attachment. A thread that is attached again gets a new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ThreadId(pub u64);

/// How many samples of a thread were due, and what became of them.
///
/// A sample is due at each interval of the sampled clock; `due` is counted from the
/// clock and the other two by the handler, so that they check each other. While a
/// thread runs they differ by at most the tick that is under way; when a thread
/// waits for a processor, or blocks in the kernel, its ticks are counted as soon as
/// it goes on. Once it is detached `kept + lost` is `due`, give or take one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Accounting {
    /// Intervals of the sampled clock that have passed.
    pub due: u64,
    /// Samples that were kept.
    pub kept: u64,
    /// Samples that were lost: to timer overruns or to a full ring. Their time is
    /// in the weight of the next sample that was kept.
    pub lost: u64,
    /// Time of the sampled clock that has passed.
    pub sampled: Duration,
}

impl Accounting {
    /// Returns the accounting of the time since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Accounting) -> Accounting {
        Accounting {
            due: self.due.saturating_sub(earlier.due),
            kept: self.kept.saturating_sub(earlier.kept),
            lost: self.lost.saturating_sub(earlier.lost),
            sampled: self.sampled.saturating_sub(earlier.sampled),
        }
    }
}

/// A thread that is or was attached, as [`Sampler::threads`](crate::Sampler::threads)
/// reports it.
#[derive(Clone, Debug)]
pub struct ThreadReport {
    /// The sampler's number of it.
    pub id: ThreadId,
    /// The kernel's number of it.
    pub tid: u32,
    /// Its name when it was attached.
    pub name: String,
    /// How it is timed.
    pub mechanism: Mechanism,
    /// When it was attached, in nanoseconds of `CLOCK_MONOTONIC`.
    pub attached: u64,
    /// When it was detached, likewise; `None` while it still is attached.
    pub detached: Option<u64>,
    /// What was due, kept and lost since it was attached.
    pub accounting: Accounting,
    /// Lost samples that came after the last one that was kept, so that no sample
    /// carries their time: the ticks of all samples and these are `kept + lost`.
    pub unweighed: u64,
    /// Time of the sampled clock that the signal handler took of the thread since it
    /// was attached: the sampler's own cost, less the kernel's for delivering signals.
    pub in_handler: Duration,
}
