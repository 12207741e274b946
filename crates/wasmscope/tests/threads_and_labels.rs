//! Time goes to whom it belongs: two tenants on one thread pool, on fibers that move
//! between threads, in stores that call each other; and each stack is whole.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "support/call_graph.rs"]
mod call_graph;

use call_graph::{CallGraph, Tally, label};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wasmscope::profile::{Category, Profile};
use wasmscope::{Clock, Guest, Labels, Profiler, Rate};
use wasmtime::{
    Caller, Config, Engine, InstanceAllocationStrategy, Linker, Module, PoolingAllocationConfig,
    Store, TypedFunc,
};

fn profiler(clock: Clock) -> Profiler {
    Profiler::builder()
        .clock(clock)
        .rate(Rate::hertz(5000).unwrap())
        .start()
        .unwrap()
}

/// Checks every sample against the tenant that its label names; returns what each of
/// `tenants` had.
fn check_tenants(profile: &Profile, tenants: &[(&str, &CallGraph)]) -> Vec<Tally> {
    let mut tallies: Vec<Tally> = tenants.iter().map(|_| Tally::default()).collect();
    for sample in profile.samples() {
        match label(profile, &sample, "tenant") {
            Some(tenant) => {
                let at = tenants
                    .iter()
                    .position(|(name, _)| *name == tenant)
                    .expect("a tenant that there is");
                tenants[at]
                    .1
                    .check_sample(profile, &sample, &mut tallies[at]);
            }
            None => assert!(
                sample
                    .stack
                    .into_iter()
                    .flat_map(|stack| profile.stack_frames(stack))
                    .all(|frame| profile.function(frame.function).category != Category::Guest),
                "a guest runs for a tenant only"
            ),
        }
    }
    for tally in &tallies {
        tally.is_whole_but_for_switches();
    }
    tallies
}

/// Runs two tenants' requests on a runtime of two threads, on fibers that yield at
/// epochs and in a host call.
fn two_tenants_on_fibers(config: &mut Config) {
    let engine = Engine::new(config.epoch_interruption(true)).unwrap();
    let (red, blue) = (CallGraph::new("red_"), CallGraph::new("blue_"));
    let red_module = Module::new(&engine, red.wat(true)).unwrap();
    let blue_module = Module::new(&engine, blue.wat(true)).unwrap();
    let mut linker = Linker::<u32>::new(&engine);
    linker
        .func_wrap_async(
            "host",
            "call",
            |mut caller: Caller<'_, u32>, (x,): (i32,)| {
                Box::new(async move {
                    let calls = caller.data_mut();
                    *calls += 1;
                    if calls.is_multiple_of(500) {
                        tokio::task::yield_now().await;
                    }
                    x ^ 1
                })
            },
        )
        .unwrap();
    let linker = Arc::new(linker);

    let profiler = profiler(Clock::Cpu);
    let _red = profiler
        .register(Guest::module("red", &red_module))
        .unwrap();
    let _blue = profiler
        .register(Guest::module("blue", &blue_module))
        .unwrap();
    let attach = profiler.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(move || attach.attach_thread().unwrap().keep_until_thread_exits())
        .build()
        .unwrap();

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                engine.increment_epoch();
            }
        });
        runtime.block_on(async {
            let mut requests = Vec::new();
            for request in 0..24 {
                let (tenant, module) = match request % 2 {
                    0 => ("red", red_module.clone()),
                    _ => ("blue", blue_module.clone()),
                };
                let labels = Labels::new()
                    .with("tenant", tenant)
                    .with_number("request", request);
                let linker = linker.clone();
                let work = async move {
                    let mut store = Store::new(module.engine(), 0);
                    store.set_epoch_deadline(1);
                    store.epoch_deadline_async_yield_and_update(1);
                    let instance = linker.instantiate_async(&mut store, &module).await.unwrap();
                    let run = instance
                        .get_typed_func::<i32, i32>(&mut store, "run")
                        .unwrap();
                    run.call_async(&mut store, 80_000).await.unwrap()
                };
                requests.push(tokio::spawn(labels.follow(work)));
            }
            for request in requests {
                request.await.unwrap();
            }
        });
        stop.store(true, Ordering::Relaxed);
    });
    drop(runtime);
    let profile = profiler.take_profile();
    let tallies = check_tenants(&profile, &[("red", &red), ("blue", &blue)]);
    for tally in tallies {
        assert!(tally.in_guest > 300, "{tally:?}");
        assert!(tally.deepest >= 22, "{tally:?}");
    }
    assert!(profile.threads().len() >= 2, "both workers were sampled");
    let requests: std::collections::BTreeSet<_> = profile
        .samples()
        .filter_map(|sample| label(&profile, &sample, "request"))
        .collect();
    assert_eq!(requests.len(), 24, "each request has samples of its own");
}

#[test]
fn two_tenants_on_fibers_of_one_runtime() {
    two_tenants_on_fibers(&mut Config::new());
}

#[test]
fn two_tenants_on_fibers_from_a_pool() {
    let pool = PoolingAllocationConfig::default();
    two_tenants_on_fibers(
        Config::new().allocation_strategy(InstanceAllocationStrategy::Pooling(pool)),
    );
}

