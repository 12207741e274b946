//! Where one question waits for its answer.
//!
//! A slot's state is its phase and the number of its question. Only the asker moves it
//! away from `IDLE` and `ANSWERED`, only the thread that is asked moves it away from
//! `ANSWERING`, and from `ASKED` each of them may, by one exchange that one of them wins:
//!
//! ```text
//!            ask                answer               done
//!   IDLE ----------> ASKED ------------> ANSWERING ---------> ANSWERED
//!     ^                |                                          |
//!     +---- withdraw --+                    ask again: ASKED <----+
//! ```

#![expect(
    unsafe_code,
    reason = "shares a question with a signal handler; the phase says whose it is"
)]

use crate::signals::across::walk_across;
use crate::signals::handler::interrupted;
use crate::signals::own_stack::OwnStack;
use crate::signals::stack_memory::{MappingQuery, StackBounds, StackMemory};
use crate::signals::thread::current_tid;
use crate::signals::wake::Wake;
use crate::{CodeMap, monotonic_nanos};
use std::cell::UnsafeCell;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wasmscope_walk::host::{HostCache, HostObjects};
use wasmscope_walk::{End, Frame};

const IDLE: u32 = 0;
const ASKED: u32 = 1;
const ANSWERING: u32 = 2;
const ANSWERED: u32 = 3;
const PHASE: u32 = 3;
/// One more question.
const QUESTION: u32 = 4;

/// Questions that may be open at once.
const MOST: usize = 64;

/// All slots that were ever made, by number.
static SLOTS: [AtomicPtr<Slot>; MOST] = [const { AtomicPtr::new(std::ptr::null_mut()) }; MOST];

/// How many questions are open, or were and are being closed.
static OPEN: AtomicU32 = AtomicU32::new(0);

/// Which of them somebody has.
static TAKEN: Mutex<u64> = Mutex::new(0);

/// What a signal carries: the slot's number in the upper half, the question's in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(super) u64);

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) tid: u32,
    pub(super) code: &'a Arc<CodeMap>,
    pub(super) objects: &'a Arc<HostObjects>,
    pub(super) query: &'a Arc<MappingQuery>,
    /// The most frames that the answer may have.
    pub(super) room: usize,
}

/// What was answered.
pub(super) struct Answer<'a> {
    pub(super) frames: &'a [Frame],
    pub(super) end: End,
    /// How many nanoseconds the handler took.
    pub(super) took: u64,
}

struct Slot {
    /// The question's number, and the phase in the lowest two bits.
    state: AtomicU32,
    /// Who is asked.
    tid: AtomicU32,
    /// Of the thread that the phase names: the asker's, and the handler's in `ANSWERING`.
    work: UnsafeCell<Work>,
    answered: Wake,
}

struct Work {
    known: Option<Known>,
    cache: HostCache,
    stack: OwnStack,
    frames: Vec<Frame>,
    room: usize,
    end: End,
    took: u64,
}

/// What walking takes, kept by the slot for as long as a handler may use it.
struct Known {
    code: Arc<CodeMap>,
    objects: Arc<HostObjects>,
    query: Arc<MappingQuery>,
}

// SAFETY: `work` is touched by one thread at a time, which the phase says; the rest is made
// for sharing.
unsafe impl Sync for Slot {}

/// A slot that the calling thread has.
pub(super) struct OwnedSlot {
    index: usize,
    slot: &'static Slot,
    /// Whether it has been asked since it was taken.
    is_open: bool,
}

