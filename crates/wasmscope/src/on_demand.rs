//! Samples that the embedder takes itself, where and when it likes.
//!
//! For engines without native frames (Pulley), for platforms where signals cannot be
//! used, and for embedders that used `wasmtime::GuestProfiler` and keep its way of
//! working.

use crate::code::Code;
use crate::collector::{Collected, Collector, Limits};
use crate::error::Error;
use crate::guest::Guest;
use crate::host_calls::OpenCalls;
use crate::labels::Labels;
use crate::recording::Recording;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use wasmscope_address::{HostPc, TextOffset};
use wasmscope_profile::Clock;
use wasmscope_sample::{
    Accounting, CodeMap, Mechanism, RawFrame, Sample, Sink, StackCapture, StackEnd, ThreadId,
    ThreadReport, monotonic_nanos, thread_cpu_time,
};
use wasmtime::{AsContext, CallHook, WasmBacktrace};

/// Takes samples of one guest when its embedder says so.
///
/// Everything that `wasmtime::GuestProfiler` does, with source lines, CPU time, host
/// calls by name, and every format. Like it, it sees a guest only where the embedder
/// is called: with epochs at function entries and loop heads. That bias is the
/// method's; [`Profiler`](crate::Profiler) has none, where it starts. This one works
/// wherever the engine does.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
/// use wasmscope::{Guest, OnDemand};
/// use wasmtime::{Config, Engine, Instance, Module, Store, UpdateDeadline};
///
/// let engine = Engine::new(Config::new().epoch_interruption(true))?;
/// let wat = "(module (func (export \"spin\") (local i32)
///     (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1)))
///                              (i32.const 1000000))))))";
/// let module = Module::new(&engine, wat)?;
/// let guest = Guest::module("spin.wasm", &module);
/// let profiler = Arc::new(Mutex::new(OnDemand::new(Duration::from_millis(1), [guest])?));
///
/// let mut store = Store::new(&engine, ());
/// store.set_epoch_deadline(1);
/// let sampler = profiler.clone();
/// store.epoch_deadline_callback(move |context| {
///     sampler.lock().unwrap().sample(&context);
///     Ok(UpdateDeadline::Continue(1))
/// });
/// engine.increment_epoch(); // a thread does this once a millisecond
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let spin = instance.get_typed_func::<(), ()>(&mut store, "spin")?;
/// spin.call(&mut store, ())?;
///
/// let profile = profiler.lock().unwrap().take().profile();
/// assert_eq!(profile.samples().len(), 1);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct OnDemand {
    collector: Collector,
    codes: Vec<Arc<Code>>,
    /// Where stacks are walked; elsewhere the engine is asked for them.
    native: Option<Native>,
    interval: Duration,
    start: SystemTime,
    start_nanos: u64,
    /// Whose CPU clock it was at the last sample, and what it said.
    last_cpu: (std::thread::ThreadId, Option<Duration>),
    max_frames: usize,
    labels: Labels,
    open: OpenCalls,
    counted: Accounting,
    frames: Vec<RawFrame>,
    /// Text offsets by guest and offset in its binary, where stacks are the engine's.
    texts: HashMap<(usize, u32), u32>,
}

/// How to walk native frames.
#[derive(Debug)]
struct Native {
    map: CodeMap,
    capture: StackCapture,
}

/// The thread that the samples belong to.
const THREAD: ThreadId = ThreadId(0);

/// How many frames are kept of a stack.
const MOST_FRAMES: usize = 32 << 10;

impl OnDemand {
    /// Prepares to sample `guests`; frames of other guests, and of the host, are left
    /// out. `interval` says how often the embedder means to sample, and is what each
    /// sample weighs.
    ///
    /// # Errors
    ///
    /// [`Error::GuestDebug`], [`Error::Text`] and [`Error::Bytes`].
    pub fn new(interval: Duration, guests: impl IntoIterator<Item = Guest>) -> Result<Self, Error> {
        let mut collector = Collector::new(Limits::default());
        let mut codes = Vec::new();
        let mut map = CodeMap::default();
        let mut interprets = false;
        for guest in guests {
            interprets |= guest.code.engine().is_pulley();
            let (code, windows) = Code::prepare(guest)?;
            // The same code twice is one guest.
            let Some(more) = map.with(code.range, windows) else {
                continue;
            };
            map = more;
            let code = Arc::new(code);
            collector.add_code(code.clone());
            codes.push(code);
        }
        let capture = if interprets {
            None
        } else {
            StackCapture::new()
        };
        Ok(Self {
            collector,
            codes,
            native: capture.map(|capture| Native { map, capture }),
            interval,
            start: SystemTime::now(),
            start_nanos: monotonic_nanos(),
            last_cpu: (std::thread::current().id(), thread_cpu_time()),
            max_frames: 20,
            labels: Labels::default(),
            open: OpenCalls::default(),
            counted: Accounting::default(),
            frames: Vec::new(),
            texts: HashMap::new(),
        })
    }

    /// Sets the labels that samples carry from here on.
    pub fn set_labels(&mut self, labels: Labels) {
        self.labels = labels;
    }

    /// Names the instance that samples belong to from here on; they carry it as the
    /// label `instance`, in every format that has labels. Which instance runs is for
    /// the embedder to say: the engine does not tell.
    pub fn set_instance(&mut self, instance: impl Into<String>) {
        self.labels = self.labels.clone().with("instance", instance);
    }

