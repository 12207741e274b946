//! Samples that the embedder takes itself: the same ones as wasmtime's own
//! `GuestProfiler` takes in the same callbacks, the same ones interpreted as native,
//! and with what that one leaves out.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
#[path = "support/call_graph.rs"]
mod call_graph;
#[path = "support/patience.rs"]
mod patience;

use call_graph::CallGraph;
use patience::{Patience, Stop};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wasmscope::profile::{Category, Profile};
use wasmscope::{Error, Guest, OnDemand, Profiler};
use wasmtime::{Config, Engine, GuestProfiler, Linker, Module, Store, UpdateDeadline};

const INTERVAL: Duration = Duration::from_millis(1);

/// Deeper than any stack of the call graph.
const MOST_FRAMES: usize = 1000;

/// Each sample's guest frames by name, newest first.
fn stacks(profile: &Profile) -> Vec<Vec<String>> {
    profile
        .samples()
        .map(|sample| {
            sample
                .stack
                .into_iter()
                .flat_map(|stack| profile.stack_frames(stack))
                .map(|frame| profile.function(frame.function))
                .filter(|function| function.category == Category::Guest)
                .map(|function| function.name.clone())
                .collect()
        })
        .collect()
}

/// Reads the stacks, newest first, of a profile that GuestProfiler wrote.
fn stacks_of_guest_profiler(json: &serde_json::Value) -> Vec<Vec<String>> {
    let thread = &json["threads"][0];
    let index = |value: &serde_json::Value| value.as_u64().map(|value| value as usize);
    let strings = match &thread["stringArray"] {
        serde_json::Value::Null => &json["shared"]["stringArray"],
        own => own,
    };
    let samples = thread["samples"]["stack"].as_array().expect("samples");
    samples
        .iter()
        .map(|stack| {
            let mut names = Vec::new();
            let mut at = index(stack);
            while let Some(stack) = at {
                let frame = index(&thread["stackTable"]["frame"][stack]).expect("a frame");
                let func = index(&thread["frameTable"]["func"][frame]).expect("a function");
                let name = index(&thread["funcTable"]["name"][func]).expect("a name");
                names.push(strings[name].as_str().expect("a string").to_owned());
                at = index(&thread["stackTable"]["prefix"][stack]);
            }
            names
        })
        .collect()
}

/// Runs a call graph with epochs that a thread advances, and calls `sample` at each.
fn run_with_epochs(
    graph: &CallGraph,
    prepare: impl FnOnce(&Engine, &Module),
    mut sample: impl FnMut(wasmtime::StoreContextMut<'_, ()>) + Send + Sync + 'static,
) {
    // Where stacks are the engine's own, they end at so many frames.
    let config = &mut Config::new();
    config.epoch_interruption(true);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(MOST_FRAMES));
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, graph.wat(true)).unwrap();
    prepare(&engine, &module);
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "call", |x: i32| x).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_epoch_deadline(1);
    let sampled = Arc::new(AtomicU64::new(0));
    let samples = sampled.clone();
    store.epoch_deadline_callback(move |context| {
        sample(context);
        sampled.fetch_add(1, Ordering::Relaxed);
        Ok(UpdateDeadline::Continue(1))
    });
    let run = linker
        .instantiate(&mut store, &module)
        .unwrap()
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(INTERVAL);
                engine.increment_epoch();
            }
        });
        // So many calls, and more where the other thread does not come to run.
        let patience = Patience::for_what("enough epochs");
        let mut calls = 0;
        while calls < 20 || samples.load(Ordering::Relaxed) <= 20 {
            patience.check();
            run.call(&mut store, 20_000).unwrap();
            calls += 1;
        }
    });
}