impl OwnedSlot {
    /// Takes a slot that nobody has, or makes one.
    pub(super) fn take() -> io::Result<Self> {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, place) in SLOTS.iter().enumerate() {
            if *taken & (1 << index) != 0 {
                continue;
            }
            // SAFETY: slots are never freed.
            let slot = match unsafe { place.load(Ordering::Acquire).as_ref() } {
                // Somebody gave up on it, and the answer is still being written.
                Some(slot) if slot.phase() == ANSWERING => continue,
                Some(slot) => slot,
                None => {
                    let slot: &'static Slot = Box::leak(Box::new(Slot::new()?));
                    place.store(std::ptr::from_ref(slot).cast_mut(), Ordering::Release);
                    slot
                }
            };
            *taken |= 1 << index;
            return Ok(Self {
                index,
                slot,
                is_open: false,
            });
        }
        Err(io::Error::new(
            io::ErrorKind::QuotaExceeded,
            "too many threads are being asked at once",
        ))
    }

    /// Opens a question and returns the token that the signal must carry.
    ///
    /// The one before must have been answered or withdrawn.
    pub(super) fn ask(&mut self, question: Question<'_>) -> Token {
        let slot = self.slot;
        let state = slot.state.load(Ordering::Relaxed);
        debug_assert!(state & PHASE == IDLE || state & PHASE == ANSWERED);
        // SAFETY: in these phases the slot's work is its owner's.
        let work = unsafe { &mut *slot.work.get() };
        work.known = Some(Known {
            code: question.code.clone(),
            objects: question.objects.clone(),
            query: question.query.clone(),
        });
        work.frames.clear();
        work.frames.reserve(question.room);
        work.room = question.room;
        slot.tid.store(question.tid, Ordering::Relaxed);
        // What an answer to an earlier question may have left.
        slot.answered.wait_exactly(Duration::ZERO);
        let number = (state & !PHASE).wrapping_add(QUESTION);
        if !std::mem::replace(&mut self.is_open, true) {
            OPEN.fetch_add(1, Ordering::SeqCst);
        }
        slot.state.store(number | ASKED, Ordering::SeqCst);
        token(self.index, number)
    }

    /// Waits for the answer and tells whether it is there.
    pub(super) fn wait(&self, period: Duration) -> bool {
        if self.slot.phase() != ANSWERED {
            self.slot.answered.wait_exactly(period);
        }
        self.slot.phase() == ANSWERED
    }

    /// Closes the question, unless it is being answered or was: then returns false.
    pub(super) fn withdraw(&mut self) -> bool {
        let state = self.slot.state.load(Ordering::Relaxed) & !PHASE;
        self.slot
            .state
            .compare_exchange(
                state | ASKED,
                state | IDLE,
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// Returns the answer, which must be there, and whether it takes all the room.
    pub(super) fn answer(&self) -> (Answer<'_>, bool) {
        assert_eq!(self.slot.phase(), ANSWERED, "there is an answer");
        // SAFETY: in this phase the slot's work is its owner's.
        let work = unsafe { &*self.slot.work.get() };
        let answer = Answer {
            frames: &work.frames,
            end: work.end,
            took: work.took,
        };
        (answer, work.frames.len() >= work.room)
    }
}

impl Drop for OwnedSlot {
    fn drop(&mut self) {
        if self.is_open {
            OPEN.fetch_sub(1, Ordering::SeqCst);
        }
        if self.slot.phase() != ANSWERING {
            // SAFETY: in the other phases the slot's work is its owner's; a question that
            // is open still was withdrawn by whoever opened it.
            let work = unsafe { &mut *self.slot.work.get() };
            // A guest that is gone must not stay because somebody once asked about it.
            work.known = None;
        }
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) &= !(1 << self.index);
    }
}

impl Slot {
    fn new() -> io::Result<Self> {
        Ok(Self {
            state: AtomicU32::new(IDLE),
            tid: AtomicU32::new(0),
            work: UnsafeCell::new(Work {
                known: None,
                cache: HostCache::new(),
                stack: OwnStack::new()?,
                frames: Vec::new(),
                room: 0,
                end: End::LeftGuest,
                took: 0,
            }),
            answered: Wake::new()?,
        })
    }

    fn phase(&self) -> u32 {
        self.state.load(Ordering::Acquire) & PHASE
    }
}

