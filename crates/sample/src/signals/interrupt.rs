//! The stack of another thread of this process.
//!
//! ```text
//!   whoever asks                                the thread that is asked
//!   ------------                                ------------------------
//!   slot: question, ASKED
//!   rt_tgsigqueueinfo(token) -----SIGPROF---->  handler: token -> slot
//!   waits                                         ASKED -> ANSWERING, or go on
//!                                                 walk, on the slot's own stack
//!   reads the frames     <-------eventfd------    ANSWERED
//! ```
//!
//! Everything that the handler uses belongs to the slot, and slots are never freed. So a
//! thread that answers late, when nobody waits any more, finds memory that is there; and
//! a token leads to an answer only while its question is open.

#![expect(unsafe_code, reason = "queues a signal for one thread")]

mod slot;
mod turns;

use super::handler::{self, SIGNAL};
use super::os_thread::OsThread;
use super::stack_memory::MappingQuery;
use crate::{CodeMap, Error, monotonic_nanos};
use slot::{OwnedSlot, Question, Token};
use std::sync::Arc;
use std::time::Duration;
use wasmscope_walk::host::HostObjects;
use wasmscope_walk::{End, Frame};

pub(crate) use slot::{answer, answer_all};

/// What our signals have as `si_code`: below zero, as the kernel asks of programs, and not
/// one that it or a C library uses.
const CODE: libc::c_int = -0x5773;

/// After so long a signal that was not answered is sent again, and then after twice as long,
/// up to the longest: somebody else's handler may have swallowed it.
const AGAIN: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(64);

/// Frames that a first question has room for; when a stack is deeper, the thread is asked
/// again.
const FIRST_ROOM: usize = 1024;

/// Captures the stacks of other threads of this process.
///
/// Each is asked by a signal, SIGPROF, and walks its own stack in the handler, at whatever
/// instruction it is: in a guest, in the host, or in a system call, which is begun again
/// where the system does that (`SA_RESTART`). Several may ask at once, the same thread too;
/// a [`Sampler`](crate::Sampler) may run beside.
#[derive(Clone, Debug)]
pub struct ThreadCapture {
    objects: Arc<HostObjects>,
    query: Arc<MappingQuery>,
}

impl ThreadCapture {
    /// Prepares to capture: reads which libraries are loaded, and installs the process's
    /// handler for SIGPROF, unless it is there.
    ///
    /// # Errors
    ///
    /// [`Error::Handler`], and [`Error::Platform`] where threads cannot be walked.
    pub fn new() -> Result<Self, Error> {
        handler::install()?;
        Ok(Self {
            objects: Arc::new(HostObjects::load()),
            query: Arc::new(MappingQuery::open()),
        })
    }

    /// Replaces `frames` with the stack of `thread`, newest first: the guest frames that
    /// `code` knows, and the host's. Stops after `at_most` frames. The calling thread may
    /// be asked as well. A thread that has just answered is let rest first, so that it spends
    /// at most a quarter of its time in answering.
    ///
    /// `code` must be what is there when the thread answers: whoever keeps it lets no guest
    /// come or go until this returns.
    ///
    /// # Errors
    ///
    /// - [`Error::ThreadGone`]: the thread ended before it answered.
    /// - [`Error::ThreadSilent`]: it did not answer in time; it is stopped, in a system call
    ///   that cannot be interrupted, gets no time on a processor, or somebody else handles
    ///   SIGPROF now.
    /// - [`Error::ThreadBlocks`]: the same, and it blocks the signal.
    /// - [`Error::Ask`]: the system refused to send the signal, or there are too many
    ///   questions at once.
    pub fn capture(
        &self,
        thread: OsThread,
        code: &Arc<CodeMap>,
        at_most: usize,
        within: Duration,
        frames: &mut Vec<Frame>,
    ) -> Result<End, Error> {
        // It may have been reset to its default since.
        handler::install()?;
        let mut slot = OwnedSlot::take().map_err(Error::Ask)?;
        let mut room = at_most.clamp(1, FIRST_ROOM);
        loop {
            turns::wait(thread.tid());
            let deadline = monotonic_nanos().saturating_add(nanos(within));
            let token = slot.ask(Question {
                tid: thread.tid(),
                code,
                objects: &self.objects,
                query: &self.query,
                room,
            });
            Self::wait(&mut slot, token, thread, within, deadline)?;
            let (answer, is_full) = slot.answer();
            turns::answered(thread.tid(), answer.took);
            if is_full && room < at_most {
                room = room.saturating_mul(4).min(at_most);
                continue;
            }
            frames.clear();
            frames.extend_from_slice(answer.frames);
            let end = answer.end;
            // It lives now and lived when it was named, so nobody else had its number when
            // it answered.
            if !thread.is_alive() {
                frames.clear();
                return Err(Error::ThreadGone { tid: thread.tid() });
            }
            return Ok(end);
        }
    }