#[test]
fn the_same_samples_as_guest_profiler_side_by_side() {
    // The other profiler demangles `a` and `b` as types of C++.
    let graph = CallGraph::new("graph_");
    let ours: Arc<Mutex<Option<OnDemand>>> = Arc::default();
    let theirs: Arc<Mutex<Option<GuestProfiler>>> = Arc::default();
    run_with_epochs(
        &graph,
        |engine, module| {
            let guest = Guest::module("graph", module);
            let profiler = OnDemand::new(INTERVAL, [guest]).unwrap();
            *ours.lock().unwrap() = Some(profiler.max_frames(MOST_FRAMES));
            let modules = [("graph".to_owned(), module.clone())];
            let profiler = GuestProfiler::new(engine, "graph", INTERVAL, modules).unwrap();
            *theirs.lock().unwrap() = Some(profiler);
        },
        {
            let (ours, theirs) = (ours.clone(), theirs.clone());
            move |context| {
                ours.lock().unwrap().as_mut().unwrap().sample(&context);
                let mut theirs = theirs.lock().unwrap();
                theirs.as_mut().unwrap().sample(&context, INTERVAL);
            }
        },
    );
    let recording = ours.lock().unwrap().as_mut().unwrap().take();
    let profile = recording.profile();
    let mut json = Vec::new();
    let theirs = theirs.lock().unwrap().take().unwrap();
    theirs.finish(&mut json).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();

    let stacks = stacks(&profile);
    assert!(stacks.len() > 20, "{}", stacks.len());
    assert_eq!(stacks, stacks_of_guest_profiler(&json));
    let tally = graph.check(&profile);
    assert_eq!(tally.in_guest, stacks.len() as u64);

    // What the other leaves to its caller: CPU time, weights, an accounting.
    let cpu: Duration = profile.samples().filter_map(|sample| sample.cpu).sum();
    assert!(cpu > Duration::ZERO && cpu < Duration::from_secs(600));
    assert_eq!(profile.total().weight, INTERVAL * stacks.len() as u32);
    let accounting = profile.accounting().unwrap();
    assert_eq!((accounting.due, accounting.lost), (stacks.len() as u64, 0));
}

/// Calls the host before each call, at different depths; the host moves the epoch, so
/// that each next function entry and loop head takes a sample: the same on any engine.
const TICKING: &str = r#"(module
    (import "host" "tick" (func $tick))
    (func $run (export "run") (local $i i32)
      (local.set $i (i32.const 3))
      (loop $again
        (call $tick)
        (call $down (local.get $i))
        (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1))))))
    (func $down (param i32)
      (call $leaf)
      (call $tick)
      (if (local.get 0) (then (call $deeper (i32.sub (local.get 0) (i32.const 1))))))
    (func $deeper (param i32)
      (call $tick)
      (call $leaf)
      (call $tick)
      (call $down (local.get 0)))
    (func $leaf (call $tick)))"#;

/// Runs `TICKING` and returns its profile: samples from epochs, markers from hooks.
fn ticking(config: &mut Config) -> Profile {
    let engine = Engine::new(config.epoch_interruption(true)).unwrap();
    let bytes = wat::parse_str(TICKING).unwrap();
    let module = Module::new(&engine, &bytes).unwrap();
    let guest = Guest::module("ticking", &module).bytes(bytes);
    let profiler = Arc::new(Mutex::new(OnDemand::new(INTERVAL, [guest]).unwrap()));
    let mut linker = Linker::new(&engine);
    let moved = engine.clone();
    linker
        .func_wrap("host", "tick", move || moved.increment_epoch())
        .unwrap();
    let mut store = Store::new(&engine, ());
    store.set_epoch_deadline(1);
    let sampler = profiler.clone();
    store.epoch_deadline_callback(move |context| {
        sampler.lock().unwrap().sample(&context);
        Ok(UpdateDeadline::Continue(1))
    });
    let sampler = profiler.clone();
    store.call_hook(move |context, kind| {
        sampler.lock().unwrap().call_hook(&context, kind);
        Ok(())
    });
    let run = linker
        .instantiate(&mut store, &module)
        .unwrap()
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    run.call(&mut store, ()).unwrap();
    let recording = profiler.lock().unwrap().take();
    recording.profile()
}

#[test]
fn interpreted_stacks_are_the_native_ones() {
    let native = ticking(&mut Config::new());
    let interpreted = ticking(Config::new().target("pulley64").unwrap());
    let stacks_native = stacks(&native);
    assert!(stacks_native.len() > 20, "{stacks_native:?}");
    assert!(stacks_native.iter().any(|stack| stack.len() >= 6));
    assert_eq!(stacks_native, stacks(&interpreted));
}

#[test]
fn host_calls_are_markers_with_the_import_s_name_and_the_caller_s_stack() {
    for config in [
        &mut Config::new(),
        Config::new().target("pulley64").unwrap(),
    ] {
        let profile = ticking(config);
        let markers: Vec<_> = profile.markers().collect();
        assert!(markers.len() > 20);
        let mut ticks = 0;
        for marker in markers {
            assert!(marker.start <= marker.end);
            // The engine's hook also tells of its own callback at an epoch.
            if marker.category == Category::Engine || marker.name == "host call" {
                continue;
            }
            assert_eq!(marker.name, "host::tick");
            ticks += 1;
            let stack = marker.stack.expect("a caller");
            let names: Vec<&str> = profile
                .stack_frames(stack)
                .map(|frame| &*profile.function(frame.function).name)
                .filter(|name| *name != "host::tick")
                .collect();
            assert!(
                ["run", "down", "deeper", "leaf"].contains(&names[0]),
                "{names:?}"
            );
            assert_eq!(*names.last().unwrap(), "run", "{names:?}");
        }
        assert!(ticks > 20, "{ticks}");
    }
}

