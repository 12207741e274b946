//! The signal handler: walks the interrupted stack into the thread's ring.
//!
//! Everything that it touches was made before the timer was armed. It allocates
//! nothing, takes no lock, makes at most a handful of system calls that are
//! async-signal-safe (clocks, one question about a mapping when on a fiber, one
//! write to wake the drain thread), restores `errno`, and cannot panic.

#![expect(
    unsafe_code,
    reason = "installs a signal handler, reads its context, and finds the thread's state through a raw pointer"
)]

use super::cpu_clock::thread_cpu_nanos;
use super::host_run::{HostRun, HostRuns};
use super::interrupt;
use super::label;
use super::published::Published;
use super::record::RecordWriter;
use super::stack_memory::{MappingQuery, StackMemory};
use super::thread::{Counts, ThreadState, Timing};
use super::timer::Origin;
use super::wake::Wake;
use crate::now::monotonic_nanos;
use crate::{Clock, CodeMap, Error, HostFrames, Mechanism, RawFrame, Sample, StackEnd, ThreadId};
use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wasmscope_address::HostPc;
use wasmscope_walk::host::{HostCache, HostObjects, HostUnwinder};
use wasmscope_walk::{End, FrameKind, Native, walk};

/// The signal that timers send. `perf` and Go's profiler use the same.
pub(crate) const SIGNAL: libc::c_int = libc::SIGPROF;

/// What all handlers of one sampler share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) code: Published<View>,
    pub(crate) host_frames: HostFrames,
    pub(crate) cpu_time: bool,
    pub(crate) max_frames: usize,
    pub(crate) query: Arc<MappingQuery>,
    /// Wakes the drain thread.
    pub(crate) wake: Wake,
}

/// What walkers know about this process's code.
#[derive(Debug)]
pub(crate) struct View {
    /// Differs from that of every other view of the same sampler; never 0.
    pub(crate) generation: u64,
    pub(crate) guests: CodeMap,
    pub(crate) host: Arc<HostObjects>,
}

/// What one thread's handler works with.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) state: Arc<ThreadState>,
    pub(crate) shared: Arc<Shared>,
    /// Touched by the handler only, of which one at a time runs on a thread,
    /// because its signal is blocked meanwhile.
    pub(crate) scratch: UnsafeCell<Scratch>,
}

/// What one thread's handler keeps from one sample to the next.
#[derive(Debug)]
pub(crate) struct Scratch {
    cache: HostCache,
    runs: HostRuns,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            cache: HostCache::new(),
            runs: HostRuns::new(),
        }
    }
}

thread_local! {
    /// The calling thread's attachment, or null. Needs no destructor, so that the
    /// handler's access to it is a plain load.
    static CURRENT: Cell<*const Attachment> = const { Cell::new(std::ptr::null()) };
}

/// Makes `attachment` the one that the calling thread's handler uses; the caller
/// keeps it alive until it calls [`leave`].
pub(crate) fn enter(attachment: *const Attachment) {
    label::reset();
    CURRENT.set(attachment);
}

/// Makes the calling thread's handler do nothing from here on.
pub(crate) fn leave() {
    CURRENT.set(std::ptr::null());
    // The handler runs on this same thread: the compiler alone could reorder.
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
}

/// Tells whether the calling thread has an attachment.
pub(crate) fn is_attached() -> bool {
    !CURRENT.get().is_null()
}

/// Returns the calling thread's number and label, if it has an attachment.
pub(crate) fn current_thread() -> Option<(ThreadId, u64)> {
    // SAFETY: not null means that this thread's guard is alive, and with it the
    // attachment.
    let attachment = unsafe { CURRENT.get().as_ref() }?;
    let here = 0u8;
    let sp = std::hint::black_box(&raw const here) as u64;
    let Attachment { state, shared, .. } = attachment;
    let label = label::at(sp, state.stack, |stack| {
        StackMemory::at(sp, state.stack, &shared.query).is_of_same_stack(stack)
    });
    Some((state.id, label))
}

