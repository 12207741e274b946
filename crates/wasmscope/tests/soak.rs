//! A profiler runs in a server for as long as the server does, with bounded memory and
//! exact counts, whatever comes and goes.
//!
//! Each test runs for a few seconds. `WASMSCOPE_SOAK=3600 cargo test --release --test
//! soak` makes it an hour each; bounds stay the same. Each runs in a process of its
//! own, so that resident memory is that test's alone.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
#![expect(
    clippy::print_stderr,
    reason = "says what was measured, for whoever asks with --nocapture"
)]

#[path = "support/patience.rs"]
mod patience;

use patience::{Patience, Stop};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wasmscope::profile::Accounting;
use wasmscope::{Clock, Guest, Labels, Limits, Profiler, Rate};
use wasmtime::{Engine, Instance, Module, Store};

/// Growth of resident memory that is allowed from the end of the warm-up on: noise of
/// the allocator and of compiling, far below what a few seconds would leave behind.
const BOUND: u64 = 24 << 20;

/// Small, so that all are reached within the warm-up.
const LIMITS: Limits = Limits {
    timeline: 2048,
    sums: 256,
    stacks: 512,
    labels: 64,
    markers: 256,
};

fn seconds() -> u64 {
    std::env::var("WASMSCOPE_SOAK")
        .ok()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(8)
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib << 10
}

/// A guest of its own text each time, so that its code and names are new.
fn text(number: u64) -> String {
    let functions: String = (0..8)
        .map(|function| {
            format!(
                "(func $f{function}_{number} (export \"f{function}\") (param i32)
                   (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))"
            )
        })
        .collect();
    format!("(module {functions})")
}

/// Serves one request: a new module, a new label set, on whichever thread.
fn serve(engine: &Engine, profiler: &Profiler, number: u64) {
    let module = Module::new(engine, text(number)).unwrap();
    let _guest = profiler
        .register(Guest::module(format!("module {number}"), &module))
        .unwrap();
    let labels = Labels::new()
        .with("tenant", format!("tenant {}", number % 7))
        .with_number("request", i64::try_from(number).unwrap());
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let mut track = profiler.memory_track(format!("memory {}", number % 5000));
    track.grown(0, 65536);
    labels.scope(|| {
        for function in 0..8 {
            instance
                .get_typed_func::<i32, ()>(&mut store, &format!("f{function}"))
                .unwrap()
                .call(&mut store, 30_000)
                .unwrap();
        }
    });
}

/// Runs threads that come and go, and calls `each_second` meanwhile; checks memory.
/// Returns the profiler, and how many threads it sampled.
fn soak(clock: Clock, each_second: impl Fn(&Profiler)) -> (Profiler, u64) {
    let engine = Engine::default();
    let profiler = Profiler::builder()
        .clock(clock)
        .rate(Rate::hertz(5000).unwrap())
        .limits(LIMITS)
        .start()
        .unwrap();
    let stop = AtomicBool::new(false);
    let next = AtomicU64::new(0);
    let threads = AtomicU64::new(0);
    // A thread serves so many requests and ends; another takes its place.
    let worker = || {
        while !stop.load(Ordering::Relaxed) {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let _thread = profiler.attach_thread().unwrap();
                    threads.fetch_add(1, Ordering::Relaxed);
                    for _ in 0..20 {
                        serve(&engine, &profiler, next.fetch_add(1, Ordering::Relaxed));
                    }
                });
            });
        }
    };
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        for _ in 0..2 {
            scope.spawn(worker);
        }
        // Until limits are reached and caches are full: counted in requests, and at
        // least as long as past labels are remembered.
        let begin = Instant::now();
        let patience = Patience::for_what("a thousand requests served");
        while next.load(Ordering::Relaxed) < 1000 || begin.elapsed() < Duration::from_secs(8) {
            std::thread::sleep(Duration::from_secs(1));
            each_second(&profiler);
            patience.check();
        }
        let warm = resident();
        let requests = next.load(Ordering::Relaxed);
        let mut most = warm;
        let served = || next.load(Ordering::Relaxed) - requests;
        let patience = Patience::for_what("a hundred more");
        let mut second = 0;
        while second < seconds() || served() <= 100 {
            if second >= seconds() {
                patience.check();
            }
            std::thread::sleep(Duration::from_secs(1));
            each_second(&profiler);
            most = most.max(resident());
            second += 1;
        }
        stop.store(true, Ordering::Relaxed);
        let served = served();
        eprintln!(
            "{served} requests, {} MiB resident after the warm-up, {} MiB at most since",
            warm >> 20,
            most >> 20
        );
        assert!(
            most <= warm + BOUND,
            "{} MiB after the warm-up, {} MiB later",
            warm >> 20,
            most >> 20
        );
    });
    (profiler, threads.into_inner())
}

/// Runs one of the tests below in a process of its own, where `name` is set in the
/// environment; returns whether this is that process.
fn alone(name: &str) -> bool {
    if std::env::var("WASMSCOPE_SOAK_ALONE").is_ok_and(|alone| alone == name) {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("WASMSCOPE_SOAK_ALONE", name)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    eprintln!("{said}");
    assert!(output.status.success(), "{said}");
    false
}

fn check_exact(accounting: Accounting, samples: u64, threads: u64) {
    // Each thread's last interval may be under way.
    assert!(
        accounting.due.abs_diff(accounting.kept + accounting.lost) <= threads,
        "{accounting:?}"
    );
    assert_eq!(samples, accounting.kept, "{accounting:?}");
}

#[test]
fn without_ever_taking_a_recording() {
    if !alone("without_ever_taking_a_recording") {
        return;
    }
    let (profiler, threads) = soak(Clock::Wall, |_| ());
    let recording = profiler.take();
    let profile = recording.profile();
    // The limits were reached, and nothing was dropped.
    assert!(profile.total().count > 2 * LIMITS.timeline as u64);
    assert!(!profile.meta().comments.is_empty(), "stacks were cut short");
    let more = |label: &wasmscope::profile::Label| label.key == "labels";
    assert!(
        profile
            .samples()
            .any(|sample| { profile.labels(sample.labels).iter().any(more) })
    );
    check_exact(
        profile.accounting().unwrap(),
        profile.total().count,
        threads,
    );
    let interval = profile.meta().interval;
    let accounting = profile.accounting().unwrap();
    let weight = profile.total().weight;
    let weighed = interval * u32::try_from(accounting.kept + accounting.lost).unwrap();
    assert!(weight <= weighed, "{weight:?} of {weighed:?}");
    let kept = interval * u32::try_from(accounting.kept).unwrap();
    assert!(weight + recording.in_handler() >= kept, "{weight:?}");
}

#[test]
fn with_a_recording_each_second() {
    if !alone("with_a_recording_each_second") {
        return;
    }
    let (samples, kept) = (AtomicU64::new(0), AtomicU64::new(0));
    let count = |profiler: &Profiler| {
        let profile = profiler.take_profile();
        samples.fetch_add(profile.total().count, Ordering::Relaxed);
        let accounting = profile.accounting().unwrap_or_default();
        kept.fetch_add(accounting.kept, Ordering::Relaxed);
    };
    let (profiler, _) = soak(Clock::Cpu, count);
    count(&profiler);
    assert!(kept.load(Ordering::Relaxed) > 1000);
    assert_eq!(
        samples.load(Ordering::Relaxed),
        kept.load(Ordering::Relaxed)
    );
}
