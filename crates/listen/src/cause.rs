//! Why a call ended without returning.
//!
//! Listeners get it borrowed with the close; one that keeps it writes it down with
//! [`std::fmt::Display`]. How an engine learns the cause is left to the binding.

use std::error::Error;
use std::fmt;

/// Says why a call was aborted.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Cause<'a> {
    /// The guest trapped, in this call or one below it.
    Trap(&'a (dyn Error + 'static)),
    /// The guest used up its stack.
    StackOverflow,
    /// A host function returned an error, or the host stopped the guest with one.
    HostError(&'a (dyn Error + 'static)),
    /// A WebAssembly exception left the call.
    Exception,
    /// The guest ended itself with this status, as with WASI's `proc_exit`.
    Exit(i32),
    /// Host code, or a listener, panicked.
    Panic,
    /// The future that ran the guest was dropped before it was done.
    FutureDropped,
    /// The store was dropped while the call was open.
    StoreDropped,
    /// The frame is gone, and the reason was not seen.
    Unknown,
}

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trap(error) => write!(f, "trap: {error}"),
            Self::StackOverflow => f.write_str("stack overflow"),
            Self::HostError(error) => write!(f, "error: {error}"),
            Self::Exception => f.write_str("exception"),
            Self::Exit(status) => write!(f, "exit {status}"),
            Self::Panic => f.write_str("panic"),
            Self::FutureDropped => f.write_str("future dropped"),
            Self::StoreDropped => f.write_str("store dropped"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}
