//! Stacks within components, beside those that the engine gives of the original.

use std::sync::{Arc, Mutex};
use wasmscope::Listening;
use wasmscope::listen::{BoxListener, Call, Definition};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store, StoreContextMut, Strategy, WasmBacktrace};

/// Two components, one of which calls the other by an adapter of the engine's, and the host
/// at the end; by tables and through several modules.
const TEXT: &str = r#"(component
  (import "here" (func $here (param "where" u32)))
  (component $inner
    (import "here" (func $here (param "where" u32)))
    (core func $here (canon lower (func $here)))
    (core module $leaf
      (import "" "here" (func $here (param i32)))
      (table (export "table") 2 funcref)
      (elem (i32.const 0) $direct $twice)
      (func $direct (param i32) (call $here (local.get 0)))
      (func $twice (param i32)
        (call $direct (local.get 0))
        (call $direct (i32.add (local.get 0) (i32.const 1)))))
    (core instance $leaf (instantiate $leaf (with "" (instance (export "here" (func $here))))))
    (core module $m
      (import "leaf" "table" (table 2 funcref))
      (type $t (func (param i32)))
      (memory (export "memory") 1)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
      (func $run (param $at i32) (param $which i32)
        (call_indirect (type $t) (i32.load8_u (local.get $at)) (local.get $which)))
      (func (export "run") (param i32 i32)
        (call $run (local.get 0) (i32.const 0))
        (call $run (local.get 0) (i32.const 1))))
    (core instance $m (instantiate $m (with "leaf" (instance $leaf))))
    (func (export "run") (param "text" string)
      (canon lift (core func $m "run") (memory (core memory $m "memory")) (realloc (core func $m "realloc")))))
  (instance $inner (instantiate $inner (with "here" (func $here))))
  (component $outer
    (import "run" (func $run (param "text" string)))
    (import "here" (func $here (param "where" u32)))
    (core module $libc (memory (export "memory") 1) (data (i32.const 8) "Azure"))
    (core instance $libc (instantiate $libc))
    (core func $run (canon lower (func $run) (memory (core memory $libc "memory"))))
    (core func $here (canon lower (func $here)))
    (core module $m
      (import "" "run" (func $run (param i32 i32)))
      (import "" "here" (func $here (param i32)))
      (func $deep (param i32)
        (if (local.get 0)
          (then (call $deep (i32.sub (local.get 0) (i32.const 1))))
          (else (call $here (i32.const 1)) (call $run (i32.const 8) (i32.const 5)) (call $here (i32.const 2)))))
      (func (export "start") (param i32) (call $deep (local.get 0))))
    (core instance $m (instantiate $m (with "" (instance
      (export "run" (func $run)) (export "here" (func $here))))))
    (func (export "start") (param "depth" u32) (canon lift (core func $m "start"))))
  (instance $outer (instantiate $outer
    (with "run" (func $inner "run")) (with "here" (func $here))))
  (func (export "start") (alias export $outer "start")))"#;

/// A frame: the function's index in its module and the place in the binary.
type Frame = (u32, Option<usize>);

fn engine(winch: bool) -> Engine {
    let mut config = Config::new();
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(1000));
    if winch {
        config.strategy(Strategy::Winch);
    }
    Engine::new(&config).expect("it is a configuration")
}

