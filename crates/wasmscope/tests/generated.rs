//! Modules that nobody wrote, with and without listeners.
//!
//! Leaves to `support/generated.rs` what is compared; here is how many modules there
//! are, and what they must have done together for the comparison to mean something.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "support/debugger.rs"]
mod debugger;
#[path = "support/generated.rs"]
mod generated;
#[path = "support/hooks.rs"]
#[allow(dead_code, reason = "counts are for the official suite")]
mod hooks;
#[path = "support/script/value.rs"]
#[allow(dead_code, reason = "scripts use all of it")]
mod value;

use debugger::Debugger;
use generated::{Tally, at_once};
use hooks::End;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::{Config, Engine, Linker, Module, Store, Val};

/// How many modules there are; `WASMSCOPE_MODULES` says another number.
const MODULES: u64 = 300;

/// Arbitrary bytes, always the same for the same seed.
fn arbitrary(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let len = 2000 + seed as usize % 6000;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// Runs modules from a first seed on, and says which seed failed.
fn run(modules: u64) -> (u64, Tally) {
    let next = AtomicU64::new(0);
    let made = AtomicU64::new(0);
    let all = Mutex::new(Tally::default());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            std::thread::Builder::new()
                .stack_size(64 << 20)
                .spawn_scoped(scope, || {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= modules {
                            break;
                        }
                        let checked =
                            std::panic::catch_unwind(|| generated::check(&arbitrary(seed)));
                        match checked {
                            Ok(Some(tally)) => {
                                made.fetch_add(1, Ordering::Relaxed);
                                all.lock().unwrap().add(tally);
                            }
                            Ok(None) => {}
                            Err(_) => failed.lock().unwrap().push(seed),
                        }
                    }
                })
                .unwrap();
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "the modules of seeds {failed:?} failed");
    (made.into_inner(), all.into_inner().unwrap())
}

#[test]
fn hooks_tell_what_the_debugger_saw() {
    let modules = std::env::var("WASMSCOPE_MODULES").map_or(MODULES, |modules| {
        modules.parse().expect("WASMSCOPE_MODULES is a number")
    });
    let (made, tally) = run(modules);
    let ended = |end| tally.ends.iter().filter(|each| **each == end).count();
    let ends = [End::Return, End::TailCall, End::Exception, End::Abort].map(ended);
    println!(
        "{made} of {modules} modules, {} calls, {} events, {} places, {} deep, ends {ends:?}",
        tally.calls, tally.events, tally.places, tally.depth
    );
    assert!(made > modules / 2);
    assert!(tally.calls as u64 > made && tally.events > 10 * tally.calls);
    assert!(tally.places as u64 > made / 4 && tally.depth > 10);
    assert!(ends.iter().all(|ended| *ended > 0), "{ends:?}");
}

/// Calls of each kind that ends in each way.
const KINDS: &str = r#"
    (module
      (import "host" "half" (func $half (param i32) (result i32)))
      (tag $e (param i32))
      (global $g (mut i32) (i32.const 0))
      (func $fib (param i32) (result i32)
        (global.set $g (i32.const 1))
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
          (then (local.get 0))
          (else
            (i32.add
              (call $fib (i32.sub (local.get 0) (i32.const 1)))
              (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
      (func $throw (throw $e (i32.const 4)))
      (func $through (call $throw))
      (func $within (result i32)
        (block (result i32)
          (try_table (catch $e 0) (call $through))
          (unreachable)))
      (func $at_end (result i32)
        (try_table (catch $e 0) (call $through))
        (unreachable))
      (func $to_host (result i32) (return_call $half (i32.const 9)))
      (func (export "run") (result i32)
        (drop (call $within))
        (drop (call $at_end))
        (drop (call $half (call $to_host)))
        (return_call $fib (i32.const 2)))
      (func (export "trap")
        (drop (call $fib (i32.const 1)))
        (unreachable)))
"#;

#[test]
fn the_debugger_tells_calls_as_they_are() {
    use End::{Abort, Exception, Return, TailCall};
    use hooks::Event::{Enter, Leave};
    let mut config = Config::new();
    config.guest_debug(true);
    let engine = Engine::new(&config).unwrap();
    let wasm = wat::parse_str(KINDS).unwrap();
    let module = Module::new(&engine, &wasm).unwrap();
    let arity = [
        (1, 1),
        (1, 1),
        (0, 0),
        (0, 0),
        (0, 1),
        (0, 1),
        (0, 1),
        (0, 1),
        (0, 0),
    ];
    let debugger = Debugger::new(&wasm, 1, arity.to_vec());
    let mut store = Store::new(&engine, ());
    store.set_debug_handler(debugger.clone());
    store.edit_breakpoints().unwrap().single_step(true).unwrap();
    let mut linker = Linker::new(&engine);
    let host = debugger.clone();
    linker
        .func_wrap("host", "half", move |n: i32| {
            host.host(0, &[Val::I32(n)]);
            host.host_returns(&[Val::I32(n / 2)]);
            n / 2
        })
        .unwrap();
    let instance = at_once(linker.instantiate_async(&mut store, &module)).unwrap();

    let run = instance.get_func(&mut store, "run").unwrap();
    let mut results = [Val::I32(0)];
    at_once(run.call_async(&mut store, &[], &mut results)).unwrap();
    assert_eq!(
        debugger.end(Return, &results),
        [
            Enter(7, vec![]),
            Enter(4, vec![]),
            Enter(3, vec![]),
            Enter(2, vec![]),
            Leave(2, Exception, vec![]),
            Leave(3, Exception, vec![]),
            Leave(4, Return, vec![4]),
            Enter(5, vec![]),
            Enter(3, vec![]),
            Enter(2, vec![]),
            Leave(2, Exception, vec![]),
            Leave(3, Exception, vec![]),
            Leave(5, Return, vec![4]),
            Enter(6, vec![]),
            Leave(6, TailCall, vec![]),
            Enter(0, vec![9]),
            Leave(0, Return, vec![4]),
            Enter(0, vec![4]),
            Leave(0, Return, vec![2]),
            Leave(7, TailCall, vec![]),
            Enter(1, vec![2]),
            Enter(1, vec![1]),
            Leave(1, Return, vec![1]),
            Enter(1, vec![0]),
            Leave(1, Return, vec![0]),
            Leave(1, Return, vec![1]),
        ]
    );

    let trap = instance.get_func(&mut store, "trap").unwrap();
    at_once(trap.call_async(&mut store, &[], &mut [])).unwrap_err();
    assert_eq!(
        debugger.end(Abort, &[]),
        [
            Enter(8, vec![]),
            Enter(1, vec![1]),
            Leave(1, Return, vec![1]),
            Leave(8, Abort, vec![]),
        ]
    );
}
