//! Counters: a value over time, such as the size of a guest's memory.

use std::time::Duration;

use crate::handle::handle;
use crate::thread::ThreadHandle;

handle! {
    /// A [`Counter`] of a profile.
    pub CounterHandle
}

/// A value over time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counter {
    /// The name of the track, for example a module's name.
    pub name: String,
    /// What it counts; the Firefox Profiler draws `Memory` as a memory track.
    pub category: String,
    /// The unit of its values, for example `bytes`.
    pub unit: String,
    /// One sentence on what it shows.
    pub description: String,
    /// The thread whose process it is shown under; none for the first one.
    pub thread: Option<ThreadHandle>,
    /// When the value was taken, since the start of the profile, and the value
    /// itself (not its change), oldest first.
    pub points: Vec<(Duration, i64)>,
}