/// Runs the original; returns the engine's stack at each call of the host.
fn seen(engine: &Engine, bytes: &[u8], depth: u32) -> Vec<Vec<Frame>> {
    let stacks: Arc<Mutex<Vec<Vec<Frame>>>> = Arc::default();
    let to = Arc::clone(&stacks);
    let mut linker = Linker::new(engine);
    linker
        .root()
        .func_wrap("here", move |store: StoreContextMut<'_, ()>, _: (u32,)| {
            let backtrace = WasmBacktrace::force_capture(&store);
            // Adapters that the engine makes between components have functions of their own, with
            // higher numbers than any here.
            let frames = backtrace.frames().iter();
            let frames = frames.filter(|frame| frame.func_index() < 8);
            let frames = frames.map(|frame| (frame.func_index(), frame.module_offset()));
            to.lock()
                .expect("nothing panicked here")
                .push(frames.collect());
            Ok(())
        })
        .expect("free");
    let mut store = Store::new(engine, ());
    let component = Component::new(engine, bytes).expect("it is a component");
    let instance = linker
        .instantiate(&mut store, &component)
        .expect("it links");
    let start = instance.get_typed_func::<(u32,), ()>(&mut store, "start");
    start
        .expect("it is there")
        .call(&mut store, (depth,))
        .expect("it runs");
    stacks.lock().expect("nothing panicked here").clone()
}

/// Runs it with listeners on what `wanted` says; returns the stacks at the host's calls, as
/// listeners see them and as the engine does.
fn heard(
    engine: &Engine,
    bytes: &[u8],
    depth: u32,
    wanted: fn(&Definition) -> bool,
) -> Vec<Vec<Frame>> {
    let stacks: Arc<Mutex<Vec<Vec<Frame>>>> = Arc::default();
    let to = Arc::clone(&stacks);
    let listener = BoxListener::new(move |call: &Call<'_>| {
        let is_here =
            |function: &wasmscope::listen::component::ComponentFunction| function.name == "here";
        if call
            .definition()
            .component
            .as_ref()
            .is_none_or(|function| !is_here(function))
        {
            // Walks, so that what is walked before does not matter.
            assert_eq!(call.stack().len() == 0, call.is_deferred());
            return;
        }
        let mut frames = call.stack();
        let own = frames.next().expect("its own is the first");
        assert_eq!(own.definition(), Some(call.definition()));
        // What stands in front of an import is a frame too, as the host's function would be.
        let frames = frames.filter_map(|frame| {
            let definition = frame.definition().expect("it is of the component");
            let offset = frame.source_offset().map(|offset| offset.module.0 as usize);
            assert_eq!(offset.is_none(), definition.is_host());
            offset.map(|offset| (definition.index.0, Some(offset)))
        });
        to.lock()
            .expect("nothing panicked here")
            .push(frames.collect());
    });
    let listening =
        Listening::new(move |definition: &Definition| wanted(definition).then(|| listener.clone()));
    let guest = listening
        .compile_component(engine, bytes.to_vec())
        .expect("it is a component");
    let mut linker = Linker::new(engine);
    listening
        .add_to_component_linker(&mut linker)
        .expect("free");
    linker
        .root()
        .func_wrap("here", |_: StoreContextMut<'_, ()>, _: (u32,)| Ok(()))
        .expect("free");
    let mut store = Store::new(engine, ());
    let instance = linker
        .instantiate(&mut store, guest.component())
        .expect("it links");
    let start = instance.get_typed_func::<(u32,), ()>(&mut store, "start");
    start
        .expect("it is there")
        .call(&mut store, (depth,))
        .expect("it runs");
    stacks.lock().expect("nothing panicked here").clone()
}

#[test]
fn a_listeners_stack_is_the_engines_of_the_original() {
    let bytes = wat::parse_str(TEXT).expect("it is text");
    for winch in [false, true] {
        let engine = engine(winch);
        for depth in [0, 1, 30] {
            let seen = seen(&engine, &bytes, depth);
            assert_eq!(seen.len(), 5);
            assert!(
                seen.iter().all(|stack| stack.len() > depth as usize),
                "{seen:?}"
            );
            let everything = heard(&engine, &bytes, depth, |_| true);
            assert_eq!(everything, seen, "everything is listened to");
            let here = heard(&engine, &bytes, depth, |definition| {
                definition
                    .component
                    .as_ref()
                    .is_some_and(|function| function.name == "here")
            });
            assert_eq!(here, seen, "only the host's function is listened to");
        }
    }
}