#[test]
fn threads_of_their_own() {
    let engine = Engine::default();
    let graphs = ["one_", "two_", "three_"].map(CallGraph::new);
    let profiler = profiler(Clock::Wall);
    std::thread::scope(|scope| {
        for (number, graph) in graphs.iter().enumerate() {
            let (engine, profiler) = (&engine, &profiler);
            scope.spawn(move || {
                let module = Module::new(engine, graph.wat(true)).unwrap();
                let _guest = profiler.register(Guest::module("guest", &module)).unwrap();
                let _thread = profiler.attach_thread().unwrap();
                let labels = Labels::new().with("tenant", number.to_string());
                labels.scope(|| {
                    let mut linker = Linker::new(engine);
                    linker.func_wrap("host", "call", |x: i32| x).unwrap();
                    let mut store = Store::new(engine, ());
                    let instance = linker.instantiate(&mut store, &module).unwrap();
                    let run = instance
                        .get_typed_func::<i32, i32>(&mut store, "run")
                        .unwrap();
                    run.call(&mut store, 1_200_000).unwrap();
                });
            });
        }
    });
    let profile = profiler.take_profile();
    let tenants = [("0", &graphs[0]), ("1", &graphs[1]), ("2", &graphs[2])];
    for tally in check_tenants(&profile, &tenants) {
        assert!(tally.in_guest > 300, "{tally:?}");
    }
    // Each thread has one tenant's samples.
    for sample in profile.samples() {
        for other in profile.samples().take(1000) {
            if other.thread == sample.thread
                && let (Some(one), Some(two)) = (
                    label(&profile, &sample, "tenant"),
                    label(&profile, &other, "tenant"),
                )
            {
                assert_eq!(one, two);
            }
        }
    }
}

#[test]
fn a_host_that_calls_back_keeps_the_outer_frames() {
    let engine = Engine::default();
    let graph = CallGraph::reentrant("");
    let module = Module::new(&engine, graph.wat(true)).unwrap();
    /// How deep the host has called back, and the function to call.
    #[derive(Default)]
    struct State {
        depth: u32,
        run: Option<TypedFunc<i32, i32>>,
    }
    let mut linker = Linker::<State>::new(&engine);
    linker
        .func_wrap("host", "call", |mut caller: Caller<'_, State>, x: i32| {
            let state = caller.data_mut();
            if state.depth < 3 {
                state.depth += 1;
                let run = state.run.clone().unwrap();
                run.call(&mut caller, 3).unwrap();
                caller.data_mut().depth -= 1;
            }
            x
        })
        .unwrap();
    let mut store = Store::new(&engine, State::default());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();
    store.data_mut().run = Some(run.clone());

    let profiler = profiler(Clock::Cpu);
    let _guest = profiler.register(Guest::module("guest", &module)).unwrap();
    let thread = profiler.attach_thread().unwrap();
    for _ in 0..60 {
        run.call(&mut store, 300).unwrap();
    }
    drop(thread);
    let profile = profiler.take_profile();
    let tally = graph.check(&profile);
    assert!(tally.in_guest > 300, "{tally:?}");
    // Three times through run, hosts and calls_host, then the recursion.
    assert!(tally.deepest >= 3 * 3 + 22, "{tally:?}");
}

#[test]
fn a_store_within_another_has_its_own_label_and_both_their_frames() {
    let engine = Engine::default();
    let (outer, inner) = (CallGraph::new("outer_"), CallGraph::new("inner_"));
    let outer_module = Module::new(&engine, outer.wat(true)).unwrap();
    let inner_module = Module::new(&engine, inner.wat(true)).unwrap();
    let mut inner_linker = Linker::<()>::new(&engine);
    inner_linker.func_wrap("host", "call", |x: i32| x).unwrap();
    let mut inner_store = Store::new(&engine, ());
    let instance = inner_linker
        .instantiate(&mut inner_store, &inner_module)
        .unwrap();
    let inner_run = instance
        .get_typed_func::<i32, i32>(&mut inner_store, "run")
        .unwrap();
    let labels = Labels::new().with("tenant", "inner");
    let mut linker = Linker::new(&engine);
    let inner_store = std::sync::Mutex::new(inner_store);
    linker
        .func_wrap("host", "call", move |x: i32| {
            labels.scope(|| {
                inner_run
                    .call(&mut *inner_store.lock().unwrap(), 1)
                    .unwrap()
            });
            x
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &outer_module).unwrap();
    let run = instance
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();

    let profiler = profiler(Clock::Cpu);
    let guests = [("outer", &outer_module), ("inner", &inner_module)]
        .map(|(name, module)| profiler.register(Guest::module(name, module)).unwrap());
    let thread = profiler.attach_thread().unwrap();
    let labels = Labels::new().with("tenant", "outer");
    labels.scope(|| {
        for _ in 0..20 {
            run.call(&mut store, 20_000).unwrap();
        }
    });
    drop((thread, guests));
    let profile = profiler.take_profile();

    let (mut of_inner, mut of_outer) = (Tally::default(), Tally::default());
    for sample in profile.samples() {
        let names: Vec<(&str, Category)> = sample
            .stack
            .into_iter()
            .flat_map(|stack| profile.stack_frames(stack))
            .map(|frame| profile.function(frame.function))
            .map(|function| (&*function.name, function.category))
            .collect();
        let is_cut = names
            .iter()
            .any(|&(_, category)| category == Category::Lost);
        let guest: Vec<&str> = names
            .iter()
            .filter(|&&(_, category)| category == Category::Guest)
            .map(|&(name, _)| name)
            .collect();
        // The inner store's frames are the newer ones, the outer store's below them.
        let split = guest.partition_point(|name| name.starts_with("inner_"));
        let (newer, older) = guest.split_at(split);
        outer.check_guest(older, is_cut, sample.count, &mut of_outer);
        if !newer.is_empty() {
            inner.check_guest(newer, is_cut, sample.count, &mut of_inner);
            assert!(
                is_cut || older.first() == Some(&"outer_calls_host"),
                "{guest:?}"
            );
            assert_eq!(label(&profile, &sample, "tenant").as_deref(), Some("inner"));
        }
    }
    assert!(of_inner.in_guest > 100, "{of_inner:?}");
    assert!(of_outer.newest.len() > 3, "{of_outer:?}");
}
