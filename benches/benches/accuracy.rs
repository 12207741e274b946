//! Are the shares of time in a profile true?
//!
//! Guests whose true shares are known are profiled many times. The total variation
//! between the profile and the truth is compared with the noise floor: what as many
//! independent draws from the truth would show by chance. Beside it
//! `GuestProfiler`, against the floor of its own, fewer samples.
//!
//! The truth is not taken on trust. Each part of a guest is also timed alone, by the
//! thread's CPU clock, the parts in turn, the minimum of each: instructions are not
//! time. The profiles are compared with what that gives.

#![expect(clippy::print_stdout, reason = "printing is what a bench is for")]

use std::time::Duration;
use wasmscope::profile::Total;
use wasmscope::{Clock, Guest, Profiler, Rate};
use wasmscope_bench::arguments::{Size, value_of};
use wasmscope_bench::clocks::thread_cpu_nanos;
use wasmscope_bench::guest_profiler::{Profiled, Ticker};
use wasmscope_bench::guests;
use wasmscope_bench::machine::Machine;
use wasmscope_bench::shares::{noise_floor, total_variation};
use wasmscope_bench::statistics::{mean, minimum};
use wasmtime::{Engine, Linker, Module, Store, TypedFunc};

const GOAL: f64 = 1.2;

/// One side of a guest's work.
struct Part {
    /// The function in the guest, without the `$`; for the host, of the import.
    function: &'static str,
    /// What a profile calls it.
    shown: &'static str,
    /// Its share, by the number of steps.
    nominal: f64,
    /// What it is called with in a round of mean length.
    arguments: &'static str,
    /// How often it is called in one timing.
    calls: u32,
}

const STEPS_16000: &str = "(i32.const 16000) (local.get $x) (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)";

const fn tenth(name: &'static str) -> Part {
    Part {
        function: name,
        shown: name,
        nominal: 0.1,
        arguments: STEPS_16000,
        calls: 40,
    }
}

struct Subject {
    name: &'static str,
    parts: &'static [Part],
    /// Samples a second of the sampled clock.
    rate: u32,
    /// Whether it is held against the goal.
    judged: bool,
}

/// Two functions with the same work, one of them 500 frames deep. Going down there and
/// up again is a tenth of a percent of the time, so it is a part of the truth too.
const DEEP_SHALLOW: &[Part] = &[
    Part {
        function: "descend",
        shown: "descend",
        nominal: 0.0,
        arguments: "(i32.const 499) (i32.const 1) (local.get $x)",
        calls: 200,
    },
    Part {
        function: "deep_work",
        shown: "deep_work",
        nominal: 0.5,
        arguments: "(i32.const 1600000) (local.get $x) (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)",
        calls: 1,
    },
    Part {
        function: "shallow_work",
        shown: "shallow_work",
        nominal: 0.5,
        arguments: "(i32.const 1600000) (local.get $x) (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)",
        calls: 1,
    },
];

