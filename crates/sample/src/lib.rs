//! Samples threads by timer, from inside the process, and tells what it missed.
//!
//! ```
//! use wasmscope_sample::{Options, Sample, Sampler, Sink, ThreadId, ThreadReport};
//!
//! /// Counts samples and keeps the last word on each thread.
//! #[derive(Default)]
//! struct Count {
//!     ticks: u64,
//!     threads: Vec<ThreadReport>,
//! }
//!
//! impl Sink for Count {
//!     fn sample(&mut self, _thread: ThreadId, sample: &Sample<'_>) {
//!         self.ticks += sample.ticks;
//!     }
//!
//!     fn detached(&mut self, thread: ThreadReport) {
//!         self.threads.push(thread);
//!     }
//! }
//!
//! let sampler = Sampler::start(Options::default(), Count::default())?;
//! let guard = sampler.attach_thread()?;
//! let begin = std::time::Instant::now();
//! while begin.elapsed().as_millis() < 50 {}
//! drop(guard);
//!
//! let counted = sampler.sink();
//! let accounting = counted.threads[0].accounting;
//! assert!(accounting.due >= 49);
//! assert!(accounting.due.abs_diff(accounting.kept + accounting.lost) <= 1);
//! # Ok::<(), wasmscope_sample::Error>(())
//! ```
//!
//! # How it works
//!
//! ```text
//!   attached thread                      drain thread
//!   ---------------                      ------------
//!   timer -> SIGPROF -> handler          every 20 ms, or woken at half full
//!              | walk the stack            |
//!              v                           v
//!         ring of this thread  -------->  Sink::sample
//! ```
//!
//! Each thread that is [attached](Sampler::attach_thread) has a timer of its own,
//! which signals that thread alone. The handler walks the interrupted stack with
//! [`wasmscope_walk`] into a ring of fixed size that is the thread's own; it
//! allocates nothing and takes no lock. A drain thread empties the rings.
//!
//! # Which timer
//!
//! | clock | mechanism | why |
//! |---|---|---|
//! | [`Clock::Wall`] | [`Mechanism::MonotonicTimer`] | high resolution on every kernel |
//! | [`Clock::Cpu`] | [`Mechanism::TaskClock`] | high resolution; stands still while the thread does |
//! | [`Clock::Cpu`], no permission | [`Mechanism::MonotonicTimerOnCpuTime`] | the rate is kept; a sleeping thread is woken too, and a wait that it wakes from may get CPU time that was spent just before |
//!
//! A timer of `CLOCK_THREAD_CPUTIME_ID`, and `ITIMER_PROF`, look made for it, but
//! on most kernels they expire on the scheduler's tick: 250 times a second whatever
//! is asked.
//!
//! # What is counted
//!
//! A sample is due at each interval of the sampled clock. Every one that is due is
//! kept or lost, and a thread's [`Accounting`] says how many of each. The time of
//! lost samples is not lost: the next sample that is kept stands for them as well
//! ([`Sample::ticks`]). The handler's own time is in those intervals too, and more of
//! it where stacks are deep; a sample says how much ([`Sample::in_handler`]), so that
//! a profile can leave it out.
//!
//! # What it leaves to others
//!
//! Names, what an address means, and what becomes of samples are the sink's
//! business; this crate knows no engine.
//!
//! # Where it works
//!
//! On Linux and x86-64. (On aarch64 guests can be walked already, but not yet the
//! host.) Elsewhere everything here is there by the same names, so that whoever
//! builds on it needs no conditions, but [`Sampler::start`] returns
//! [`Error::Platform`], and [`StackCapture::new`] returns `None`. Building with
//! `--cfg wasmscope_portable` makes any machine such a place, to test what happens
//! there.

mod clock;
mod code_map;
mod error;
mod frame;
mod now;
mod options;
mod report;
mod sample;

#[cfg(all(target_os = "linux", target_arch = "x86_64", not(wasmscope_portable)))]
mod signals;
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(wasmscope_portable)))]
use signals as platform;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", not(wasmscope_portable))))]
mod elsewhere;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64", not(wasmscope_portable))))]
use elsewhere as platform;

pub use clock::{Clock, Mechanism, Rate};
pub use code_map::CodeMap;
pub use error::Error;
pub use frame::{LeftStack, RawFrame};
pub use now::{monotonic_nanos, thread_cpu_time};
pub use options::{HostFrames, Options};
pub use platform::{
    FatalReport, GuestWindows, KnownStack, OsThread, OwnCapture, Sampler, SinkAccess, StackCapture,
    TaskLabel, ThreadCapture, ThreadGuard, current_thread, find_windows, is_attached, read_memory,
    report_this_thread, restore_task_label, set_fatal_report, set_label, set_task_label,
    takes_task_labels, with_label, write_to_stderr,
};
pub use report::{Accounting, ThreadId, ThreadReport};
pub use sample::{Sample, Sink, StackEnd};
pub use wasmscope_walk::{Cut, End, Frame, FrameKind, Visit};
