//! The stacks of a component's concurrent tasks that wait are what those tasks say of
//! themselves.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio::sync::Semaphore;
use wasmscope::{FiberState, Fibers, FrameKind, Guest, Walker};
use wasmtime::component::{Accessor, Component, Instance, Linker, TypedFunc};
use wasmtime::{Config, Engine, Result, Store};

/// A guest that calls itself `left` times and then waits: for the host's function, which is
/// lowered as one that blocks, or in the engine's `waitable-set.wait` for the same function,
/// lowered as one that does not.
const TEXT: &str = r#"(component
  (import "pause" (func $pause async (param "task" u32)))
  (core module $memory (memory (export "memory") 1))
  (core instance $memory (instantiate $memory))
  (core func $blocking (canon lower (func $pause)))
  (core func $started (canon lower (func $pause) async (memory (core memory $memory "memory"))))
  (core func $set (canon waitable-set.new))
  (core func $join (canon waitable.join))
  (core func $wait (canon waitable-set.wait (memory (core memory $memory "memory"))))
  (core func $drop (canon subtask.drop))
  (core func $return (canon task.return (result u32)))
  (core module $m
    (import "" "blocking" (func $blocking (param i32)))
    (import "" "started" (func $started (param i32) (result i32)))
    (import "" "set" (func $set (result i32)))
    (import "" "join" (func $join (param i32 i32)))
    (import "" "wait" (func $wait (param i32 i32) (result i32)))
    (import "" "drop" (func $drop (param i32)))
    (import "" "return" (func $return (param i32)))
    (func $in_host (param $task i32)
      (call $blocking (local.get $task)))
    (func $in_builtin (param $task i32) (local $subtask i32) (local $set i32)
      (local.set $subtask (i32.shr_u (call $started (local.get $task)) (i32.const 4)))
      (local.set $set (call $set))
      (call $join (local.get $subtask) (local.get $set))
      (drop (call $wait (local.get $set) (i32.const 0)))
      (call $join (local.get $subtask) (i32.const 0))
      (call $drop (local.get $subtask)))
    (func $step (param $task i32) (param $left i32) (param $in_host i32)
      (if (local.get $left)
        (then (call $step (local.get $task) (i32.sub (local.get $left) (i32.const 1))
          (local.get $in_host)))
        (else (if (local.get $in_host)
          (then (call $in_host (local.get $task)))
          (else (call $in_builtin (local.get $task)))))))
    (func $run (export "run") (param i32 i32 i32)
      (call $step (local.get 0) (local.get 1) (local.get 2))
      (call $return (local.get 0))))
  (core instance $i (instantiate $m (with "" (instance
    (export "blocking" (func $blocking)) (export "started" (func $started))
    (export "set" (func $set)) (export "join" (func $join)) (export "wait" (func $wait))
    (export "drop" (func $drop)) (export "return" (func $return))))))
  (func (export "run") async (param "task" u32) (param "left" u32) (param "in-host" bool)
    (result u32) (canon lift (core func $i "run") async)))"#;

const TASKS: u32 = 60;

type Run = TypedFunc<(u32, u32, bool), (u32,)>;

/// How deep a task calls itself, and whether it waits in the host's function.
fn plan(task: u32) -> (u32, bool) {
    (task * 7 % 50, task.is_multiple_of(2))
}

/// The functions on a task's stack, newest first.
fn path(task: u32) -> Vec<String> {
    let (left, in_host) = plan(task);
    let waits = if in_host { "in_host" } else { "in_builtin" };
    let steps = std::iter::repeat_n("step", left as usize + 1);
    let path = std::iter::once(waits).chain(steps).chain(["run"]);
    path.map(str::to_owned).collect()
}

