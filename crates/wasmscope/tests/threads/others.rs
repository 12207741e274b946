//! The stack of another thread is a path of its guest's call graph, wherever it is.

use crate::call_graph::{CallGraph, Tally};
use crate::patience::{LONG, Patience, Stop};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use wasmscope::{Backtrace, FrameKind, Guest, HostFrames, OsThread, Profiler, Rate, Walker};
use wasmtime::{Config, Engine, Linker, Module, Store};

/// Returns the names of the guest's functions, newest first.
fn guest_names(walker: &Walker, backtrace: &Backtrace) -> Vec<String> {
    walker
        .name(backtrace)
        .iter()
        .filter(|frame| frame.kind == FrameKind::Guest)
        .map(|frame| frame.name.to_string())
        .collect()
}

fn check(graph: &CallGraph, names: &[String], is_whole: bool, tally: &mut Tally) {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    graph.check_guest(&names, !is_whole, 1, tally);
}

/// Runs a graph on a thread of its own until told to stop.
fn run(
    engine: &Engine,
    module: &Module,
    is_asked: impl FnOnce(),
    stop: &AtomicBool,
    is_async: bool,
) {
    let mut linker = Linker::new(engine);
    linker
        .func_wrap("host", "call", |x: i32| std::hint::black_box(x) ^ 1)
        .unwrap();
    let mut store = Store::new(engine, ());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let instance = linker.instantiate(&mut store, module).unwrap();
    let run = instance
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();
    is_asked();
    while !stop.load(Ordering::Relaxed) {
        if is_async {
            runtime.block_on(run.call_async(&mut store, 200)).unwrap();
        } else {
            run.call(&mut store, 200).unwrap();
        }
    }
}

/// Asks a thread for so many stacks and checks each.
fn ask(walker: &Walker, graph: &CallGraph, is_async: bool, sampled: bool, stacks: u64) -> Tally {
    let engine = Engine::new(&Config::new()).unwrap();
    let module = Module::new(&engine, graph.wat(true)).unwrap();
    let _guest = walker.register(Guest::module("graph", &module)).unwrap();
    let profiler = Profiler::builder()
        .rate(Rate::hertz(2000).unwrap())
        .start()
        .unwrap();
    let _sampled = profiler.register(Guest::module("graph", &module)).unwrap();
    let stop = AtomicBool::new(false);
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        let (tell, told) = mpsc::channel();
        scope.spawn(|| {
            let _attached = sampled.then(|| profiler.attach_thread().unwrap());
            let tell = move || tell.send(OsThread::current().unwrap()).unwrap();
            run(&engine, &module, tell, &stop, is_async);
        });
        let thread = told.recv().unwrap();
        // Until the deepest was met, and enough of each kind: how often they are depends
        // on the machine.
        let patience = Patience::for_what("stacks enough, and the recursion whole");
        let is_enough = |tally: &Tally| {
            tally.deepest >= 22 && tally.in_guest > stacks / 2 && tally.nested > stacks / 4
        };
        for turn in 0.. {
            if turn >= stacks && is_enough(&tally) {
                break;
            }
            patience.check();
            let backtrace = walker.capture_thread(thread, LONG).unwrap();
            let is_whole = backtrace.end().is_whole();
            tally.cut += u64::from(!is_whole);
            let names = guest_names(walker, &backtrace);
            if is_async && is_whole && !names.is_empty() {
                // A fiber's stack goes on in the one that resumed it.
                let frames = walker.name(&backtrace);
                let is_below = |frame: &&std::sync::Arc<wasmscope::Frame>| {
                    frame.kind == FrameKind::Host && frame.name.contains("block_on")
                };
                assert!(
                    frames.iter().rev().any(|frame| is_below(&frame)),
                    "{frames:?}"
                );
            }
            check(graph, &names, is_whole, &mut tally);
        }
    });
    if sampled {
        assert!(profiler.snapshot().profile().total().count > 0);
    }
    tally
}

#[test]
fn each_stack_is_a_path_of_the_call_graph() {
    let graph = CallGraph::new("");
    ask(&Walker::new().unwrap(), &graph, false, false, 800).is_whole();
}

#[test]
fn beside_a_profiler_and_with_host_frames() {
    let graph = CallGraph::new("");
    let walker = Walker::builder().host_frames(HostFrames::Keep).build();
    ask(&walker.unwrap(), &graph, false, true, 400).is_whole();
}

#[test]
fn on_a_fiber() {
    let graph = CallGraph::new("");
    let walker = Walker::builder().host_frames(HostFrames::Keep).build();
    ask(&walker.unwrap(), &graph, true, false, 400).is_whole_but_for_switches();
}