    /// Says what the engine's `Config::wasm_backtrace_max_frames` is, if that was set:
    /// where stacks are the engine's own, one of that many frames counts as cut. 20,
    /// the engine's default, unless set.
    #[must_use]
    pub fn max_frames(mut self, frames: usize) -> Self {
        self.max_frames = frames;
        self
    }

    /// Takes a sample of the calling thread's stack, with the CPU time that the
    /// thread used since the last one, if that was taken on the same thread.
    ///
    /// On Linux and x86-64 the whole stack is walked, through the host and other
    /// stores. Where the engine interprets, and on other platforms, it is the engine's
    /// own backtrace of `store`, which has at most `Config::wasm_backtrace_max_frames`
    /// frames: 20 unless set.
    pub fn sample(&mut self, store: impl AsContext) {
        let (before, now) = (
            self.last_cpu,
            (std::thread::current().id(), thread_cpu_time()),
        );
        self.last_cpu = now;
        // On another thread than the last sample's, its clock tells nothing.
        let used = match (before.1, now.1) {
            (Some(earlier), Some(later)) if before.0 == now.0 => {
                Some(later.saturating_sub(earlier))
            }
            _ => None,
        };
        self.take_sample(store, used);
    }

    /// Takes a sample as [`sample`](Self::sample) does, with a CPU time that the
    /// embedder measured.
    pub fn sample_with_cpu(&mut self, store: impl AsContext, cpu: Duration) {
        self.take_sample(store, Some(cpu));
    }

    fn take_sample(&mut self, store: impl AsContext, cpu: Option<Duration>) {
        let now = monotonic_nanos();
        let end = self.walk(store);
        self.collector.sample(
            THREAD,
            &Sample {
                monotonic_nanos: now,
                ticks: 1,
                in_handler: Duration::ZERO,
                cpu,
                label: self.labels.id(),
                end,
                frames: &self.frames,
            },
        );
        self.counted.due += 1;
        self.counted.kept += 1;
        self.counted.sampled += self.interval;
    }

    /// Notes a transition between guest and host; to be called from the store's call
    /// hook with what that was given. Each host call becomes a marker.
    pub fn call_hook(&mut self, store: impl AsContext, kind: CallHook) {
        if let Some(call) = self.open.hook(kind, monotonic_nanos()) {
            self.walk(store);
            self.collector
                .host_call(THREAD, self.labels.id(), call, &self.frames);
        }
    }

    /// Returns everything recorded since the last time, and begins anew.
    #[must_use]
    pub fn take(&mut self) -> Recording {
        let end_nanos = monotonic_nanos();
        let collected = self.collector.take();
        let recording = self.recording(collected, end_nanos);
        self.start += recording.duration();
        self.start_nanos = end_nanos;
        self.counted = Accounting::default();
        recording
    }

    fn recording(&self, collected: Collected, end_nanos: u64) -> Recording {
        let thread = ThreadReport {
            id: THREAD,
            tid: 0,
            name: "guest".to_owned(),
            mechanism: Mechanism::MonotonicTimer,
            attached: self.start_nanos,
            detached: None,
            accounting: self.counted,
            unweighed: 0,
            in_handler: Duration::ZERO,
        };
        Recording {
            product: self
                .codes
                .first()
                .map_or_else(String::new, |code| code.name()),
            clock: Clock::Wall,
            interval: self.interval,
            mechanism: "on demand, by the embedder".to_owned(),
            start: self.start,
            start_nanos: self.start_nanos,
            end_nanos,
            collected,
            threads: vec![thread],
        }
    }

    /// Puts the current stack into `self.frames`, newest first.
    fn walk(&mut self, store: impl AsContext) -> StackEnd {
        let Some(native) = &mut self.native else {
            return self.ask_engine(store);
        };
        let end = native
            .capture
            .capture(&native.map, MOST_FRAMES, &mut self.frames);
        // The way from the guest to whoever asks is not the guest's: the newest frame
        // is the function that was interrupted.
        let is_trampoline = |frame: &RawFrame| {
            let frame = *frame;
            !frame.is_host() && self.codes.iter().any(|code| code.is_trampoline(frame))
        };
        let skipped = self.frames.iter().take_while(|frame| is_trampoline(frame));
        let skipped = skipped.count();
        self.frames.drain(..skipped);
        end
    }

    /// Puts the engine's own backtrace there instead.
    fn ask_engine(&mut self, store: impl AsContext) -> StackEnd {
        self.frames.clear();
        let backtrace = WasmBacktrace::force_capture(store);
        for frame in backtrace.frames() {
            let text = frame.module().text().as_ptr() as u64;
            let Some((index, code)) = self
                .codes
                .iter()
                .enumerate()
                .find(|(_, code)| code.range.start() == HostPc(text))
            else {
                continue;
            };
            let offset = match frame.module_offset() {
                Some(wasm) => {
                    let wasm = u32::try_from(wasm).unwrap_or(u32::MAX);
                    *self
                        .texts
                        .entry((index, wasm))
                        .or_insert_with(|| code.text_offset(frame.func_index(), wasm))
                }
                // Without an address map the function is all there is.
                None => code.text_offset(frame.func_index(), u32::MAX),
            };
            let pc = code.range.pc_of(TextOffset(offset));
            self.frames.push(RawFrame::guest(pc, false));
        }
        if backtrace.frames().len() >= self.max_frames {
            StackEnd::Cut
        } else {
            StackEnd::Root
        }
    }
}
