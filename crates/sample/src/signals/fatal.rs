//! Signals that end the process: the stack that they found, for whoever reports it.
//!
//! Other handlers of the same signals are there for good reasons: the engine's turns faults
//! of guests into traps, the Rust runtime's names stack overflows. So the one that was there
//! before runs first, and what it has dealt with is not reported:
//!
//! ```text
//!   signal --> ours --> the one before --> context changed: a trap, or whatever it was for
//!                |                     \-> returns with the default in place: the process ends
//!                v
//!             report, default disposition, return; the instruction faults again
//! ```
//!
//! When the engine was started later its handler is the first, and calls ours for what is no
//! trap. A handler that ends the process itself does so by SIGABRT as a rule, which comes
//! here as well; the stack is then the one that the first signal found.

#![expect(
    unsafe_code,
    reason = "installs signal handlers, calls those that were there, and reads their contexts"
)]

use super::across::walk_across;
use super::handler::interrupted;
use super::own_stack::OwnStack;
use super::stack_memory::{MappingQuery, StackMemory};
use super::thread::current_tid;
use crate::{CodeMap, Error};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use wasmscope_walk::host::{HostCache, HostObjects, here};
use wasmscope_walk::x86_64::Registers;
use wasmscope_walk::{End, Frame};

/// Gets the stack of a thread whose process is about to end.
///
/// # Signal safety
///
/// Called in a signal handler: an implementation must not allocate, lock, panic, or fault.
pub trait FatalReport: Send + Sync {
    /// Returns the guests' code.
    fn code(&self) -> &CodeMap;

    /// Says which signal it is, and of which thread; 0 for a panic. Comes first.
    fn begin(&self, signal: i32, tid: u32);

    /// Visits a frame, newest first.
    fn frame(&self, frame: Frame);

    /// Says how the walk ended. Comes last.
    fn end(&self, end: End);
}

const SIGNALS: [libc::c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
];

/// What was there before us.
static PREVIOUS: [AtomicPtr<libc::sigaction>; SIGNALS.len()] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; SIGNALS.len()];

/// Who gets reports, or null; a thin pointer to a wide one.
static REPORT: AtomicPtr<Arc<dyn FatalReport>> = AtomicPtr::new(std::ptr::null_mut());

/// How many threads use what [`REPORT`] points to.
static READERS: AtomicUsize = AtomicUsize::new(0);

/// The signal's context whose previous handler runs, and the thread on which.
static OUTER: AtomicPtr<libc::ucontext_t> = AtomicPtr::new(std::ptr::null_mut());
static OUTER_TID: AtomicI32 = AtomicI32::new(0);

/// Means of walking, used by one thread at a time.
struct Means {
    busy: AtomicBool,
    work: UnsafeCell<Work>,
    objects: HostObjects,
    query: MappingQuery,
}

struct Work {
    stack: OwnStack,
    cache: HostCache,
}

// SAFETY: `work` is touched by whoever has set `busy`.
unsafe impl Sync for Means {}

/// Made once, before a handler is installed.
static MEANS: AtomicPtr<Means> = AtomicPtr::new(std::ptr::null_mut());

/// Makes `report` the one that gets the stacks of threads by whose fault the process ends,
/// instead of the one before; `None` makes it nobody. When this returns the one before is not
/// used any more. Installs the process's handlers for SIGSEGV, SIGBUS, SIGILL, SIGFPE and
/// SIGABRT the first time; they stay.
///
/// # Errors
///
/// [`Error::Fatal`]; [`Error::Platform`] where there are no such signals.
pub fn set_fatal_report(report: Option<Arc<dyn FatalReport>>) -> Result<(), Error> {
    static LOCK: Mutex<()> = Mutex::new(());
    let _lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    if report.is_some() {
        install().map_err(Error::Fatal)?;
    }
    let new = report.map_or(std::ptr::null_mut(), |report| {
        Box::into_raw(Box::new(report))
    });
    let old = REPORT.swap(new, Ordering::SeqCst);
    while READERS.load(Ordering::SeqCst) != 0 {
        std::thread::yield_now();
    }
    if !old.is_null() {
        // SAFETY: it came from `Box::into_raw`, and nobody has it any more: those who loaded
        // it before the swap have left, and the others have loaded the new one.
        drop(unsafe { Box::from_raw(old) });
    }
    Ok(())
}

