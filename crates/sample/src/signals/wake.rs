//! How a handler wakes the drain thread.

#![expect(unsafe_code, reason = "eventfd, ppoll, read and write are C functions")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// An eventfd: many threads wake, one waits.
#[derive(Debug)]
pub(crate) struct Wake(OwnedFd);

impl Wake {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no preconditions; the result is checked.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Ends the wait that is going on, or the next one.
    ///
    /// # Signal safety
    ///
    /// One system call that is async-signal-safe and does not block.
    pub(crate) fn wake(&self) {
        let one = 1u64;
        // SAFETY: the descriptor is an open eventfd, which takes eight bytes.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Waits until woken, at most `period`.
    pub(crate) fn wait(&self, period: Duration) {
        self.wait_exactly(period.max(Duration::from_millis(1)));
    }

    /// Waits until woken, at most `period`, which may be zero.
    pub(crate) fn wait_exactly(&self, period: Duration) {
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let timeout = libc::timespec {
            tv_sec: i64::try_from(period.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(period.subsec_nanos()),
        };
        let mut count = 0u64;
        // SAFETY: one live pollfd; then a read of eight bytes into a live word, from
        // a descriptor that does not block.
        unsafe {
            libc::ppoll(&raw mut poll, 1, &raw const timeout, std::ptr::null());
            libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8);
        }
    }
}
