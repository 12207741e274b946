//! What does a backtrace cost?
//!
//! A guest goes down to a depth and calls the host, which captures its stack there, again
//! and again, in these ways in turn:
//!
//! - one store: `Walker::capture_store_into`, addresses of the frames that the engine's own
//!   backtrace shows;
//! - whole thread: `Walker::capture_into`, without a store at hand, from the host function to
//!   the thread's first frame;
//! - `WasmBacktrace::force_capture` with one frame named, the least that it does;
//! - all frames named: one store captured and named, and `WasmBacktrace::force_capture` with
//!   no limit.
//!
//! So on the thread's own stack, and on fibers, as async hosts have them: the engine's own, and
//! those that [`Fibers`] makes. All see the same frames with the same offsets, which is checked
//! before it is measured.

#![expect(clippy::print_stdout, reason = "printing is what a bench is for")]

use std::hint::black_box;
use wasmscope::{Backtrace, Fibers, FrameKind, Guest, WalkedGuest, Walker};
use wasmscope_bench::arguments::Size;
use wasmscope_bench::descent::{Descent, How, Read, Times};
use wasmscope_bench::machine::Machine;
use wasmscope_bench::statistics::Line;
use wasmtime::{Caller, Config, WasmBacktrace};

const DEPTHS: [i32; 4] = [10, 100, 1_000, 10_000];
const GOAL_FIXED: f64 = 100.0;
const GOAL_EACH: f64 = 3.0;
const GOAL_ALL_NAMED: f64 = 10.0;
const GOAL_NAMED_A_SECOND: f64 = 5e6;

/// By how much a capture is to be quicker than the engine's.
fn goal(depth: i32) -> f64 {
    if depth <= 100 { 5.0 } else { 3.0 }
}

fn show(times: &Times) -> String {
    format!("{:.0} ({:.0})", times.least(), times.middle())
}

/// The times at one depth.
#[derive(Clone, Debug, Default)]
struct AtDepth {
    depth: i32,
    store: Times,
    thread: Times,
    one_named: Times,
    ours_named: Times,
    naming: Times,
    all_named: Times,
}

/// What the host function needs to read stacks in each way.
struct Reader {
    walker: Walker,
    _guest: WalkedGuest,
    size: Size,
    /// Whether this engine's backtraces name all frames or one.
    names_all: bool,
}

impl Read for Reader {
    type At = AtDepth;

    fn read(&mut self, caller: &mut Caller<'_, ()>, at: &mut AtDepth) -> wasmtime::Result<()> {
        if self.names_all {
            self.read_named(caller, at);
        } else {
            self.read_raw(caller, at);
        }
        Ok(())
    }
}

impl Reader {
    fn read_raw(&self, caller: &mut Caller<'_, ()>, at: &mut AtDepth) {
        let depth = at.depth as usize;
        let batch = 1 + 50_000 / depth;
        let mut backtrace = Backtrace::with_capacity(depth + 64, 8);
        for _ in 0..self.size.pick(20, 100) {
            at.store.measure(batch, || {
                self.walker.capture_store_into(&mut *caller, &mut backtrace);
                black_box(&backtrace);
            });
            assert_eq!(backtrace.len(), depth);
            at.thread.measure(batch, || {
                self.walker.capture_into(&mut backtrace);
                black_box(&backtrace);
            });
            assert!(backtrace.end().is_whole() && backtrace.len() >= depth);
            at.one_named.measure(1 + batch / 20, || {
                black_box(WasmBacktrace::force_capture(&mut *caller));
            });
        }
    }

    fn read_named(&self, caller: &mut Caller<'_, ()>, at: &mut AtDepth) {
        let theirs = WasmBacktrace::force_capture(&mut *caller);
        let theirs = theirs.frames().iter();
        let theirs = theirs.map(|frame| (frame.func_index(), frame.module_offset()));
        for backtrace in [
            self.walker.capture_store(&mut *caller),
            self.walker.capture(),
        ] {
            let ours = self.walker.name(&backtrace);
            let ours = ours.iter().filter(|frame| frame.kind == FrameKind::Guest);
            let ours = ours.map(|frame| {
                let index = frame.function.expect("a guest's function").0;
                (index, frame.offset.map(|offset| offset.0 as usize))
            });
            assert!(ours.eq(theirs.clone()), "both see the same frames");
        }

        let batch = 1 + 20_000 / at.depth as usize;
        let mut backtrace = Backtrace::empty();
        let mut frames = Vec::new();
        for _ in 0..self.size.pick(5, 20) {
            at.ours_named.measure(batch, || {
                self.walker.capture_store_into(&mut *caller, &mut backtrace);
                self.walker.name_into(&backtrace, &mut frames);
                black_box(&frames);
            });
            at.naming.measure(batch, || {
                self.walker.name_into(&backtrace, &mut frames);
                black_box(&frames);
            });
            at.all_named.measure(1 + batch / 10, || {
                black_box(WasmBacktrace::force_capture(&mut *caller));
            });
        }
    }
}