fn install() -> std::io::Result<()> {
    if !MEANS.load(Ordering::Acquire).is_null() {
        return Ok(());
    }
    let means = Means {
        busy: AtomicBool::new(false),
        work: UnsafeCell::new(Work {
            stack: OwnStack::new()?,
            cache: HostCache::new(),
        }),
        objects: HostObjects::load(),
        query: MappingQuery::open(),
    };
    MEANS.store(Box::into_raw(Box::new(means)), Ordering::Release);
    for (signal, previous) in SIGNALS.iter().zip(&PREVIOUS) {
        // SAFETY: sigaction is plain data, for which zero is valid; reading a disposition
        // changes nothing. The handler must know the one before it from its first run on.
        // Ours keeps to what signal-safety(7) allows.
        let failed = unsafe {
            let mut present: libc::sigaction = MaybeUninit::zeroed().assume_init();
            libc::sigaction(*signal, std::ptr::null(), &raw mut present);
            previous.store(Box::into_raw(Box::new(present)), Ordering::Release);
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(*signal, &raw const action, std::ptr::null_mut())
        };
        if failed != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn on_signal(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the C library gives a valid pointer to this thread's errno.
    let errno = unsafe { *libc::__errno_location() };
    let context: *mut libc::ucontext_t = context.cast();
    let tid = current_tid();
    if signal == libc::SIGABRT {
        // What aborts may be a handler of an earlier signal, which found the stack that
        // matters.
        let outer = OUTER.load(Ordering::Acquire);
        let found = match OUTER_TID.load(Ordering::Acquire) == tid && !outer.is_null() {
            true => outer,
            false => context,
        };
        // SAFETY: the kernel gives a valid context to a handler, and the outer handler's is
        // further down on this thread's stacks.
        report(signal, unsafe { interrupted(&*found) });
        if !call_previous(signal, info, context) {
            // SAFETY: raising a signal that is blocked makes it pending; it ends the process
            // when this handler returns.
            unsafe { libc::raise(signal) };
        }
    } else {
        OUTER.store(context, Ordering::Release);
        OUTER_TID.store(tid, Ordering::Release);
        let called = call_previous(signal, info, context);
        OUTER_TID.store(0, Ordering::Release);
        OUTER.store(std::ptr::null_mut(), Ordering::Release);
        // Whoever gives up on a signal puts the default in place and lets it come again.
        if !called || is_default(signal) {
            // SAFETY: as above.
            report(signal, unsafe { interrupted(&*context) });
            // SAFETY: the kernel gives valid `info`; a signal that somebody sent does not come
            // again by itself.
            unsafe {
                if (*info).si_code <= 0 {
                    libc::raise(signal);
                }
            }
        }
    }
    // SAFETY: as at the beginning.
    unsafe { *libc::__errno_location() = errno };
}

/// Calls the handler that was there before ours. Where there was none, puts the default in
/// place and returns false.
fn call_previous(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::ucontext_t,
) -> bool {
    let mut known = SIGNALS.iter().zip(&PREVIOUS);
    let previous = known.find(|(known, _)| **known == signal);
    // SAFETY: the pointer is null or came from a leaked box.
    let previous =
        previous.and_then(|(_, place)| unsafe { place.load(Ordering::Acquire).as_ref() });
    match previous {
        Some(previous) if ![libc::SIG_DFL, libc::SIG_IGN].contains(&previous.sa_sigaction) => {
            // SAFETY: whoever installed it said which of the two signatures it has.
            unsafe {
                if previous.sa_flags & libc::SA_SIGINFO != 0 {
                    let handler: extern "C" fn(
                        libc::c_int,
                        *mut libc::siginfo_t,
                        *mut libc::c_void,
                    ) = std::mem::transmute(previous.sa_sigaction);
                    handler(signal, info, context.cast());
                } else {
                    let handler: extern "C" fn(libc::c_int) =
                        std::mem::transmute(previous.sa_sigaction);
                    handler(signal);
                }
            }
            true
        }
        _ => {
            // SAFETY: the default is a valid disposition.
            unsafe {
                let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const action, std::ptr::null_mut());
            }
            false
        }
    }
}

fn is_default(signal: libc::c_int) -> bool {
    // SAFETY: sigaction is plain data, for which zero is valid; reading changes nothing.
    unsafe {
        let mut present: libc::sigaction = MaybeUninit::zeroed().assume_init();
        libc::sigaction(signal, std::ptr::null(), &raw mut present);
        present.sa_sigaction == libc::SIG_DFL
    }
}

/// Reports the calling thread's stack, as for a panic, if anybody wants it.
///
/// # Signal safety
///
/// Safe in a signal handler, if the report is.
#[inline(never)]
pub fn report_this_thread() {
    report(0, here());
}

/// Walks from `registers`, on the calling thread, and reports.
fn report(signal: libc::c_int, registers: Registers) {
    /// Leaves, whatever happens.
    struct Reading;
    impl Drop for Reading {
        fn drop(&mut self) {
            READERS.fetch_sub(1, Ordering::SeqCst);
        }
    }
    READERS.fetch_add(1, Ordering::SeqCst);
    let _reading = Reading;
    // SAFETY: whoever replaces it waits until there are no readers; means are never freed.
    let (report, means) = unsafe {
        (
            REPORT.load(Ordering::SeqCst).as_ref(),
            MEANS.load(Ordering::Acquire).as_ref(),
        )
    };
    let (Some(report), Some(means)) = (report, means) else {
        return;
    };
    // Others that report go first; one that does not come to an end is not waited for.
    const TURNS: usize = 1000;
    let mut turns = 0usize;
    while means.busy.swap(true, Ordering::Acquire) {
        turns = turns.wrapping_add(1);
        if turns > TURNS {
            return;
        }
        let millisecond = libc::timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        // SAFETY: a live value; nanosleep is async-signal-safe.
        unsafe { libc::nanosleep(&raw const millisecond, std::ptr::null_mut()) };
    }
    // SAFETY: `busy` says that it is ours.
    let Work { stack, cache } = unsafe { &mut *means.work.get() };
    stack.run(|| {
        report.begin(signal, current_tid().unsigned_abs());
        let memory = StackMemory::at_or_above(registers.sp, &means.query);
        let mut visit = |frame| {
            report.frame(frame);
            ControlFlow::Continue(())
        };
        let end = walk_across(
            registers,
            memory,
            report.code(),
            &means.objects,
            cache,
            &means.query,
            &mut visit,
        );
        report.end(end);
    });
    means.busy.store(false, Ordering::Release);
}

/// Writes to standard error at once.
///
/// # Signal safety
///
/// As many calls of `write` as it takes; gives up at the first error.
pub fn write_to_stderr(text: &[u8]) {
    let mut rest = text;
    while !rest.is_empty() {
        // SAFETY: live bytes, which are only read.
        let written = unsafe { libc::write(2, rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(written)
            .ok()
            .and_then(|written| rest.get(written..))
        {
            Some(more) if written > 0 => rest = more,
            _ => return,
        }
    }
}
