//! What does sampling 1,000 times a second cost, over a handler that does nothing?
//!
//! Two answers. First the time that the sampler's handler takes for each sample of a
//! stack of 32 frames, beyond what the empty handler takes between the same two
//! readings of the clock: at 1,000 samples a second, 0.2% of run time is 2,000 ns.
//! Then the time that whole guests take: without sampling, with the empty handler,
//! with the sampler on either clock, and with `GuestProfiler`, whose epochs have to be
//! compiled into the guest. All in turn, in one process.

#![expect(clippy::print_stdout, reason = "printing is what a bench is for")]

use std::time::Duration;
use wasmscope::{Clock, Guest, Profiler};
use wasmscope_bench::arguments::Size;
use wasmscope_bench::clocks::{Reading, switches};
use wasmscope_bench::empty_handler::EmptyHandler;
use wasmscope_bench::guest_profiler::{Profiled, Ticker};
use wasmscope_bench::guests::{self, DESCEND, Program};
use wasmscope_bench::machine::Machine;
use wasmscope_bench::realtime::Realtime;
use wasmscope_bench::statistics::{interval, mean, median, minimum};
use wasmtime::{Engine, Linker, Module, Store, TypedFunc};

const DEPTH: i32 = 32;
const INTERVAL: Duration = Duration::from_millis(1);
/// 0.2% of an interval, in nanoseconds.
const GOAL: f64 = 2_000.0;

fn main() -> wasmtime::Result<()> {
    let size = Size::from_arguments();
    println!("overhead: {}", Machine::now());
    in_the_handler(size)?;
    println!("{}", Machine::now());
    whole_guests(size)?;
    println!("{}", Machine::now());
    Ok(())
}

/// A guest that works 32 frames deep.
struct Deep {
    bytes: Vec<u8>,
    module: Module,
    store: Store<()>,
    descend: TypedFunc<(i32, i64), i64>,
    /// Steps in about 20 ms.
    steps: i64,
}

impl Deep {
    fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let bytes = wat::parse_str(DESCEND)?;
        let module = Module::new(engine, &bytes)?;
        let mut linker = Linker::new(engine);
        linker.func_wrap("bench", "capture", || {})?;
        let mut store = Store::new(engine, ());
        store.set_epoch_deadline(1 << 40);
        let instance = linker.instantiate(&mut store, &module)?;
        let descend = instance.get_typed_func(&mut store, "descend")?;
        let trial = 10_000_000;
        let begin = Reading::now();
        descend.call(&mut store, (DEPTH, trial))?;
        let nanos = begin.elapsed().cpu.max(1);
        Ok(Self {
            bytes,
            module,
            store,
            descend,
            steps: trial * 20_000_000 / nanos as i64,
        })
    }

    fn run_for(&mut self, time: Duration) -> wasmtime::Result<()> {
        let begin = Reading::now();
        while u128::from(begin.elapsed().wall) < time.as_nanos() {
            self.descend.call(&mut self.store, (DEPTH, self.steps))?;
        }
        Ok(())
    }
}

