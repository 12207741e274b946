//! What does it cost to read a stack?
//!
//! A guest goes down to a depth and calls the host, which reads the stack there, again
//! and again, in these ways in turn:
//!
//! - raw: `wasmscope_walk` from the newest guest frame to the entry from the host,
//!   program counters into a buffer, nothing else;
//! - captured: `wasmscope_sample::StackCapture`, which begins in the host function and
//!   ends at the thread's first frame, so that it also unwinds the host;
//! - `WasmBacktrace::force_capture` with one frame named, the least that it does;
//! - named: ours captured and resolved through the library, wasmtime's with all
//!   frames named.
//!
//! All see the same frames, and the named ones the same names: that is checked.

#![expect(clippy::print_stdout, reason = "printing is what a bench is for")]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Duration;
use wasmscope::{Guest, OnDemand};
use wasmscope_address::{HostPc, TextRange};
use wasmscope_bench::arguments::Size;
use wasmscope_bench::descent::{Descent, How, Read, Times};
use wasmscope_bench::live_stack::LiveStack;
use wasmscope_bench::machine::Machine;
use wasmscope_bench::statistics::Line;
use wasmscope_sample::{CodeMap, StackCapture};
use wasmscope_walk::{End, Native, NoHost, Text, Windows, walk};
use wasmtime::{Caller, Config, Module, WasmBacktrace};

const DEPTHS: [i32; 4] = [32, 100, 1_000, 10_000];
const GOAL_FIXED: f64 = 50.0;
const GOAL_EACH: f64 = 3.0;

/// The times at one depth.
#[derive(Clone, Debug, Default)]
struct AtDepth {
    depth: i32,
    /// Guest frames that the walk visits: the functions, and a trampoline at each end.
    frames: usize,
    raw: Times,
    captured: Times,
    captured_frames: usize,
    one_named: Times,
    ours_named: Times,
    ours_named_many: Times,
    all_named: Times,
}

/// What the host function needs to read stacks in each way.
struct Reader {
    range: TextRange,
    windows: Windows<Native>,
    code: CodeMap,
    capture: StackCapture,
    on_demand: OnDemand,
    size: Size,
    /// Whether this engine's backtraces name all frames or one.
    names_all: bool,
}

impl Read for Reader {
    type At = AtDepth;

    fn read(&mut self, caller: &mut Caller<'_, ()>, at: &mut AtDepth) -> wasmtime::Result<()> {
        if self.names_all {
            self.read_named(caller, at)
        } else {
            self.read_raw(caller, at)
        }
    }
}

impl Reader {
    fn new(module: &Module, bytes: &[u8], names_all: bool, size: Size) -> wasmtime::Result<Self> {
        let text = module.text();
        let range = TextRange::new(
            HostPc(text.as_ptr() as u64),
            u32::try_from(text.len()).unwrap_or(u32::MAX),
        );
        let range = range.ok_or_else(|| wasmtime::Error::msg("the text wraps around"))?;
        let functions = module.functions().map(|function| {
            let start = function.offset as u32;
            start..start.saturating_add(function.len as u32)
        });
        let windows = Windows::<Native>::classify(text, functions);
        let code = CodeMap::default().with(range, windows.to_vec().into());
        let guest = Guest::module("descend.wasm", module).bytes(bytes.to_vec());
        Ok(Self {
            range,
            windows,
            code: code.ok_or_else(|| wasmtime::Error::msg("one text overlaps another"))?,
            capture: StackCapture::new().expect("stacks are walked here"),
            on_demand: OnDemand::new(Duration::from_millis(1), [guest])?,
            size,
            names_all,
        })
    }

    fn read_raw(&mut self, caller: &Caller<'_, ()>, at: &mut AtDepth) -> wasmtime::Result<()> {
        let texts = [Text {
            range: self.range,
            windows: &self.windows,
        }];
        let stack = LiveStack::here().ok_or_else(|| wasmtime::Error::msg("no stack"))?;
        let from = stack
            .newest_guest(&texts)
            .ok_or_else(|| wasmtime::Error::msg("no guest frame"))?;
        let mut pcs = vec![0u64; at.depth as usize + 8];
        let mut raw = || {
            let mut frames = 0;
            let end = walk::<Native>(from, &stack, &texts, &mut NoHost, |frame| {
                let Some(slot) = pcs.get_mut(frames) else {
                    return ControlFlow::Break(());
                };
                *slot = frame.pc.0;
                frames += 1;
                ControlFlow::Continue(())
            });
            assert_eq!(end, End::LeftGuest);
            frames
        };
        at.frames = raw();
        let batch = 1 + 50_000 / at.depth as usize;
        for _ in 0..self.size.pick(20, 100) {
            at.raw.measure(batch, || {
                black_box(raw());
            });
            let mut frames = Vec::with_capacity(at.depth as usize + 64);
            at.captured.measure(1 + batch / 4, || {
                let end = self.capture.capture(&self.code, usize::MAX, &mut frames);
                black_box(end);
            });
            at.captured_frames = frames.iter().filter(|frame| !frame.is_host()).count();
            at.one_named.measure(1 + batch / 40, || {
                black_box(WasmBacktrace::force_capture(caller));
            });
        }
        let mut frames = Vec::new();
        self.capture.capture(&self.code, usize::MAX, &mut frames);
        let guest = frames.iter().filter(|frame| !frame.is_host());
        assert!(
            guest
                .map(|frame| frame.pc().0)
                .eq(pcs.iter().copied().take(at.frames)),
            "the raw walk and the capture see the same frames"
        );
        Ok(())
    }