#[test]
fn samples_have_source_lines() {
    for pulley in [false, true] {
        let mut config = Config::new();
        if pulley {
            config.target("pulley64").unwrap();
        }
        let engine = Engine::new(config.epoch_interruption(true)).unwrap();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/reactor.wasm");
        let bytes = std::fs::read(path).unwrap();
        let module = Module::new(&engine, &bytes).unwrap();
        let guest = Guest::module("reactor", &module).bytes(bytes);
        let profiler = Arc::new(Mutex::new(OnDemand::new(INTERVAL, [guest]).unwrap()));
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1);
        let sampler = profiler.clone();
        store.epoch_deadline_callback(move |context| {
            sampler.lock().unwrap().sample(&context);
            // Again at the next check, wherever that is.
            Ok(UpdateDeadline::Continue(0))
        });
        let fib = Linker::new(&engine)
            .instantiate(&mut store, &module)
            .unwrap()
            .get_typed_func::<i32, i32>(&mut store, "fib")
            .unwrap();
        engine.increment_epoch();
        assert_eq!(fib.call(&mut store, 10).unwrap(), 55);
        let profile = profiler.lock().unwrap().take().profile();
        assert!(profile.total().count > 50, "{:?}", profile.total());
        let lines = profile
            .samples()
            .filter_map(|sample| profile.stack_frames(sample.stack?).next())
            .filter(|frame| {
                let function = profile.function(frame.function);
                function.name == "fib"
                    && function
                        .file
                        .as_deref()
                        .is_some_and(|file| file.ends_with("reactor.c"))
                    && frame.line.is_some()
            })
            .count();
        assert!(lines > 50, "pulley {pulley}: {lines}");
    }
}

#[test]
fn windows_of_samples_on_demand_lie_end_to_end() {
    let engine = Engine::default();
    let module = Module::new(&engine, "(module)").unwrap();
    let store = Store::new(&engine, ());
    let mut profiler = OnDemand::new(INTERVAL, [Guest::module("empty", &module)]).unwrap();
    profiler.sample(&store);
    let one = profiler.take().profile();
    profiler.sample(&store);
    profiler.sample(&store);
    let two = profiler.take().profile();
    assert_eq!((one.total().count, two.total().count), (1, 2));
    assert_eq!(one.meta().start + one.meta().duration, two.meta().start);
    assert_eq!(profiler.take().profile().total().count, 0);
}

#[test]
fn two_instances_of_one_module_are_told_apart() {
    let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
    let text = "(module (func $work (export \"work\") (param i32)
        (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))";
    let module = Module::new(&engine, text).unwrap();
    let guest = Guest::module("workers", &module);
    let profiler = Arc::new(Mutex::new(OnDemand::new(INTERVAL, [guest]).unwrap()));
    for (instance, times) in [("first", 20), ("second", 60)] {
        profiler.lock().unwrap().set_instance(instance);
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(0);
        let sampler = profiler.clone();
        store.epoch_deadline_callback(move |context| {
            sampler.lock().unwrap().sample(&context);
            Ok(UpdateDeadline::Continue(0))
        });
        let work = Linker::new(&engine)
            .instantiate(&mut store, &module)
            .unwrap()
            .get_typed_func::<i32, ()>(&mut store, "work")
            .unwrap();
        work.call(&mut store, times).unwrap();
    }
    let recording = profiler.lock().unwrap().take();
    let count = |instance| {
        let selection = wasmscope::Selection::everything().labelled("instance", instance);
        recording.select(&selection).total().count
    };
    // One check at the function's entry and one at each turn of its loop.
    assert_eq!((count("first"), count("second")), (21, 61));
    assert_eq!(recording.profile().total().count, 82);
}

#[test]
fn where_signals_cannot_be_used_the_profiler_says_so() {
    let works = cfg!(all(
        target_os = "linux",
        target_arch = "x86_64",
        not(wasmscope_portable)
    ));
    match Profiler::builder().start() {
        Ok(_) => assert!(works),
        Err(error) => {
            assert!(!works, "{error}");
            assert!(matches!(error, Error::Platform), "{error}");
            assert!(error.to_string().contains("OnDemand"), "{error}");
        }
    }
}
