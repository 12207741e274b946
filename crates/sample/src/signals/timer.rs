//! A thread's timer: arms one that signals the calling thread, and disarms it.

#![expect(
    unsafe_code,
    reason = "timer_create, perf_event_open and fcntl are C functions"
)]

use crate::{Clock, Mechanism};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// An armed timer. Dropping it disarms it; a signal that was already sent may
/// still arrive.
#[derive(Debug)]
pub(crate) struct Timer {
    source: Source,
    mechanism: Mechanism,
}

#[derive(Debug)]
enum Source {
    Posix(PosixTimer),
    Perf(OwnedFd),
}

/// Tells whether a signal came from one particular timer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// The value that the timer was made with.
    Posix(usize),
    /// The event's file descriptor.
    Perf(i32),
}

impl Timer {
    /// Arms a timer that sends `signal` to the calling thread at each `interval` of
    /// `clock`. `cookie` is an address that no other timer of this process uses.
    pub(crate) fn arm(
        clock: Clock,
        forced: Option<Mechanism>,
        interval: Duration,
        signal: i32,
        cookie: usize,
    ) -> io::Result<Self> {
        let mechanism = match (forced, clock) {
            (Some(mechanism), _) => mechanism,
            (None, Clock::Wall) => Mechanism::MonotonicTimer,
            (None, Clock::Cpu) => match perf_task_clock(interval, signal) {
                Ok(fd) => {
                    return Ok(Self {
                        source: Source::Perf(fd),
                        mechanism: Mechanism::TaskClock,
                    });
                }
                // Not permitted, not compiled in, or filtered by a sandbox.
                Err(_) => Mechanism::MonotonicTimerOnCpuTime,
            },
        };
        let source = match mechanism {
            Mechanism::TaskClock => Source::Perf(perf_task_clock(interval, signal)?),
            Mechanism::MonotonicTimer | Mechanism::MonotonicTimerOnCpuTime => {
                Source::Posix(PosixTimer::arm(interval, signal, cookie)?)
            }
        };
        Ok(Self { source, mechanism })
    }

    pub(crate) fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    pub(crate) fn origin(&self) -> Origin {
        match &self.source {
            Source::Posix(timer) => Origin::Posix(timer.cookie),
            Source::Perf(fd) => Origin::Perf(fd.as_raw_fd()),
        }
    }
}

#[derive(Debug)]
struct PosixTimer {
    id: libc::timer_t,
    cookie: usize,
}

// SAFETY: a timer's id is a number of this process, in a pointer's clothes; any
// thread may delete it.
unsafe impl Send for PosixTimer {}
// SAFETY: as above; there are no methods that take `&self` and touch the timer.
unsafe impl Sync for PosixTimer {}

impl PosixTimer {
    fn arm(interval: Duration, signal: i32, cookie: usize) -> io::Result<Self> {
        // SAFETY: sigevent is plain data, for which zero is valid.
        let mut event: libc::sigevent = unsafe { MaybeUninit::zeroed().assume_init() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal;
        event.sigev_value.sival_ptr = cookie as *mut libc::c_void;
        // SAFETY: gettid has no preconditions.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut id: libc::timer_t = std::ptr::null_mut();
        // SAFETY: both pointers are to live values of the right types.
        if unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut id) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let timer = Self { id, cookie };
        let every = libc::timespec {
            tv_sec: interval.as_secs() as libc::time_t,
            tv_nsec: interval.subsec_nanos() as libc::c_long,
        };
        let spec = libc::itimerspec {
            it_interval: every,
            it_value: every,
        };
        // SAFETY: the timer is ours and alive, `spec` is a live value.
        if unsafe { libc::timer_settime(timer.id, 0, &raw const spec, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(timer)
    }
}

impl Drop for PosixTimer {
    fn drop(&mut self) {
        // SAFETY: the timer is ours, and deleted once.
        unsafe { libc::timer_delete(self.id) };
    }
}

/// `struct perf_event_attr` up to `PERF_ATTR_SIZE_VER0`, as `perf_event_open(2)`
/// lays it out; the kernel takes any published size.
#[repr(C)]
struct PerfEventAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
}

fn perf_task_clock(interval: Duration, signal: i32) -> io::Result<OwnedFd> {
    const PERF_TYPE_SOFTWARE: u32 = 1;
    const PERF_COUNT_SW_TASK_CLOCK: u64 = 1;
    const DISABLED: u64 = 1 << 0;
    const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
    const PERF_EVENT_IOC_ENABLE: libc::c_ulong = 0x2400;
    const F_SETSIG: libc::c_int = 10;
    const F_SETOWN_EX: libc::c_int = 15;
    #[repr(C)]
    struct Owner {
        kind: libc::c_int,
        pid: libc::pid_t,
    }
    const F_OWNER_TID: libc::c_int = 0;

    let attr = PerfEventAttr {
        kind: PERF_TYPE_SOFTWARE,
        size: size_of::<PerfEventAttr>() as u32,
        config: PERF_COUNT_SW_TASK_CLOCK,
        sample_period: interval.as_nanos() as u64,
        sample_type: 0,
        read_format: 0,
        // Kernel time counts too: leaving it out would bias against host calls.
        flags: DISABLED,
        wakeup_events: 1,
        bp_type: 0,
        config1: 0,
    };
    let of_this_thread: libc::pid_t = 0;
    let (any_cpu, no_group): (libc::c_int, libc::c_int) = (-1, -1);
    // SAFETY: `attr` is alive and says its own size; the rest are plain numbers.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            of_this_thread,
            any_cpu,
            no_group,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor, nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let check = |result: libc::c_int| {
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    };
    let owner = Owner {
        kind: F_OWNER_TID,
        // SAFETY: gettid has no preconditions.
        pid: unsafe { libc::gettid() },
    };
    let raw = fd.as_raw_fd();
    // SAFETY: the descriptor is open; each command takes the argument that it gets.
    unsafe {
        check(libc::fcntl(
            raw,
            libc::F_SETFL,
            libc::O_ASYNC | libc::O_NONBLOCK,
        ))?;
        check(libc::fcntl(raw, F_SETSIG, signal))?;
        check(libc::fcntl(raw, F_SETOWN_EX, &raw const owner))?;
        check(libc::ioctl(raw, PERF_EVENT_IOC_ENABLE as _, 0))?;
    }
    Ok(fd)
}