/// Tells whether two addresses, the first of them on the stack that the caller runs on, are on
/// one stack. On a thread that is not attached none are.
pub(crate) fn are_on_one_stack(here: u64, other: u64) -> bool {
    // SAFETY: not null means that this thread's guard is alive, and with it the
    // attachment.
    let Some(Attachment { state, shared, .. }) = (unsafe { CURRENT.get().as_ref() }) else {
        return false;
    };
    StackMemory::at(here, state.stack, &shared.query).is_of_same_stack(other)
}

/// Sets the calling thread's label and returns the one before; returns `None`, and
/// does nothing, when the thread is not attached.
pub(crate) fn set_label(label: u64) -> Option<u64> {
    is_attached().then(|| label::set(label))
}

/// What was there before us, for signals that are not ours.
static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());

/// Installs the handler for the process, unless it is there. It stays: a signal on
/// its way would otherwise end the process. Puts it back where somebody has reset
/// the signal to its default since; another handler is left in place, since it may
/// well call ours.
pub(crate) fn install() -> Result<(), Error> {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    // SAFETY: sigaction is plain data, for which zero is valid.
    let mut present: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: it is live; reading the disposition changes nothing.
    unsafe {
        libc::sigaction(SIGNAL, std::ptr::null(), &raw mut present);
    }
    if *installed {
        if ![libc::SIG_DFL, libc::SIG_IGN].contains(&present.sa_sigaction) {
            return Ok(());
        }
    } else {
        // The handler must know the one before it from its first run on.
        PREVIOUS.store(Box::into_raw(Box::new(present)), Ordering::Release);
    }
    // SAFETY: as above.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = on_signal as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: `action` is complete, and its handler keeps to what signal-safety(7)
    // allows.
    if unsafe { libc::sigaction(SIGNAL, &raw const action, std::ptr::null_mut()) } != 0 {
        return Err(Error::Handler(std::io::Error::last_os_error()));
    }
    *installed = true;
    Ok(())
}