    fn read_named(&mut self, caller: &Caller<'_, ()>, at: &mut AtDepth) -> wasmtime::Result<()> {
        const MANY: usize = 100;
        let batch = 1 + 2_000 / at.depth as usize;
        for _ in 0..self.size.pick(5, 20) {
            at.all_named.measure(batch, || {
                let backtrace = WasmBacktrace::force_capture(caller);
                for frame in backtrace.frames() {
                    black_box(frame.func_name());
                }
            });
            at.ours_named.measure(batch, || {
                self.on_demand.sample(caller);
                black_box(self.on_demand.take().profile());
            });
            at.ours_named_many.measure(1, || {
                for _ in 0..MANY {
                    self.on_demand.sample(caller);
                }
                black_box(self.on_demand.take().profile());
            });
        }
        for time in &mut at.ours_named_many.0 {
            *time /= MANY as f64;
        }

        let theirs: Vec<String> = WasmBacktrace::force_capture(caller)
            .frames()
            .iter()
            .map(|frame| frame.func_name().unwrap_or("").to_owned())
            .collect();
        self.on_demand.sample(caller);
        let profile = self.on_demand.take().profile();
        let stack = profile.samples().next().and_then(|sample| sample.stack);
        let ours: Vec<String> = stack
            .map(|stack| profile.stack_frames(stack).collect::<Vec<_>>())
            .unwrap_or_default()
            .iter()
            .map(|frame| profile.function(frame.function))
            .filter(|function| function.category == wasmscope::profile::Category::Guest)
            .map(|function| function.name.clone())
            .collect();
        assert_eq!(theirs.len(), at.depth as usize);
        assert_eq!(ours.len(), theirs.len());
        // Of a function without a name wasmtime says nothing; ours gives its number.
        let same = ours
            .iter()
            .zip(&theirs)
            .all(|(ours, theirs)| theirs.is_empty() || ours == theirs);
        assert!(same, "both name the same frames");
        Ok(())
    }
}

/// Compiles the guest, with a [`Reader`] of its stacks.
fn descent(names_all: bool, size: Size) -> wasmtime::Result<Descent<Reader>> {
    let how = How {
        names_all,
        on_fiber: false,
    };
    Descent::new(how, Config::new(), |module, bytes| {
        Reader::new(module, bytes, names_all, size)
    })
}

fn run(size: Size) -> wasmtime::Result<()> {
    println!("walk: {}", Machine::now());
    let mut one = descent(false, size)?;
    let mut all = descent(true, size)?;
    let mut measured = Vec::new();
    for depth in DEPTHS {
        let at = AtDepth {
            depth,
            ..AtDepth::default()
        };
        // Warm, then for the record.
        one.measure(depth, at.clone())?;
        let at = one.measure(depth, at)?;
        measured.push(all.measure(depth, at)?);
    }
    print(&measured);
    println!("{}", Machine::now());
    Ok(())
}

fn print(measured: &[AtDepth]) {
    println!();
    println!(
        "one stack, ns, the least of several (median in brackets); goal for raw: {GOAL_EACH} a frame and {GOAL_FIXED} fixed"
    );
    println!(
        "{:>7} {:>7} {:>22} {:>8} {:>8} {:>22} {:>26} {:>8}",
        "depth", "frames", "raw", "goal", "", "captured", "force_capture, one named", "raw is"
    );
    for at in measured {
        let goal = GOAL_FIXED + GOAL_EACH * at.frames as f64;
        let met = if at.raw.least() <= goal {
            "met"
        } else {
            "MISSED"
        };
        println!(
            "{:>7} {:>7} {:>11.1} ({:>8.1}) {:>8.0} {:>8} {:>11.0} ({:>8.0}) {:>15.0} ({:>8.0}) {:>7.1}x",
            at.depth,
            at.frames,
            at.raw.least(),
            at.raw.middle(),
            goal,
            met,
            at.captured.least(),
            at.captured.middle(),
            at.one_named.least(),
            at.one_named.middle(),
            at.one_named.least() / at.raw.least(),
        );
    }
    let line = |of: fn(&AtDepth) -> f64| {
        let points: Vec<(f64, f64)> = measured
            .iter()
            .map(|at| (at.frames as f64, of(at)))
            .collect();
        Line::through(&points)
    };
    println!("\nfixed and per frame, least squares of relative errors over the depths, ns");
    let lines = [
        ("raw", line(|at| at.raw.least())),
        ("captured", line(|at| at.captured.least())),
        ("force_capture, one named", line(|at| at.one_named.least())),
    ];
    for (name, line) in lines {
        println!(
            "{name:<26} {:>8.1} fixed {:>8.2} a frame",
            line.fixed, line.each
        );
    }
    println!("\nnamed against named, microseconds a stack, least (median)");
    println!(
        "{:>7} {:>24} {:>24} {:>24} {:>8} {:>8}",
        "depth", "ours, one stack", "ours, each of 100", "force_capture, all", "one", "of 100"
    );
    for at in measured {
        let show =
            |times: &Times| format!("{:.1} ({:.1})", times.least() / 1e3, times.middle() / 1e3);
        println!(
            "{:>7} {:>24} {:>24} {:>24} {:>7.2}x {:>7.1}x",
            at.depth,
            show(&at.ours_named),
            show(&at.ours_named_many),
            show(&at.all_named),
            at.all_named.least() / at.ours_named.least(),
            at.all_named.least() / at.ours_named_many.least(),
        );
    }
}

fn main() -> wasmtime::Result<()> {
    let size = Size::from_arguments();
    let thread = std::thread::Builder::new()
        .stack_size(64 << 20)
        .spawn(move || run(size))?;
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