/// Compiles the guest, with a [`Reader`] of its stacks.
fn descent(
    how: How,
    config: Config,
    walker: Walker,
    size: Size,
) -> wasmtime::Result<Descent<Reader>> {
    Descent::new(how, config, |module, bytes| {
        let guest = Guest::module("descend.wasm", module).bytes(bytes.to_vec());
        Ok(Reader {
            _guest: walker.register(guest)?,
            walker,
            size,
            names_all: how.names_all,
        })
    })
}

/// What is measured on one kind of stack.
struct OnStack {
    name: &'static str,
    raw: Vec<AtDepth>,
}

fn run(size: Size) -> wasmtime::Result<()> {
    println!("backtrace: {}", Machine::now());
    let walker = || Walker::new().map_err(wasmtime::Error::from);
    let how = |names_all, on_fiber| How {
        names_all,
        on_fiber,
    };
    let known = walker()?;
    let mut fibers = Config::new();
    fibers.with_host_stack(Fibers::new(&known)?.stack_creator());
    let mut all = descent(how(true, false), Config::new(), walker()?, size)?;
    let mut raw = [
        (
            "the thread's own stack",
            descent(how(false, false), Config::new(), walker()?, size)?,
        ),
        (
            "a fiber",
            descent(how(false, true), Config::new(), walker()?, size)?,
        ),
        (
            "a fiber of `Fibers`",
            descent(how(false, true), fibers, known, size)?,
        ),
    ];
    let mut stacks: Vec<OnStack> = Vec::new();
    for (name, descent) in &mut raw {
        let mut at_depths = Vec::new();
        for depth in DEPTHS {
            let at = AtDepth {
                depth,
                ..AtDepth::default()
            };
            // Warm, then for the record.
            descent.measure(depth, at.clone())?;
            at_depths.push(descent.measure(depth, at)?);
        }
        stacks.push(OnStack {
            name,
            raw: at_depths,
        });
    }
    let mut named = Vec::new();
    for depth in DEPTHS {
        let at = AtDepth {
            depth,
            ..AtDepth::default()
        };
        named.push(all.measure(depth, at)?);
    }
    for stack in &stacks {
        print_raw(stack);
    }
    print_named(&named);
    println!("{}", Machine::now());
    Ok(())
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

fn print_raw(stack: &OnStack) {
    let measured = &stack.raw;
    println!(
        "\none capture on {}, ns, the least of several (median in brackets)",
        stack.name
    );
    println!(
        "{:>7} {:>20} {:>20} {:>26} {:>9} {:>9} {:>6}",
        "depth", "one store", "whole thread", "force_capture, one named", "store", "thread", "goal"
    );
    for at in measured {
        let theirs = at.one_named.least();
        let (store, thread) = (theirs / at.store.least(), theirs / at.thread.least());
        println!(
            "{:>7} {:>20} {:>20} {:>26} {:>8.1}x {:>8.1}x {:>5}x {}, {}",
            at.depth,
            show(&at.store),
            show(&at.thread),
            show(&at.one_named),
            store,
            thread,
            goal(at.depth),
            verdict(store >= goal(at.depth)),
            verdict(thread >= goal(at.depth)),
        );
    }
    println!(
        "\nfixed and per frame, least squares of relative errors over the depths, ns; goal {GOAL_FIXED} and {GOAL_EACH}"
    );
    let line = |of: fn(&AtDepth) -> f64| {
        let points: Vec<(f64, f64)> = measured
            .iter()
            .map(|at| (f64::from(at.depth), of(at)))
            .collect();
        Line::through(&points)
    };
    let lines = [
        ("one store", line(|at| at.store.least())),
        ("whole thread", line(|at| at.thread.least())),
        ("force_capture, one named", line(|at| at.one_named.least())),
    ];
    for (name, line) in lines {
        println!(
            "{name:<26} {:>8.1} fixed {:>8.2} a frame",
            line.fixed, line.each
        );
    }
}

fn print_named(measured: &[AtDepth]) {
    println!(
        "\nall frames named, ns a stack; goal {GOAL_ALL_NAMED}x, {GOAL_NAMED_A_SECOND:e} frames a second"
    );
    println!(
        "{:>7} {:>24} {:>24} {:>9} {:>28}",
        "depth", "ours", "force_capture", "", "naming alone, frames a second"
    );
    for at in measured {
        let ratio = at.all_named.least() / at.ours_named.least();
        let rate = f64::from(at.depth) / at.naming.least() * 1e9;
        println!(
            "{:>7} {:>24} {:>24} {:>8.1}x {:>22.1} million {}, {}",
            at.depth,
            show(&at.ours_named),
            show(&at.all_named),
            ratio,
            rate / 1e6,
            verdict(ratio >= GOAL_ALL_NAMED),
            verdict(rate >= GOAL_NAMED_A_SECOND),
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