/// Ten samples a millisecond, to have enough of them soon. A sample of 500 frames
/// takes some microseconds longer than one of two, time that the profile rightly
/// shows where it passed; at ten samples a millisecond that is more than the noise.
/// So that guest is judged at the default rate, and shown at the other one as well.
const SUBJECTS: [Subject; 6] = [
    Subject {
        name: "ten_equal",
        parts: &[
            tenth("zero"),
            tenth("one"),
            tenth("two"),
            tenth("three"),
            tenth("four"),
            tenth("five"),
            tenth("six"),
            tenth("seven"),
            tenth("eight"),
            tenth("nine"),
        ],
        rate: 10_000,
        judged: true,
    },
    Subject {
        name: "eighty_twenty",
        parts: &[
            Part {
                function: "hot",
                shown: "hot",
                nominal: 0.8,
                arguments: "(i32.const 51200) (local.get $x) (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)",
                calls: 24,
            },
            Part {
                function: "cold",
                shown: "cold",
                nominal: 0.2,
                arguments: "(i32.const 12800) (local.get $x) (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)",
                calls: 24,
            },
        ],
        rate: 10_000,
        judged: true,
    },
    Subject {
        name: "straight_loop",
        parts: &[
            Part {
                function: "straight",
                shown: "straight",
                nominal: 0.5,
                arguments: "(local.get $x) (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)",
                calls: 300,
            },
            Part {
                function: "looped",
                shown: "looped",
                nominal: 0.5,
                arguments: "(i32.const 4096) (local.get $x) (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)",
                calls: 300,
            },
        ],
        rate: 10_000,
        judged: true,
    },
    Subject {
        name: "guest_host",
        parts: &[
            Part {
                function: "guest",
                shown: "guest",
                nominal: 0.5,
                arguments: "(i32.const 64000) (local.get $x) (i64.const 0x5851f42d4c957f2d) (i64.const 0x14057b7ef767814f)",
                calls: 20,
            },
            Part {
                function: "work",
                shown: "bench::work",
                nominal: 0.5,
                arguments: "(i32.const 64000) (local.get $x)",
                calls: 20,
            },
        ],
        rate: 10_000,
        judged: true,
    },
    Subject {
        name: "deep_shallow",
        parts: DEEP_SHALLOW,
        rate: 1_000,
        judged: true,
    },
    Subject {
        name: "deep_shallow",
        parts: DEEP_SHALLOW,
        rate: 10_000,
        judged: false,
    },
];

/// The host's side of `guest_host`: the same step as the guest's.
fn work(steps: u32, mut x: u64) -> u64 {
    for _ in 0..steps {
        x = x.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ 0x1405_7b7e_f767_814f;
    }
    x
}

/// A subject, compiled, with one export more for each part: it runs that part alone.
struct Instance {
    bytes: Vec<u8>,
    module: Module,
    store: Store<()>,
    instance: wasmtime::Instance,
    run: TypedFunc<i32, ()>,
}

impl Instance {
    fn compile(engine: &Engine, subject: &Subject) -> wasmtime::Result<Self> {
        let path = guests::path(&format!("accuracy/{}.wat", subject.name));
        let text = std::fs::read_to_string(path)?;
        let mut text = text
            .trim_end()
            .strip_suffix(')')
            .unwrap_or(&text)
            .to_owned();
        for part in subject.parts {
            let Part {
                function,
                arguments,
                ..
            } = part;
            text.push_str(&format!(
                "(func (export \"alone {function}\") (param $left i32) (local $x i64)
                   (loop $again
                     (local.set $x (call ${function} {arguments}))
                     (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
                   (global.set $sink (local.get $x)))\n"
            ));
        }
        text.push(')');
        let bytes = wat::parse_str(&text)?;
        let module = Module::new(engine, &bytes)?;
        let mut linker = Linker::new(engine);
        linker.func_wrap("bench", "work", |steps: u32, x: u64| work(steps, x))?;
        let mut store = Store::new(engine, ());
        store.set_epoch_deadline(1 << 40);
        let instance = linker.instantiate(&mut store, &module)?;
        let run = instance.get_typed_func(&mut store, "run")?;
        Ok(Self {
            bytes,
            module,
            store,
            instance,
            run,
        })
    }

    /// Runs the guest for at least so long of the thread's CPU time.
    fn run_for(&mut self, time: Duration) -> wasmtime::Result<()> {
        let begin = thread_cpu_nanos();
        while u128::from(thread_cpu_nanos().wrapping_sub(begin)) < time.as_nanos() {
            self.run.call(&mut self.store, 4)?;
        }
        Ok(())
    }

    /// Times each part alone, in turn, and returns the parts' shares.
    fn calibrate(&mut self, subject: &Subject, rounds: u32) -> wasmtime::Result<Vec<f64>> {
        let mut alone = Vec::new();
        for part in subject.parts {
            let name = format!("alone {}", part.function);
            let function = self
                .instance
                .get_typed_func::<i32, ()>(&mut self.store, &name)?;
            alone.push((function, part.calls as i32, Vec::new()));
        }
        for _ in 0..rounds {
            for (function, calls, times) in &mut alone {
                let begin = thread_cpu_nanos();
                function.call(&mut self.store, *calls)?;
                times.push(thread_cpu_nanos().wrapping_sub(begin) as f64);
            }
        }
        let least: Vec<f64> = alone
            .iter()
            .map(|(_, calls, times)| minimum(times) / f64::from(*calls))
            .collect();
        let sum: f64 = least.iter().sum();
        Ok(least.iter().map(|time| time / sum).collect())
    }
}

/// What a number of runs showed.
#[derive(Default)]
struct Shown {
    /// Of each run: samples, and the time (or count) of each part and of the rest.
    runs: Vec<(u64, Vec<f64>)>,
}

impl Shown {
    fn samples(&self) -> u64 {
        let sum: u64 = self.runs.iter().map(|(samples, _)| samples).sum();
        sum / self.runs.len() as u64
    }

