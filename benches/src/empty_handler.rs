//! The least that any sampler by signals costs: a timer like the sampler's whose
//! handler does nothing but read the clock twice, as the sampler's does too.
//!
//! It uses a real-time signal, so that it and the sampler can live in one process.

#![expect(
    unsafe_code,
    reason = "timer_create and sigaction are C functions, and a handler has C linkage"
)]

use crate::clocks::monotonic_nanos;
use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

thread_local! {
    /// Signals handled on this thread, and the time between the two readings.
    static COUNTED: Cell<Counted> = const { Cell::new(Counted { signals: 0, nanos: 0 }) };
}

/// What the empty handler counted on one thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Signals that were handled.
    pub signals: u64,
    /// Nanoseconds between the handler's two readings of the clock.
    pub nanos: u64,
}

/// Sends the calling thread a signal at each interval of `CLOCK_MONOTONIC`, which
/// is handled by doing nothing, until it is dropped.
#[derive(Debug)]
pub struct EmptyHandler {
    timer: libc::timer_t,
    before: Counted,
}

extern "C" fn on_signal(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let begin = monotonic_nanos();
    let spent = monotonic_nanos().wrapping_sub(begin);
    let counted = COUNTED.get();
    COUNTED.set(Counted {
        signals: counted.signals.wrapping_add(1),
        nanos: counted.nanos.wrapping_add(spent),
    });
}

impl EmptyHandler {
    /// Arms the timer for the calling thread.
    ///
    /// # Errors
    ///
    /// What the kernel answers.
    pub fn arm(interval: Duration) -> io::Result<Self> {
        let signal = libc::SIGRTMIN() + 3;
        let check = |result: libc::c_int| match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        };
        let every = libc::timespec {
            tv_sec: interval.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(interval.subsec_nanos() as i32),
        };
        let spec = libc::itimerspec {
            it_interval: every,
            it_value: every,
        };
        let mut timer: libc::timer_t = std::ptr::null_mut();
        // SAFETY: sigaction and sigevent are plain data for which zero is valid; all
        // pointers are to live values; the handler reads a clock and writes to
        // thread-local cells without destructors, which signal-safety(7) allows.
        unsafe {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
            check(libc::sigaction(
                signal,
                &raw const action,
                std::ptr::null_mut(),
            ))?;
            let mut event: libc::sigevent = MaybeUninit::zeroed().assume_init();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal;
            event.sigev_notify_thread_id = libc::gettid();
            check(libc::timer_create(
                libc::CLOCK_MONOTONIC,
                &raw mut event,
                &raw mut timer,
            ))?;
            check(libc::timer_settime(
                timer,
                0,
                &raw const spec,
                std::ptr::null_mut(),
            ))?;
        }
        Ok(Self {
            timer,
            before: COUNTED.get(),
        })
    }

    /// Returns what was counted since it was armed.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let now = COUNTED.get();
        Counted {
            signals: now.signals.wrapping_sub(self.before.signals),
            nanos: now.nanos.wrapping_sub(self.before.nanos),
        }
    }
}

impl Drop for EmptyHandler {
    fn drop(&mut self) {
        // SAFETY: the timer is ours, and deleted once.
        unsafe { libc::timer_delete(self.timer) };
    }
}