    /// Sends the signal until it is answered.
    fn wait(
        slot: &mut OwnedSlot,
        token: Token,
        thread: OsThread,
        within: Duration,
        deadline: u64,
    ) -> Result<(), Error> {
        let mut patience = AGAIN;
        loop {
            let sent = send(thread.tid(), token);
            let left = Duration::from_nanos(deadline.saturating_sub(monotonic_nanos()));
            if sent.is_ok() && slot.wait(patience.min(left)) {
                return Ok(());
            }
            patience = patience.saturating_mul(2).min(LONGEST);
            if sent.is_ok() && monotonic_nanos() < deadline {
                continue;
            }
            if slot.withdraw() {
                return Err(match sent {
                    Ok(()) => Self::silent(thread, within),
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                        Error::ThreadGone { tid: thread.tid() }
                    }
                    Err(error) => Error::Ask(error),
                });
            }
            // It is answering already: an earlier signal got there. It may have been put
            // off the processor meanwhile; then the slot is its own until it is done.
            let more = monotonic_nanos().saturating_add(nanos(within));
            loop {
                let left = more.saturating_sub(monotonic_nanos());
                if slot.wait(Duration::from_nanos(left)) {
                    return Ok(());
                }
                if left == 0 {
                    return Err(Self::silent(thread, within));
                }
            }
        }
    }

    fn silent(thread: OsThread, within: Duration) -> Error {
        let tid = thread.tid();
        if !thread.is_alive() {
            Error::ThreadGone { tid }
        } else if thread.blocks(SIGNAL) {
            Error::ThreadBlocks { tid }
        } else {
            Error::ThreadSilent { tid, within }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns the token, if the signal is one of ours.
///
/// # Signal safety
///
/// Reads `info`.
pub(crate) fn token_in(info: &libc::siginfo_t) -> Option<Token> {
    if info.si_code != CODE {
        return None;
    }
    // SAFETY: with this code the kernel delivers the value that was queued.
    let value = unsafe { info.si_value() };
    Some(Token(value.sival_ptr as u64))
}

/// Queues our signal, with `token` in it, for one thread of this process.
fn send(tid: u32, token: Token) -> std::io::Result<()> {
    /// `siginfo_t` of a queued signal, as the kernel lays it out.
    #[repr(C)]
    struct QueuedInfo {
        signo: i32,
        errno: i32,
        code: i32,
        _align: [u64; 0],
        pid: i32,
        uid: u32,
        value: u64,
        rest: [u64; 12],
    }
    const { assert!(size_of::<QueuedInfo>() == size_of::<libc::siginfo_t>()) };
    // SAFETY: neither has preconditions.
    let (pid, uid) = unsafe { (libc::getpid(), libc::getuid()) };
    let info = QueuedInfo {
        signo: SIGNAL,
        errno: 0,
        code: CODE,
        _align: [],
        pid,
        uid,
        value: token.0,
        rest: [0; 12],
    };
    // SAFETY: `info` is a live value of the size and layout of `siginfo_t`. The thread's
    // handler for the signal is ours, or somebody's who installed it later.
    let failed = unsafe {
        libc::syscall(
            libc::SYS_rt_tgsigqueueinfo,
            pid,
            tid,
            SIGNAL,
            &raw const info,
        )
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}