    /// Returns the mean total variation of the runs.
    fn variation(&self, truth: &[f64]) -> f64 {
        let each: Vec<f64> = self
            .runs
            .iter()
            .map(|(_, counts)| total_variation(counts, truth))
            .collect();
        mean(&each)
    }

    /// Adds all runs up into one.
    fn pooled(&self) -> Self {
        let mut sums = Vec::new();
        let mut samples = 0;
        for (count, parts) in &self.runs {
            samples += count;
            sums.resize(parts.len(), 0.0);
            for (sum, part) in sums.iter_mut().zip(parts) {
                *sum += part;
            }
        }
        Self {
            runs: vec![(samples, sums)],
        }
    }

    fn print(&self, who: &str, truth: &[f64], nominal: &[f64]) -> f64 {
        let samples = self.samples();
        let floor = noise_floor(truth, samples);
        let variation = self.variation(truth);
        let pooled = self.pooled();
        println!(
            "  {who:<14} {samples:>7} samples x {:<2}  variation {:.3}% (from the nominal shares {:.3}%)  floor {:.3}%  ratio {:.2}  | all runs as one: variation {:.3}%, floor {:.3}%",
            self.runs.len(),
            variation * 100.0,
            self.variation(nominal) * 100.0,
            floor * 100.0,
            variation / floor,
            pooled.variation(truth) * 100.0,
            noise_floor(truth, pooled.samples().min(1_000_000)) * 100.0,
        );
        let (_, sums) = &pooled.runs[0];
        let sum: f64 = sums.iter().sum();
        let shares: Vec<String> = sums
            .iter()
            .map(|part| format!("{:.3}", part / sum * 100.0))
            .collect();
        println!("  {:<14} shares {} and the rest %", "", shares.join(" "));
        variation / floor
    }
}

fn time_of(total: Total) -> f64 {
    total.weight.as_secs_f64()
}

fn count_of(total: Total) -> f64 {
    total.count as f64
}

fn main() -> wasmtime::Result<()> {
    let size = Size::from_arguments();
    let number = |name: &str, default: u32| -> u32 {
        value_of(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    };
    let samples = number("samples", size.pick(10_000, 101_000));
    let runs = number("runs", size.pick(1, 10));
    let clock = match value_of("clock").as_deref() {
        Some("wall") => Clock::Wall,
        _ => Clock::Cpu,
    };
    let only = value_of("guest");
    println!("accuracy: {}", Machine::now());
    println!(
        "{runs} runs of {samples} samples due of the {clock} clock; goal: ratio at most {GOAL}"
    );
    let mut results = Vec::new();
    for subject in SUBJECTS {
        let rate = number("rate", subject.rate);
        let label = format!("{} at {rate} Hz", subject.name);
        let wanted = |only: &String| only.split(',').any(|only| label.starts_with(only));
        if !only.as_ref().is_none_or(wanted) {
            continue;
        }
        // What is not judged need not be repeated as often.
        let runs = if subject.judged { runs } else { runs.min(3) };
        let ratios = measure(&subject, &label, Rate::hertz(rate)?, clock, samples, runs)?;
        results.push((label, subject.judged, ratios));
    }
    println!();
    for (label, judged, (ours, theirs)) in results {
        let met = match (judged, ours <= GOAL) {
            (false, _) => "not judged",
            (true, true) => "met",
            (true, false) => "MISSED",
        };
        println!(
            "{label:<26} ratio to the noise floor: ours {ours:.2} (goal {GOAL}: {met}), GuestProfiler {theirs:.2}"
        );
    }
    println!("{}", Machine::now());
    Ok(())
}

fn measure(
    subject: &Subject,
    label: &str,
    rate: Rate,
    clock: Clock,
    samples: u32,
    runs: u32,
) -> wasmtime::Result<(f64, f64)> {
    let plain = Engine::default();
    let epochs = guests::engine_with_epochs()?;
    let mut ours = Instance::compile(&plain, subject)?;
    let mut theirs = Instance::compile(&epochs, subject)?;
    let nominal: Vec<f64> = subject.parts.iter().map(|part| part.nominal).collect();
    let time = rate.interval() * samples;
    let epoch = Duration::from_millis(1);

    let profiler = Profiler::builder().clock(clock).rate(rate).start()?;
    let guest = Guest::module(subject.name, &ours.module).bytes(ours.bytes.clone());
    let registration = profiler.register(guest)?;
    let (mut by_us, mut by_them) = (Shown::default(), Shown::default());
    // The same samples with a weight of one each, whatever time they stand for.
    let mut by_count = Shown::default();
    let mut truths: Vec<Vec<f64>> = Vec::new();
    let mut lost = 0;
    let mut mechanism = String::new();
    for _ in 0..runs {
        // The truth is timed before each run, so that it is of the same conditions.
        truths.push(ours.calibrate(subject, 100)?);

        drop(profiler.take());
        let thread = profiler.attach_thread()?;
        ours.run_for(time)?;
        drop(thread);
        let profile = profiler.take_profile();
        mechanism.clone_from(&profile.meta().mechanism);
        let totals = profile.function_totals();
        let of = |part: &Part, value: fn(Total) -> f64| {
            let named = totals
                .iter()
                .filter(|total| profile.function(total.function).name == part.shown);
            named.map(|total| value(total.own)).sum::<f64>()
        };
        let all = profile.total();
        for (shown, value) in [
            (&mut by_us, time_of as fn(Total) -> f64),
            (&mut by_count, count_of),
        ] {
            let mut parts: Vec<f64> = subject.parts.iter().map(|part| of(part, value)).collect();
            parts.push(value(all) - parts.iter().sum::<f64>());
            shown.runs.push((all.count, parts));
        }
        lost += profile.accounting().map_or(0, |counted| counted.lost);

        let profiled = Profiled::attach(&mut theirs.store, subject.name, &theirs.module, epoch)?;
        let ticker = Ticker::start(&epochs, epoch);
        theirs.run_for(Duration::from_secs(2))?;
        drop(ticker);
        theirs.store.set_epoch_deadline(1 << 40);
        let counts = profiled.finish()?;
        let of = |name: &str| counts.by_name.get(name).copied().unwrap_or(0) as f64;
        let mut parts: Vec<f64> = subject.parts.iter().map(|part| of(part.shown)).collect();
        parts.push(counts.samples() as f64 - parts.iter().sum::<f64>());
        by_them.runs.push((counts.samples(), parts));
    }
    drop(registration);

    // One truth for all runs: the median over the timings, made to add up to 1.
    let mut truth: Vec<f64> = (0..nominal.len())
        .map(|part| {
            let each: Vec<f64> = truths.iter().map(|truth| truth[part]).collect();
            wasmscope_bench::statistics::median(&each)
        })
        .collect();
    let sum: f64 = truth.iter().sum();
    truth.iter_mut().for_each(|share| *share /= sum);

    println!();
    println!("{label} ({mechanism}; {lost} samples lost in all)");
    let list: Vec<String> = truth
        .iter()
        .map(|share| format!("{:.3}", share * 100.0))
        .collect();
    println!("  timed alone    shares {} %", list.join(" "));
    let ours = by_us.print("wasmscope", &truth, &nominal);
    by_count.print("(unweighted)", &truth, &nominal);
    let theirs = by_them.print("GuestProfiler", &truth, &nominal);
    Ok((ours, theirs))
}
