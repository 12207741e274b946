//! Stack overflows at their full depth.

use crate::engine::{check, kept};
use std::collections::HashSet;
use std::sync::Arc;
use wasmscope::{Extent, FailureCause, Guest};
use wasmtime::{Config, Engine, Instance, Module, Store, Trap};

/// Two functions that call each other without end, and count their calls.
const ENDLESS: &str = r#"(module
  (global $calls (export "calls") (mut i32) (i32.const 0))
  (func $count (global.set $calls (i32.add (global.get $calls) (i32.const 1))))
  (func $ping (export "ping") (call $count) (call $pong) (call $count))
  (func $pong (call $count) (call $ping) (call $count)))"#;

#[test]
fn an_overflow_beside_the_engine_s_stack() {
    let bytes = wat::parse_str(ENDLESS).unwrap();
    let checked = check(&bytes, Config::new, |engine, module| {
        overflow(engine, module).0
    });
    let cause = FailureCause::Trap(Trap::StackOverflow);
    assert_eq!(checked.failure.cause(), cause);
    assert!(checked.names().len() > 5_000);
}

fn overflow(engine: &Engine, module: &Module) -> (wasmtime::Error, usize) {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[]).unwrap();
    let ping = instance
        .get_typed_func::<(), ()>(&mut store, "ping")
        .unwrap();
    let error = ping.call(&mut store, ()).unwrap_err();
    let calls = instance.get_global(&mut store, "calls").unwrap();
    let calls = calls.get(&mut store).unwrap_i32();
    (error, usize::try_from(calls).unwrap())
}

/// More than 100,000 frames, as many as the guest counted; each place is named once.
#[test]
fn a_hundred_thousand_frames_beside_the_guest_s_count() {
    const STACK: usize = 16 << 20;
    let run = || {
        let mut config = Config::new();
        config.max_wasm_stack(STACK).async_stack_size(STACK * 2);
        let engine = Engine::new(&config).unwrap();
        let bytes = wat::parse_str(ENDLESS).unwrap();
        let module = Module::new(&engine, &bytes).unwrap();
        let (error, counted) = overflow(&engine, &module);
        let failure = kept(Guest::module("endless", &module).bytes(bytes), &error);
        assert_eq!(failure.extent(), Extent::Whole);

        // The newest call may have found no room for its own count, or not for itself.
        let frames = failure.frames();
        let counting = usize::from(&*frames[0].name == "count");
        let calls = frames.len() - counting;
        assert!(calls > 100_000, "{calls}");
        assert!(
            calls == counted || calls == counted + 1,
            "{calls}, {counted}"
        );
        for (depth, frame) in frames[counting..].iter().rev().enumerate() {
            let expected = if depth % 2 == 0 { "ping" } else { "pong" };
            assert_eq!(&*frame.name, expected, "at depth {depth}");
        }
        let distinct: HashSet<_> = frames.iter().map(Arc::as_ptr).collect();
        assert!(distinct.len() <= 5, "{}", distinct.len());
    };
    let thread = std::thread::Builder::new().stack_size(STACK + (8 << 20));
    thread.spawn(run).unwrap().join().unwrap();
}
