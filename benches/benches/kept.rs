//! How many of the samples that were due are kept?
//!
//! One thread, and eight, work 32 and 1,000 frames deep and are sampled 1,000 times a
//! second, while another thread compiles, registers, runs and drops modules all the
//! time. How many samples were due is counted from clocks that the bench reads itself,
//! just after a thread was attached and just before it is detached.
//!
//! On the wall clock a thread that waits for a processor cannot be sampled before it
//! gets one: eight busy threads on two processors run a quarter of the time at most,
//! and the samples that were due meanwhile are lost, one by one counted, their time
//! carried by the next. The CPU clock stands still for a thread that waits. How long
//! the threads waited for a processor is read from the kernel and printed as well.

#![expect(clippy::print_stdout, reason = "printing is what a bench is for")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use wasmscope::{Clock, Guest, Profiler};
use wasmscope_bench::arguments::Size;
use wasmscope_bench::clocks::Reading;
use wasmscope_bench::guests::DESCEND;
use wasmscope_bench::machine::Machine;
use wasmtime::{Config, Engine, Instance, Linker, Module, Store};

const INTERVAL_NANOS: u64 = 1_000_000;
const GOAL: f64 = 98.0;

fn main() -> wasmtime::Result<()> {
    let size = Size::from_arguments();
    println!("kept: {}", Machine::now());
    println!("1,000 samples a second for each thread; goal: {GOAL}% of those due are kept\n");
    println!(
        "{:<6} {:>6} {:>8} {:>8} {:>10} {:>8} {:>8} {:>9} {:>10} {:>9} {:>9}  goal",
        "clock",
        "depth",
        "threads",
        "due",
        "due (own)",
        "kept",
        "lost",
        "kept %",
        "weight %",
        "waited",
        "modules"
    );
    for clock in [Clock::Cpu, Clock::Wall] {
        for threads in [1, 8] {
            for depth in [32, 1_000] {
                let time = Duration::from_secs(size.pick(2, 10));
                measure(clock, threads, depth, time)?;
            }
        }
    }
    println!(
        "\ndue: from the bench's clocks; due (own): as the profile says; weight: time of all samples, of the time that was due; waited: due while the thread waited for a processor"
    );
    println!("{}", Machine::now());
    Ok(())
}

/// Compiles, registers, runs and drops modules until told to stop.
fn churn(
    engine: &Engine,
    profiler: &Profiler,
    stop: &AtomicBool,
    modules: &AtomicU64,
) -> wasmtime::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let number = modules.fetch_add(1, Ordering::Relaxed);
        let bytes = wat::parse_str(format!(
            "(module $churn
               (func $spin (export \"spin\") (param i32) (result i32)
                 (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                 (i32.const {number})))"
        ))?;
        let module = Module::new(engine, &bytes)?;
        let guest = Guest::module(format!("churn-{number}"), &module).bytes(bytes);
        let registration = profiler.register(guest)?;
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let spin = instance.get_typed_func::<i32, i32>(&mut store, "spin")?;
        spin.call(&mut store, 100_000)?;
        drop((store, module, registration));
    }
    Ok(())
}

/// Works at `depth` for `time` of the wall, sampled; returns how many samples were
/// due by the clocks read here, and how many while it waited for a processor.
fn work(
    engine: &Engine,
    module: &Module,
    profiler: &Profiler,
    clock: Clock,
    depth: i32,
    time: Duration,
) -> wasmtime::Result<(u64, u64)> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("bench", "capture", || {})?;
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, module)?;
    let descend = instance.get_typed_func::<(i32, i64), i64>(&mut store, "descend")?;
    let thread = profiler.attach_thread()?;
    let (begin, waited) = (Reading::now(), waited_nanos());
    while u128::from(begin.elapsed().wall) < time.as_nanos() {
        // Some milliseconds each.
        descend.call(&mut store, (depth, 5_000_000))?;
    }
    let (spent, waited) = (begin.elapsed(), waited_nanos() - waited);
    drop(thread);
    Ok(match clock {
        Clock::Wall => (spent.wall / INTERVAL_NANOS, waited / INTERVAL_NANOS),
        Clock::Cpu => (spent.cpu / INTERVAL_NANOS, 0),
    })
}

/// Returns how long the calling thread has waited for a processor, as the kernel
/// counts it; 0 where it does not.
fn waited_nanos() -> u64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse().ok())
        .unwrap_or(0)
}

fn measure(clock: Clock, threads: usize, depth: i32, time: Duration) -> wasmtime::Result<()> {
    let engine = Engine::new(Config::new().max_wasm_stack(1 << 20))?;
    let bytes = wat::parse_str(DESCEND)?;
    let module = Module::new(&engine, &bytes)?;
    let profiler = Profiler::builder().clock(clock).start()?;
    let registration = profiler.register(Guest::module("descend.wasm", &module).bytes(bytes))?;

    let stop = Arc::new(AtomicBool::new(false));
    let modules = Arc::new(AtomicU64::new(0));
    let churning = std::thread::spawn({
        let (engine, profiler) = (engine.clone(), profiler.clone());
        let (stop, modules) = (stop.clone(), modules.clone());
        move || churn(&engine, &profiler, &stop, &modules)
    });
    let due: wasmtime::Result<Vec<(u64, u64)>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| work(&engine, &module, &profiler, clock, depth, time)))
            .collect();
        running
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    stop.store(true, Ordering::Relaxed);
    churning
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let due = due?;
    let waited: u64 = due.iter().map(|(_, waited)| waited).sum();
    let due: u64 = due.iter().map(|(due, _)| due).sum();
    let profile = profiler.take_profile();
    drop(registration);
    let counted = profile.accounting().unwrap_or_default();
    let total = profile.total();
    assert_eq!(total.count, counted.kept, "all that were kept are shown");
    let percent = |of: f64| of / due as f64 * 100.0;
    let kept = percent(counted.kept as f64);
    println!(
        "{:<6} {:>6} {:>8} {:>8} {:>10} {:>8} {:>8} {:>8.2}% {:>9.2}% {:>9} {:>9}  {}",
        clock.to_string(),
        depth,
        threads,
        due,
        counted.due,
        counted.kept,
        counted.lost,
        kept,
        percent(total.weight.as_nanos() as f64 / INTERVAL_NANOS as f64),
        waited,
        modules.load(Ordering::Relaxed),
        match (clock, threads) {
            (Clock::Wall, 8) => "not reachable: see the first lines of this bench",
            _ if kept >= GOAL => "met",
            _ if counted.lost <= waited => "MISSED: the machine was busy, see waited",
            _ => "MISSED",
        }
    );
    Ok(())
}