extern "C" fn on_signal(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the C library gives a valid pointer to this thread's errno.
    let errno = unsafe { *libc::__errno_location() };
    let current = CURRENT.try_with(Cell::get).unwrap_or(std::ptr::null());
    // SAFETY: not null means that this thread's guard is alive, and with it the
    // attachment; the kernel gives valid `info` and `context` to an SA_SIGINFO
    // handler.
    let ours = unsafe {
        match (info.as_ref(), context.cast::<libc::ucontext_t>().as_ref()) {
            (Some(info), Some(context)) => match interrupt::token_in(info) {
                Some(token) => {
                    interrupt::answer(token, context);
                    true
                }
                None => {
                    let ours = current
                        .as_ref()
                        .is_some_and(|attachment| on_tick(attachment, info, context));
                    interrupt::answer_all(context);
                    ours
                }
            },
            _ => false,
        }
    };
    if !ours {
        chain(signal, info, context);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Passes a signal that is not ours to whoever handled it before us. A default
/// disposition, which would end the process, is not carried out: a tick of ours
/// may arrive late, when its timer is gone.
fn chain(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the pointer is null or came from a leaked box.
    let Some(previous) = (unsafe { PREVIOUS.load(Ordering::Acquire).as_ref() }) else {
        return;
    };
    let handler = previous.sa_sigaction;
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        return;
    }
    if previous.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: whoever installed it said that it has this signature.
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
            unsafe { std::mem::transmute(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: whoever installed it said that it has this signature.
        let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(handler) };
        handler(signal);
    }
}

/// Handles a signal; returns false when it is not from this thread's timer.
fn on_tick(attachment: &Attachment, info: &libc::siginfo_t, context: &libc::ucontext_t) -> bool {
    let state = &*attachment.state;
    // Not set yet: a tick between arming the timer and noting how.
    let Some(timing) = state.timing.get() else {
        return false;
    };
    let Some(overruns) = overruns_if_from(timing.origin, info) else {
        return false;
    };
    let now = monotonic_nanos();
    let cpu = (attachment.shared.cpu_time || timing.mechanism.clock() == Clock::Cpu)
        .then(thread_cpu_nanos);
    let counts = &state.counts;
    if let Some(ticks) = ticks_due(state, timing, overruns, cpu) {
        if now < counts.rest_until.load(Ordering::Relaxed) {
            Counts::add(&counts.lost, ticks);
            Counts::add(&counts.carried, ticks);
            return true;
        }
        take_sample(attachment, context, now, cpu, ticks);
    }
    let end = monotonic_nanos();
    let took = end.wrapping_sub(now);
    let spent = match (timing.mechanism.clock(), cpu) {
        (Clock::Cpu, Some(cpu)) => thread_cpu_nanos().saturating_sub(cpu),
        _ => took,
    };
    Counts::add(&counts.spent, spent);
    // One long handler may have been put off the processor meanwhile; two in a row
    // are long.
    let cost = took.min(counts.last_took.swap(took, Ordering::Relaxed));
    if cost > state.interval / REST {
        let until = end.wrapping_add(cost.saturating_mul(REST - 1));
        counts.rest_until.store(until, Ordering::Relaxed);
    }
    true
}

/// The handler takes at most one in so many nanoseconds of a thread's time. A stack
/// may be so deep, and a rate so high, that walking it takes longer than the time
/// to the next tick; the thread would then do nothing else, for ever. Instead, ticks
/// are lost, and counted as such, until it has had its share.
const REST: u64 = 4;

/// Returns how many ticks have become due with this signal; `None` when none has.
fn ticks_due(state: &ThreadState, timing: &Timing, overruns: u64, cpu: Option<u64>) -> Option<u64> {
    match timing.mechanism {
        Mechanism::MonotonicTimer => Some(overruns.wrapping_add(1)),
        Mechanism::TaskClock | Mechanism::MonotonicTimerOnCpuTime => {
            let accounted = state
                .counts
                .kept
                .load(Ordering::Relaxed)
                .wrapping_add(state.counts.lost.load(Ordering::Relaxed));
            let ticks = state.ticks_at(timing, cpu?).saturating_sub(accounted);
            (ticks > 0).then_some(ticks)
        }
    }
}

fn take_sample(
    attachment: &Attachment,
    context: &libc::ucontext_t,
    now: u64,
    cpu: Option<u64>,
    ticks: u64,
) {
    let Attachment { state, shared, .. } = attachment;
    let counts = &state.counts;
    let missed = ticks.wrapping_sub(1);
    Counts::add(&counts.lost, missed);
    Counts::add(&counts.carried, missed);

    let stack = shared.code.read(&state.slot, |view| {
        let mut record = RecordWriter::begin(state.ring.begin())?;
        // SAFETY: only this handler touches it, and it does not nest.
        let scratch = unsafe { &mut *attachment.scratch.get() };
        let (end, label) = record_stack(&mut record, view, scratch, attachment, context)?;
        Some((record, end, label))
    });
    let Some((record, end, label)) = stack else {
        Counts::add(&counts.lost, 1);
        Counts::add(&counts.carried, 1);
        return;
    };
    let before = counts.last_cpu.load(Ordering::Relaxed);
    let ticks = counts.carried.load(Ordering::Relaxed).wrapping_add(1);
    // Handlers longer than the time to the next tick are taken off later ones.
    let in_handler = counts
        .spent
        .load(Ordering::Relaxed)
        .wrapping_sub(counts.taken_off.load(Ordering::Relaxed))
        .min(ticks.saturating_mul(state.interval));
    let half_full = record.commit(&Sample {
        monotonic_nanos: now,
        ticks,
        in_handler: Duration::from_nanos(in_handler),
        cpu: cpu.map(|cpu| Duration::from_nanos(cpu.saturating_sub(before))),
        label,
        end,
        frames: &[],
    });
    counts.carried.store(0, Ordering::Relaxed);
    Counts::add(&counts.taken_off, in_handler);
    if let Some(cpu) = cpu {
        counts.last_cpu.store(cpu, Ordering::Relaxed);
    }
    Counts::add(&counts.kept, 1);
    if half_full {
        shared.wake.wake();
    }
}

/// Walks the interrupted stack into `record`, and finds the label that is in effect on it;
/// `None` when the ring is full.
fn record_stack(
    record: &mut RecordWriter<'_>,
    view: &View,
    scratch: &mut Scratch,
    attachment: &Attachment,
    context: &libc::ucontext_t,
) -> Option<(StackEnd, u64)> {
    let Attachment { state, shared, .. } = attachment;
    let registers = interrupted(context);
    let memory = StackMemory::at(registers.sp, state.stack, &shared.query);
    let label = label::at(registers.sp, state.stack, |stack| {
        memory.is_of_same_stack(stack)
    });
    let unwinder = HostUnwinder::new(&view.host, &mut scratch.cache);
    let mut frames = 0usize;
    let mut full = false;
    let mut visit = |raw| {
        full = !record.frame(raw);
        frames = frames.wrapping_add(1);
        if full || frames >= shared.max_frames {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let end = match shared.host_frames {
        HostFrames::Omit => {
            let mut host = HostRun {
                unwinder,
                guests: &view.guests,
                runs: &mut scratch.runs,
                generation: view.generation,
            };
            // One visit of the host for each run of its frames.
            walk::<Native>(registers, &memory, &view.guests, &mut host, |frame| {
                visit(match frame.kind {
                    FrameKind::Guest => RawFrame::guest(frame.pc, frame.is_return_address),
                    FrameKind::Host => RawFrame::HOST_RUN,
                })
            })
        }
        HostFrames::Keep => {
            let mut host = unwinder;
            walk::<Native>(registers, &memory, &view.guests, &mut host, |frame| {
                visit(match frame.kind {
                    FrameKind::Guest => RawFrame::guest(frame.pc, frame.is_return_address),
                    FrameKind::Host => RawFrame::host(frame.pc, frame.is_return_address),
                })
            })
        }
    };
    if full {
        return None;
    }
    Some((stack_end(end), label))
}

/// Returns how often the timer expired beyond the once that this signal stands for,
/// or `None` when the signal is not from `origin`.
fn overruns_if_from(origin: Origin, info: &libc::siginfo_t) -> Option<u64> {
    /// `siginfo_t` of a timer, as the kernel lays it out.
    #[repr(C)]
    struct TimerInfo {
        head: [i32; 3],
        _align: [u64; 0],
        id: i32,
        overrun: i32,
        value: usize,
    }
    /// `siginfo_t` of a file, likewise.
    #[repr(C)]
    struct PollInfo {
        head: [i32; 3],
        _align: [u64; 0],
        band: libc::c_long,
        fd: i32,
    }
    let info = std::ptr::from_ref(info);
    match origin {
        Origin::Posix(cookie) => {
            // SAFETY: `siginfo_t` is larger than and aligned as the view of it.
            let timer = unsafe { &*info.cast::<TimerInfo>() };
            (timer.head[2] == libc::SI_TIMER && timer.value == cookie)
                .then(|| u64::try_from(timer.overrun).unwrap_or(0))
        }
        Origin::Perf(fd) => {
            // SAFETY: as above.
            let poll = unsafe { &*info.cast::<PollInfo>() };
            (poll.head[2] > 0 && poll.fd == fd).then_some(0)
        }
    }
}

/// Tells whether a walk reached the outermost frame there is.
pub(crate) fn stack_end(end: End) -> StackEnd {
    match end {
        End::Root | End::Fiber => StackEnd::Root,
        End::LeftGuest | End::Stopped | End::Cut(_) => StackEnd::Cut,
    }
}

/// Returns the registers that a signal found.
pub(crate) fn interrupted(context: &libc::ucontext_t) -> wasmscope_walk::x86_64::Registers {
    let registers = &context.uc_mcontext.gregs;
    wasmscope_walk::x86_64::Registers {
        pc: HostPc(registers[libc::REG_RIP as usize] as u64),
        sp: registers[libc::REG_RSP as usize] as u64,
        fp: registers[libc::REG_RBP as usize] as u64,
    }
}