#[test]
fn a_guest_that_waits_in_the_host_is_seen_in_the_call() {
    let engine = Engine::default();
    let bytes = wat::parse_str(
        "(module (import \"host\" \"wait\" (func $wait))
           (func $inner (call $wait)) (func (export \"run\") (call $inner)))",
    )
    .unwrap();
    let module = Module::new(&engine, &bytes).unwrap();
    let walker = Walker::new().unwrap();
    let guest = Guest::module("waits", &module).bytes(bytes);
    let _guest = walker.register(guest).unwrap();
    let (tell, told) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let mut linker = Linker::new(&engine);
        let wait = std::sync::Mutex::new(wait);
        let waits = move || {
            tell.send(OsThread::current().unwrap()).unwrap();
            wait.lock().unwrap().recv().unwrap();
        };
        linker.func_wrap("host", "wait", waits).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let run = instance.get_typed_func::<(), ()>(&mut store, "run");
        run.unwrap().call(&mut store, ()).unwrap();
    });
    let waiting = told.recv().unwrap();
    for _ in 0..10 {
        let backtrace = walker.capture_thread(waiting, LONG).unwrap();
        assert!(backtrace.end().is_whole());
        let frames = walker.name(&backtrace);
        let names: Vec<_> = frames.iter().map(|frame| &*frame.name).collect();
        assert_eq!(names[..2], ["host::wait", "inner"], "{names:?}");
        assert_eq!(backtrace.activations().count(), 1);
    }
    go.send(()).unwrap();
    thread.join().unwrap();
    while waiting.is_alive() {
        std::thread::yield_now();
    }
    let error = walker.capture_thread(waiting, LONG).unwrap_err();
    assert!(error.to_string().contains("it has ended"), "{error}");
}

/// Eight threads compile, run and drop guests, each of them new, while another asks all of
/// them again and again: each stack is one of the guest that ran then.
#[test]
fn guests_that_come_and_go_on_eight_threads() {
    let seconds = std::env::var("WASMSCOPE_SOAK")
        .ok()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(10);
    let end = Instant::now() + Duration::from_secs(seconds);
    let engine = Engine::new(
        Config::new()
            .strategy(wasmtime::Strategy::Winch)
            .wasm_tail_call(false),
    )
    .unwrap();
    let walker = Walker::new().unwrap();
    let next = AtomicU64::new(1);
    let stop = AtomicBool::new(false);
    // What each thread runs; 0 for nothing.
    let running = [const { AtomicU64::new(0) }; 8];
    let mut tally = Tally::default();
    let (mut known, mut asked) = (0, 0);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        let (tell, told) = mpsc::channel();
        for running in &running {
            let (tell, next, walker, engine) = (tell.clone(), &next, &walker, &engine);
            let stop = &stop;
            scope.spawn(move || {
                tell.send((OsThread::current().unwrap(), running)).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let graph = CallGraph::new(&format!("g{number}_"));
                    let module = Module::new(engine, graph.wat(false)).unwrap();
                    let guest = Guest::module(format!("guest {number}"), &module);
                    let registered = walker.register(guest).unwrap();
                    let mut linker = Linker::new(engine);
                    linker
                        .func_wrap("host", "call", |x: i32| std::hint::black_box(x) ^ 1)
                        .unwrap();
                    let mut store = Store::new(engine, ());
                    let instance = linker.instantiate(&mut store, &module).unwrap();
                    let run = instance
                        .get_typed_func::<i32, i32>(&mut store, "run")
                        .unwrap();
                    running.store(number, Ordering::SeqCst);
                    run.call(&mut store, 30_000).unwrap();
                    running.store(0, Ordering::SeqCst);
                    drop(registered);
                }
            });
        }
        let threads: Vec<_> = told.iter().take(8).collect();
        let patience = Patience::for_what("stacks of guests that are known, and the deepest");
        while Instant::now() < end || known < 100 || tally.deepest < 22 {
            if Instant::now() >= end {
                patience.check();
            }
            for (thread, running) in &threads {
                let before = running.load(Ordering::SeqCst);
                let backtrace = walker.capture_thread(*thread, LONG).unwrap();
                asked += 1;
                let after = running.load(Ordering::SeqCst);
                let names = guest_names(&walker, &backtrace);
                let is_whole = backtrace.end().is_whole();
                tally.cut += u64::from(!is_whole);
                let Some(newest) = names.first() else {
                    continue;
                };
                let (prefix, _) = newest.split_once('_').unwrap();
                check(
                    &CallGraph::new(&format!("{prefix}_")),
                    &names,
                    is_whole,
                    &mut tally,
                );
                if before == after && before != 0 {
                    assert_eq!(prefix, format!("g{before}"), "{names:?}");
                    known += 1;
                }
            }
        }
    });
    // Host code without unwind tables, as where a program calls its shared libraries.
    assert!(tally.cut * 50 <= asked, "{} of {asked}", tally.cut);
}
