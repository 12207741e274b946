//! Each sample's stack is a path of the guest's call graph: no frame is lost, none
//! made up, whichever instruction the timer hits.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "support/call_graph.rs"]
mod call_graph;

use call_graph::{CallGraph, Tally};
use wasmscope::{Clock, Guest, HostFrames, Profiler, Rate};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, Linker, Module, PoolingAllocationConfig, Store,
    Strategy,
};

/// Enough to land in each window of each function many times.
const SAMPLES: u64 = 5_000;

/// Samples `run` of a call graph until there are enough samples, and checks all.
fn sample(config: &Config, tail_calls: bool, clock: Clock, host_frames: HostFrames) -> Tally {
    let graph = CallGraph::new("");
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, graph.wat(tail_calls)).unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("host", "call", |x: i32| std::hint::black_box(x) ^ 1)
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();

    let profiler = Profiler::builder()
        .clock(clock)
        .rate(Rate::hertz(10_000).unwrap())
        .host_frames(host_frames)
        .start()
        .unwrap();
    let _guest = profiler.register(Guest::module("graph", &module)).unwrap();
    // A number of samples, not a time: machines differ.
    for _ in 0..100 {
        let thread = profiler.attach_thread().unwrap();
        run.call(&mut store, 150_000).unwrap();
        drop(thread);
        if profiler.snapshot().profile().total().count >= SAMPLES {
            break;
        }
    }
    let profile = profiler.take_profile();
    let tally = graph.check(&profile);
    assert!(
        tally.in_guest + tally.elsewhere >= SAMPLES,
        "{tally:?} {:?}",
        profile.accounting()
    );
    assert!(tally.in_guest > SAMPLES / 2, "{tally:?}");
    assert!(tally.nested > tally.in_guest / 2, "{tally:?}");
    assert!(tally.deepest >= 22, "the recursion is whole: {tally:?}");
    tally
}

/// Samples land all over the graph; a leaf of one instruction may be missed by chance.
fn all_over(tally: &Tally) {
    let functions = CallGraph::functions();
    assert!(tally.newest.len() * 4 >= functions * 3, "{tally:?}");
}

#[test]
fn on_the_wall_clock() {
    all_over(&sample(&Config::new(), true, Clock::Wall, HostFrames::Omit));
}

#[test]
fn on_the_cpu_clock() {
    all_over(&sample(&Config::new(), true, Clock::Cpu, HostFrames::Omit));
}

#[test]
fn with_host_frames() {
    all_over(&sample(&Config::new(), true, Clock::Cpu, HostFrames::Keep));
}

#[test]
fn compiled_by_winch() {
    let mut config = Config::new();
    config.strategy(Strategy::Winch).wasm_tail_call(false);
    all_over(&sample(&config, false, Clock::Cpu, HostFrames::Omit));
}

#[test]
fn in_a_pool() {
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(
        PoolingAllocationConfig::default(),
    ));
    all_over(&sample(&config, true, Clock::Wall, HostFrames::Omit));
}