/// Prints the time in the handler for each sample, beyond the empty one's.
///
/// The handlers read the wall clock, so the thread asks for a priority at which it
/// keeps its processor, and a window in which it lost it all the same says nothing and
/// is left out. So is the first window after a thread was attached, in which the
/// unwinder sees everything for the first time.
fn in_the_handler(size: Size) -> wasmtime::Result<()> {
    const WINDOW: Duration = Duration::from_millis(100);
    const WINDOWS: usize = 6;
    let mut guest = Deep::new(&Engine::default())?;
    let mut sides = Vec::new();
    for clock in [Clock::Wall, Clock::Cpu] {
        let profiler = Profiler::builder().clock(clock).start()?;
        let guest = Guest::module("descend.wasm", &guest.module).bytes(guest.bytes.clone());
        let registration = profiler.register(guest)?;
        sides.push((clock, profiler, registration, Vec::new(), 0));
    }
    let mut empty = Vec::new();
    let realtime = Realtime::ask();
    for _ in 0..size.pick(8, 15) {
        let handler = EmptyHandler::arm(INTERVAL)?;
        let mut before = handler.counted();
        for window in 0..WINDOWS {
            let switched = switches();
            guest.run_for(WINDOW)?;
            let counted = handler.counted();
            if window > 0 && switches() == switched {
                let nanos = counted.nanos - before.nanos;
                empty.push(nanos as f64 / (counted.signals - before.signals) as f64);
            }
            before = counted;
        }
        drop(handler);
        for (_, profiler, _, times, samples) in &mut sides {
            let thread = profiler.attach_thread()?;
            let mut recordings = Vec::new();
            for window in 0..WINDOWS {
                let switched = switches();
                guest.run_for(WINDOW)?;
                let is_whole = window > 0 && switches() == switched;
                recordings.push((is_whole, profiler.take()));
            }
            drop(thread);
            drop(profiler.take());
            for (is_whole, recording) in recordings {
                let accounting = recording.profile().accounting().unwrap_or_default();
                if is_whole && accounting.kept > 0 {
                    let nanos = recording.in_handler().as_nanos() as f64;
                    times.push(nanos / accounting.kept as f64);
                    *samples += accounting.kept;
                }
            }
        }
    }
    println!(
        "\nin the handler, a sample of depth {DEPTH}, ns; windows of {} ms, {}; 95% intervals of the difference of medians and means; goal {GOAL} beyond the empty one",
        WINDOW.as_millis(),
        if realtime.is_granted() {
            "at a real-time priority"
        } else {
            "without a real-time priority"
        }
    );
    drop(realtime);
    println!(
        "{:<22} median {:>5.0}, mean {:>5.0} of {} windows",
        "empty handler",
        median(&empty),
        mean(&empty),
        empty.len()
    );
    for (clock, _, _, times, samples) in &sides {
        let beyond = |statistic: fn(&[f64]) -> f64| {
            let (low, high) = interval(times, statistic);
            let least = statistic(&empty);
            (statistic(times) - least, low - least, high - least)
        };
        let (middle, low, high) = beyond(median);
        let (average, average_low, average_high) = beyond(mean);
        let met = if high <= GOAL { "met" } else { "MISSED" };
        println!(
            "{:<22} median {:>5.0}, mean {:>5.0} of {} windows, {samples} samples; beyond: {middle:.0} [{low:.0}, {high:.0}] by medians, {average:.0} [{average_low:.0}, {average_high:.0}] by means; {:.3}% of run time, goal 0.2%: {met}",
            format!("wasmscope, {clock} clock"),
            median(times),
            mean(times),
            times.len(),
            middle / 1e6 * 100.0,
        );
    }
    Ok(())
}

/// A way to run a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Plain,
    Empty,
    Wall,
    Cpu,
    GuestProfiler,
}

const WAYS: [Way; 5] = [
    Way::Plain,
    Way::Empty,
    Way::Wall,
    Way::Cpu,
    Way::GuestProfiler,
];

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Way::Plain => "no sampling",
            Way::Empty => "empty handler",
            Way::Wall => "wasmscope, wall clock",
            Way::Cpu => "wasmscope, CPU clock",
            Way::GuestProfiler => "GuestProfiler, epochs",
        }
    }
}

/// What one way to run a guest took, run after run.
#[derive(Default)]
struct Taken {
    wall: Vec<f64>,
    cpu: Vec<f64>,
    samples: u64,
}