/// Answers the question that `token` belongs to, if it is open and asks this thread.
///
/// # Signal safety
///
/// Walks, as the sampler's handler does, on the slot's own stack; a handful of system calls
/// that are async-signal-safe.
pub(crate) fn answer(token: Token, context: &libc::ucontext_t) {
    let index = (token.0 >> 32) as usize;
    let number = token.0 as u32 & !PHASE;
    let Some(place) = SLOTS.get(index) else {
        return;
    };
    // SAFETY: slots are never freed.
    let Some(slot) = (unsafe { place.load(Ordering::Acquire).as_ref() }) else {
        return;
    };
    // Whoever has the same number later is asked by a question of its own.
    if slot.tid.load(Ordering::Relaxed) != current_tid().unsigned_abs() {
        return;
    }
    let ours = slot.state.compare_exchange(
        number | ASKED,
        number | ANSWERING,
        Ordering::Acquire,
        Ordering::Relaxed,
    );
    if ours.is_err() {
        return;
    }
    // SAFETY: in this phase the slot's work is this handler's, which came first.
    let work = unsafe { &mut *slot.work.get() };
    let Work {
        known,
        cache,
        stack,
        frames,
        room,
        end,
        took,
    } = work;
    let begin = monotonic_nanos();
    if let Some(known) = known {
        stack.run(|| *end = record(known, cache, frames, *room, context));
    }
    *took = monotonic_nanos().wrapping_sub(begin);
    slot.state.store(number | ANSWERED, Ordering::Release);
    slot.answered.wake();
}

/// Answers all open questions that ask this thread. The kernel drops a signal that finds
/// another of its number pending for its thread, as that of a sampler's timer often is: then
/// the other one says that there may be a question.
///
/// # Signal safety
///
/// As [`answer`].
pub(crate) fn answer_all(context: &libc::ucontext_t) {
    if OPEN.load(Ordering::SeqCst) == 0 {
        return;
    }
    for (index, place) in SLOTS.iter().enumerate() {
        // SAFETY: slots are never freed.
        let Some(slot) = (unsafe { place.load(Ordering::Acquire).as_ref() }) else {
            // They are made in order.
            return;
        };
        let state = slot.state.load(Ordering::SeqCst);
        if state & PHASE == ASKED {
            answer(token(index, state & !PHASE), context);
        }
    }
}

fn token(index: usize, number: u32) -> Token {
    Token((index as u64) << 32 | u64::from(number))
}

fn record(
    known: &Known,
    cache: &mut HostCache,
    frames: &mut Vec<Frame>,
    room: usize,
    context: &libc::ucontext_t,
) -> End {
    let registers = interrupted(context);
    let memory = StackMemory::at(registers.sp, StackBounds::NONE, &known.query);
    // Pushing beyond the capacity would allocate.
    let room = room.min(frames.capacity());
    let mut visit = |frame| {
        if frames.len() < room {
            frames.push(frame);
        }
        if frames.len() < room {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    let Known {
        code,
        objects,
        query,
    } = known;
    walk_across(registers, memory, code, objects, cache, query, &mut visit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OsThread;

    #[test]
    fn a_question_is_answered_once_or_withdrawn() {
        let mut slot = OwnedSlot::take().expect("there is room");
        let code = Arc::new(CodeMap::default());
        let objects = Arc::new(HostObjects::load());
        let query = Arc::new(MappingQuery::open());
        let question = |tid| Question {
            tid,
            code: &code,
            objects: &objects,
            query: &query,
            room: 16,
        };
        let here = OsThread::current().expect("proc").tid();
        let mut context = std::mem::MaybeUninit::<libc::ucontext_t>::zeroed();
        // SAFETY: fills the context of this thread; zero is valid for the rest of it.
        let context = unsafe {
            libc::getcontext(context.as_mut_ptr());
            context.assume_init()
        };

        let token = slot.ask(question(here));
        assert!(!slot.wait(Duration::ZERO));
        answer(Token(token.0 + 4), &context);
        answer(Token(u64::MAX), &context);
        assert!(!slot.wait(Duration::ZERO), "forged");
        answer(token, &context);
        assert!(slot.wait(Duration::ZERO));
        let length = slot.answer().0.frames.len();
        assert!(length > 3);
        answer(token, &context);
        assert_eq!(slot.answer().0.frames.len(), length, "late");
        assert!(!slot.withdraw());

        let token = slot.ask(question(here));
        assert!(slot.withdraw());
        answer(token, &context);
        assert!(!slot.wait(Duration::ZERO), "withdrawn");

        let token = slot.ask(question(here + 1));
        answer(token, &context);
        assert!(!slot.wait(Duration::ZERO), "asks somebody else");
        assert!(slot.withdraw());
    }
}