/// Runs all to their end; `watch` is told at each turn how many have ended, and lets more.
async fn join<F: Future<Output = Result<(u32,)>>>(
    mut futures: Vec<Pin<Box<F>>>,
    mut watch: impl FnMut(usize),
) -> Result<Vec<u32>> {
    let mut results = Vec::new();
    std::future::poll_fn(|context| {
        let mut at = 0;
        while at < futures.len() {
            match futures[at].as_mut().poll(context) {
                Poll::Ready(result) => {
                    drop(futures.swap_remove(at));
                    results.push(result?.0);
                }
                Poll::Pending => at += 1,
            }
        }
        watch(results.len());
        if futures.is_empty() {
            Poll::Ready(Ok(std::mem::take(&mut results)))
        } else {
            Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn tasks_of_one_store_that_wait_are_all_listed() {
    let walker = Walker::new().unwrap();
    let fibers = Fibers::new(&walker).unwrap();
    let mut config = Config::new();
    config
        .with_host_stack(fibers.stack_creator())
        .wasm_component_model_async(true)
        .wasm_component_model_async_stackful(true);
    let engine = Engine::new(&config).unwrap();
    let bytes = wat::parse_str(TEXT).unwrap();
    let component = Component::new(&engine, &bytes).unwrap();
    let _guest = walker
        .register(Guest::component("tasks", &component).bytes(bytes))
        .unwrap();

    let waiting = Arc::new(Mutex::new(BTreeMap::new()));
    let gate = Arc::new(Semaphore::new(0));
    let mut linker = Linker::new(&engine);
    let (record, opens) = (waiting.clone(), gate.clone());
    linker
        .root()
        .func_wrap_concurrent("pause", move |_: &Accessor<()>, (task,): (u32,)| {
            let (record, opens) = (record.clone(), opens.clone());
            Box::pin(async move {
                record.lock().unwrap().insert(task, path(task));
                opens.acquire().await.unwrap().forget();
                record.lock().unwrap().remove(&task);
                Ok(())
            })
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let mut runs: Vec<Run> = Vec::new();
    for _ in 0..TASKS {
        // Each instance has one task that blocks at a time.
        let instance: Instance = linker
            .instantiate_async(&mut store, &component)
            .await
            .unwrap();
        runs.push(instance.get_typed_func(&mut store, "run").unwrap());
    }

    let listed = || {
        let mut listed: Vec<Vec<String>> = fibers
            .list()
            .iter()
            .filter(|fiber| fiber.state() == FiberState::Suspended)
            .map(|fiber| {
                assert!(fiber.backtrace().end().is_whole());
                let frames = walker.name(fiber.backtrace());
                let guest = frames.iter().filter(|f| f.kind == FrameKind::Guest);
                guest.map(|frame| frame.name.to_string()).collect()
            })
            .filter(|functions: &Vec<String>| !functions.is_empty())
            .collect();
        listed.sort();
        listed
    };
    let (mut seen, mut turns) = (Vec::new(), 0);
    let watch = |ended: usize| {
        let record = waiting.lock().unwrap().clone();
        let mut expected: Vec<_> = record.into_values().collect();
        expected.sort();
        turns += 1;
        assert!(turns < 100_000, "takes too long: {expected:?}");
        // All wait, then fewer and fewer: none is between waiting and its end.
        if !expected.is_empty()
            && expected.len() == TASKS as usize - ended
            && ended == seen.iter().sum::<usize>()
        {
            assert_eq!(listed(), expected);
            let go_on = expected.len().min(7);
            seen.push(go_on);
            gate.add_permits(go_on);
        }
    };
    let results = store
        .run_concurrent(async |accessor| {
            let calls = (0..).zip(&runs).map(|(task, run)| {
                let (left, in_host) = plan(task);
                Box::pin(run.call_concurrent(accessor, (task, left, in_host)))
            });
            join(calls.collect(), watch).await
        })
        .await;
    let mut results = results.unwrap().unwrap();
    results.sort_unstable();
    assert!(results.into_iter().eq(0..TASKS));
    assert!(seen.len() >= 9, "{seen:?}");
    assert!(listed().is_empty());
}