/// Prints what whole guests take each way.
fn whole_guests(size: Size) -> wasmtime::Result<()> {
    let plain = Engine::default();
    let epochs = guests::engine_with_epochs()?;
    println!(
        "\nwhole guests at 1 kHz, ms of the thread's CPU time and of wall time; ratios of the medians of CPU time"
    );
    println!(
        "{:<8} {:<22} {:>9} {:>9} {:>9} {:>9} {:>10} {:>10} {:>9}",
        "guest",
        "",
        "cpu min",
        "cpu med",
        "wall min",
        "wall med",
        "to plain",
        "to empty",
        "samples/s"
    );
    // (name, scale): each takes a few hundred milliseconds.
    for (name, scale) in [("fib", 20), ("loops", 20), ("report", 20), ("table", 20)] {
        let programs = (
            Program::compile(&plain, name)?,
            Program::compile(&epochs, name)?,
        );
        let mut taken: Vec<Taken> = WAYS.iter().map(|_| Taken::default()).collect();
        let mut output: Option<String> = None;
        let rounds = size.pick(3, 9);
        for round in 0..rounds {
            for turn in 0..WAYS.len() {
                // Another way begins each round.
                let which = (turn + round) % WAYS.len();
                let (Some(&way), Some(taken)) = (WAYS.get(which), taken.get_mut(which)) else {
                    continue;
                };
                let printed = run(way, &programs, scale, taken)?;
                let expected = output.get_or_insert_with(|| printed.clone());
                assert_eq!(&printed, expected, "every way gives the same result");
            }
        }
        let middle = |way: Way| {
            let at = WAYS
                .iter()
                .position(|&it| it == way)
                .and_then(|at| taken.get(at));
            at.map_or(f64::NAN, |taken| median(&taken.cpu))
        };
        let (none, empty) = (middle(Way::Plain), middle(Way::Empty));
        for (way, taken) in WAYS.iter().zip(&taken) {
            let sum: f64 = taken.wall.iter().sum();
            println!(
                "{name:<8} {:<22} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>9.3}x {:>9.3}x {:>9.0}",
                way.name(),
                minimum(&taken.cpu),
                median(&taken.cpu),
                minimum(&taken.wall),
                median(&taken.wall),
                median(&taken.cpu) / none,
                median(&taken.cpu) / empty,
                taken.samples as f64 / (sum / 1e3),
            );
        }
    }
    Ok(())
}

/// Runs a guest once, adds what it took, and returns what it printed.
fn run(
    way: Way,
    (plain, epochs): &(Program, Program),
    scale: u32,
    taken: &mut Taken,
) -> wasmtime::Result<String> {
    let program = if way == Way::GuestProfiler {
        epochs
    } else {
        plain
    };
    let mut prepared = program.prepare(scale)?;
    let mut timed = |prepared: &mut guests::Prepared| -> wasmtime::Result<()> {
        let begin = Reading::now();
        prepared.run()?;
        let spent = begin.elapsed();
        taken.wall.push(spent.wall as f64 / 1e6);
        taken.cpu.push(spent.cpu as f64 / 1e6);
        Ok(())
    };
    match way {
        Way::Plain => timed(&mut prepared)?,
        Way::Empty => {
            let handler = EmptyHandler::arm(INTERVAL)?;
            timed(&mut prepared)?;
            taken.samples += handler.counted().signals;
        }
        Way::Wall | Way::Cpu => {
            let clock = if way == Way::Wall {
                Clock::Wall
            } else {
                Clock::Cpu
            };
            let profiler = Profiler::builder().clock(clock).start()?;
            let guest = Guest::module("guest", program.module()).bytes(program.bytes().to_vec());
            let registration = profiler.register(guest)?;
            let thread = profiler.attach_thread()?;
            timed(&mut prepared)?;
            drop(thread);
            taken.samples += profiler.take_profile().total().count;
            drop(registration);
        }
        Way::GuestProfiler => {
            let module = program.module();
            let profiled = Profiled::attach(&mut prepared.store, "guest", module, INTERVAL)?;
            let ticker = Ticker::start(module.engine(), INTERVAL);
            timed(&mut prepared)?;
            drop(ticker);
            taken.samples += profiled.finish()?.samples();
        }
    }
    Ok(prepared.output())
}
