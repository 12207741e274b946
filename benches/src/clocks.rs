//! Clocks that the benches read themselves, so that no figure rests on the
//! sampler's own reading; and how often a thread lost its processor meanwhile.

#![expect(unsafe_code, reason = "clock_gettime and getrusage are C functions")]

/// A reading of both of a thread's clocks, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// `CLOCK_MONOTONIC`.
    pub wall: u64,
    /// `CLOCK_THREAD_CPUTIME_ID` of the calling thread.
    pub cpu: u64,
}

impl Reading {
    /// Reads both clocks now.
    #[must_use]
    pub fn now() -> Self {
        Self {
            wall: monotonic_nanos(),
            cpu: thread_cpu_nanos(),
        }
    }

    /// Returns the time between this reading and now.
    #[must_use]
    pub fn elapsed(self) -> Self {
        let now = Self::now();
        Self {
            wall: now.wall.saturating_sub(self.wall),
            cpu: now.cpu.saturating_sub(self.cpu),
        }
    }
}

/// Returns `CLOCK_MONOTONIC` in nanoseconds.
#[must_use]
pub fn monotonic_nanos() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Returns the CPU time of the calling thread in nanoseconds.
#[must_use]
pub fn thread_cpu_nanos() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Returns how often the calling thread has lost its processor, of its own will or
/// not.
#[must_use]
pub fn switches() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a place for an rusage, for which zero is valid.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init()
    };
    (usage.ru_nvcsw as u64).wrapping_add(usage.ru_nivcsw as u64)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live timespec; both clocks exist on Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    (time.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(time.tv_nsec as u64)
}
