//! Which time is sampled, at which rate, and by which mechanism of the kernel.
//!
//! Only the choice: clocks are read in [`crate::now`], timers armed where signals are.

use crate::Error;
use std::fmt;
use std::time::Duration;

/// Which of a thread's times is sampled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Clock {
    /// Time on the wall: includes sleeping, waiting, and waiting for a processor.
    #[default]
    Wall,
    /// Time that the thread itself ran on a processor, in user and kernel mode.
    Cpu,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Clock::Wall => "wall",
            Clock::Cpu => "cpu",
        })
    }
}

/// How a thread's timer works. See the crate's page for what each is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Mechanism {
    /// `timer_create(CLOCK_MONOTONIC)` with `SIGEV_THREAD_ID`, for [`Clock::Wall`].
    MonotonicTimer,
    /// `perf_event_open` with `PERF_COUNT_SW_TASK_CLOCK`, for [`Clock::Cpu`]: a
    /// high-resolution timer that stands still while the thread does not run.
    TaskClock,
    /// The monotonic timer, each expiry checked against the thread's CPU clock,
    /// for [`Clock::Cpu`] where `perf_event_open` is not permitted. Reaches the
    /// asked rate as well, but also wakes a sleeping thread.
    MonotonicTimerOnCpuTime,
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mechanism::MonotonicTimer => "timer_create(CLOCK_MONOTONIC)",
            Mechanism::TaskClock => "perf_event_open(PERF_COUNT_SW_TASK_CLOCK)",
            Mechanism::MonotonicTimerOnCpuTime => {
                "timer_create(CLOCK_MONOTONIC), weighed by the thread's CPU clock"
            }
        })
    }
}

impl Mechanism {
    /// Returns the clock that this mechanism samples.
    #[must_use]
    pub const fn clock(self) -> Clock {
        match self {
            Mechanism::MonotonicTimer => Clock::Wall,
            Mechanism::TaskClock | Mechanism::MonotonicTimerOnCpuTime => Clock::Cpu,
        }
    }
}

/// A sampling rate that timers can reach: between [`Rate::MIN`] and [`Rate::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rate(u32);

impl Rate {
    /// One sample a second.
    pub const MIN: Rate = Rate(1);
    /// 20,000 samples a second: beyond it a thread does little but handle signals.
    pub const MAX: Rate = Rate(20_000);

    /// Makes a rate of `hertz` samples a second of the sampled clock.
    ///
    /// # Errors
    ///
    /// [`Error::Rate`] when it is not between [`Rate::MIN`] and [`Rate::MAX`].
    pub const fn hertz(hertz: u32) -> Result<Rate, Error> {
        if hertz < Rate::MIN.0 || hertz > Rate::MAX.0 {
            return Err(Error::Rate { hertz });
        }
        Ok(Rate(hertz))
    }

    /// Returns the rate in samples a second.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns the time between two samples, in whole nanoseconds.
    #[must_use]
    pub fn interval(self) -> Duration {
        Duration::from_nanos(u64::from(1_000_000_000 / self.0))
    }
}

impl Default for Rate {
    /// 1,000 samples a second.
    fn default() -> Self {
        Rate(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_out_of_reach_are_refused() {
        assert!(matches!(Rate::hertz(0), Err(Error::Rate { hertz: 0 })));
        assert!(Rate::hertz(10_000_000).is_err());
        assert_eq!(
            Rate::hertz(1000).map(Rate::interval).ok(),
            Some(Duration::from_millis(1))
        );
    }
}
