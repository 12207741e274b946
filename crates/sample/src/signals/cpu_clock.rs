//! The CPU clocks of threads, as handlers and whoever accounts for a thread read them.

use crate::now::clock_nanos;

/// Nanoseconds that the calling thread has run.
///
/// # Signal safety
///
/// One system call that is async-signal-safe.
pub(crate) fn thread_cpu_nanos() -> u64 {
    clock_nanos(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or(0)
}

/// Nanoseconds that the thread `tid` of this process has run; `None` once it is
/// gone.
pub(crate) fn cpu_nanos_of(tid: libc::pid_t) -> Option<u64> {
    // The kernel's encoding of a thread's CPU clock, as `pthread_getcpuclockid`
    // computes it: CPUCLOCK_PERTHREAD_MASK (4) | CPUCLOCK_SCHED (2).
    clock_nanos((!tid << 3) | 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "gettid is a C function")]
    fn the_cpu_clock_of_a_thread_by_number_is_that_thread_s() {
        // SAFETY: gettid has no preconditions.
        let tid = unsafe { libc::gettid() };
        let before = thread_cpu_nanos();
        let by_number = cpu_nanos_of(tid).expect("this thread is alive");
        let after = thread_cpu_nanos();
        assert!((before..=after).contains(&by_number));
        assert_eq!(cpu_nanos_of(i32::MAX >> 3), None);
    }
}
