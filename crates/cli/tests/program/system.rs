//! What tests ask of the system and the standard library has no safe way for.

#![expect(unsafe_code, reason = "kill, geteuid and openpty are C functions")]

use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Child;

/// A signal by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
    Kill,
}

/// Sends a signal to the program.
pub(crate) fn send(child: &Child, signal: Signal) {
    let number = match signal {
        Signal::Interrupt => libc::SIGINT,
        Signal::Terminate => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
    };
    // SAFETY: kill has no preconditions; the child has not been waited for, so its
    // number is still its own.
    let failed = unsafe { libc::kill(child.id().cast_signed(), number) };
    assert_eq!(failed, 0);
}

/// Tells whether this is a user who may do everything.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// Opens a terminal with so many columns: what is read from the first was written
/// to the second.
pub(crate) fn open_terminal(columns: u16) -> (File, OwnedFd) {
    let size = libc::winsize {
        ws_row: 40,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let (mut ours, mut theirs) = (-1, -1);
    // SAFETY: the first two are places for descriptors, the last is a size; the name
    // and the settings may be null.
    let failed = unsafe {
        libc::openpty(
            &raw mut ours,
            &raw mut theirs,
            std::ptr::null_mut(),
            std::ptr::null(),
            &raw const size,
        )
    };
    assert_eq!(failed, 0);
    // SAFETY: both were opened just now, for nobody else.
    unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}
