//! What can go wrong in sampling.

use crate::clock::Rate;
use std::io;
use std::time::Duration;

/// Why sampling could not begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The asked rate is out of reach.
    #[error(
        "sample {hertz} times a second: a rate is between {} and {}",
        Rate::MIN.get(),
        Rate::MAX.get()
    )]
    Rate {
        /// The rate that was asked for.
        hertz: u32,
    },
    /// Signals cannot be used to sample on this platform.
    #[error("sample by signals: that works on Linux and x86-64 only")]
    Platform,
    /// The signal handler could not be installed.
    #[error("install the signal handler for SIGPROF")]
    Handler(#[source] io::Error),
    /// The drain thread, or what it waits on, could not be made.
    #[error("start the thread that drains samples")]
    Drain(#[source] io::Error),
    /// A thread's stack, alternate stack or timer could not be set up.
    #[error("attach this thread: {what}")]
    Attach {
        /// Which step failed.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The calling thread is attached to this or another sampler already.
    #[error("attach this thread: it is attached to a sampler already")]
    AlreadyAttached,
    /// The list of this process's threads could not be read.
    #[error("read which threads this process has")]
    Threads(#[source] io::Error),
    /// The thread whose stack was asked for has ended.
    #[error("capture the stack of thread {tid}: it has ended")]
    ThreadGone {
        /// The kernel's number of it.
        tid: u32,
    },
    /// The thread whose stack was asked for blocks the signal by which it is asked.
    #[error("capture the stack of thread {tid}: it blocks SIGPROF")]
    ThreadBlocks {
        /// The kernel's number of it.
        tid: u32,
    },
    /// The thread whose stack was asked for did not answer in time.
    #[error("capture the stack of thread {tid}: no answer within {within:?}")]
    ThreadSilent {
        /// The kernel's number of it.
        tid: u32,
        /// The time that it was given.
        within: Duration,
    },
    /// A thread could not be asked for its stack.
    #[error("ask a thread for its stack")]
    Ask(#[source] io::Error),
    /// The handlers for signals that end the process could not be installed.
    #[error("install the signal handlers that report crashes")]
    Fatal(#[source] io::Error),
    /// The code overlaps code that is registered.
    #[error("register code at {start}: it overlaps code that is registered already")]
    CodeOverlaps {
        /// Where the refused code starts.
        start: wasmscope_address::HostPc,
    },
}
