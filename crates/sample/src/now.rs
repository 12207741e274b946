//! Reads the two clocks that samples tell the time by.

#![cfg_attr(unix, expect(unsafe_code, reason = "clock_gettime is a C function"))]

use std::time::Duration;

/// Returns the current time in nanoseconds of a clock that never goes back:
/// `CLOCK_MONOTONIC` on Unix, elsewhere one that begins when it is first read.
/// It is the clock of [`Sample::monotonic_nanos`](crate::Sample::monotonic_nanos).
#[must_use]
pub fn monotonic_nanos() -> u64 {
    #[cfg(unix)]
    return clock_nanos(libc::CLOCK_MONOTONIC).unwrap_or(0);
    #[cfg(not(unix))]
    {
        static BEGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        let begin = BEGIN.get_or_init(std::time::Instant::now);
        u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Returns the CPU time that the calling thread has used; `None` where there is no
/// such clock, which is on all but Unix.
#[must_use]
pub fn thread_cpu_time() -> Option<Duration> {
    #[cfg(unix)]
    return clock_nanos(libc::CLOCK_THREAD_CPUTIME_ID).map(Duration::from_nanos);
    #[cfg(not(unix))]
    None
}

/// Reads a clock of the system, in nanoseconds; `None` when there is no such clock.
///
/// # Signal safety
///
/// One call of `clock_gettime`, which is async-signal-safe.
#[cfg(unix)]
pub(crate) fn clock_nanos(id: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for a timespec.
    let failed = unsafe { libc::clock_gettime(id, &raw mut time) };
    (failed == 0).then(|| {
        (time.tv_sec as u64)
            .wrapping_mul(1_000_000_000)
            .wrapping_add(time.tv_nsec as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_and_work_takes_cpu_time() {
        let (wall, cpu) = (monotonic_nanos(), thread_cpu_time());
        let mut sum = 0u64;
        while monotonic_nanos() < wall + 2_000_000 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(monotonic_nanos() > wall);
        assert_eq!(cpu.is_some(), cfg!(unix));
        assert!(cpu < thread_cpu_time() || !cfg!(unix), "{sum}");
    }
}
