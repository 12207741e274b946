//! The stack of another thread.

use super::raw_frame::RawFrame;
use super::stack::{Backtrace, BacktraceEnd};
use super::walker::Walker;
use crate::Error;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use wasmscope_sample::{OsThread, ThreadCapture};

/// More frames than any stack has: 16 bytes is the least that one takes.
const MOST_FRAMES: usize = 1 << 24;

/// What all walkers ask by.
fn thread_capture() -> Result<&'static ThreadCapture, Error> {
    static CAPTURE: OnceLock<ThreadCapture> = OnceLock::new();
    if let Some(capture) = CAPTURE.get() {
        return Ok(capture);
    }
    let capture = ThreadCapture::new()?;
    Ok(CAPTURE.get_or_init(|| capture))
}

impl Walker {
    /// Returns the stack of another thread of this process, as it is at the moment at which
    /// that thread answers, at any instruction of a guest or of the host. The calling thread
    /// may be asked as well.
    ///
    /// The thread is interrupted by SIGPROF, once or, when it does not answer at once, again.
    /// Most of its system calls go on; those that do not (`nanosleep`, `poll`, and whatever
    /// else signal(7) lists) return `EINTR`. The process's handler for the signal is
    /// installed at the first call; a handler that was there still gets what is not for ours.
    /// A [`Profiler`](crate::Profiler) may sample the same thread meanwhile. A thread that has
    /// just answered is let rest first, so that it spends at most a quarter of its time in
    /// answering.
    ///
    /// # Errors
    ///
    /// [`Error::Sample`], in which is why: the thread has ended, blocks the signal, or has not
    /// answered `within` the time that it was given. [`Error::Platform`] where there are no
    /// such signals.
    pub fn capture_thread(&self, thread: OsThread, within: Duration) -> Result<Backtrace, Error> {
        let capture = thread_capture()?;
        let begin = Instant::now();
        let mut frames = Vec::new();
        loop {
            let codes = self.codes();
            let end: BacktraceEnd = capture
                .capture(thread, &codes.map, MOST_FRAMES, within, &mut frames)?
                .into();
            // A guest that was registered meanwhile was host code to this walk.
            let has_changed = self.codes().generation != codes.generation;
            if matches!(end, BacktraceEnd::Cut(_)) && has_changed && begin.elapsed() < within {
                continue;
            }
            let frames = frames.iter().map(|frame| RawFrame::from(*frame));
            return Ok(self.assemble(codes, frames, end));
        }
    }
}
