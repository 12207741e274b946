//! Every way in which a guest can fail, in every tier of closing.

use crate::balance::Balance;
use crate::heard::{Guest, Heard};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wasmscope::Exceptions;
use wasmscope::listen::{BoxListener, Call, Cause, Fanout, Listener, Values};
use wasmtime::{Config, Engine, Linker};

/// The ways, each an export of the same name; a call of `fine` succeeds.
const WAYS: &str = "(module
   (import \"host\" \"error\" (func $error))
   (import \"host\" \"exit\" (func $exit))
   (import \"host\" \"panic\" (func $panic))
   (tag $e)
   (memory 1)
   (func $inner (param i32)
     (block $error (block $exit (block $panic (block $throw (block $trap
       (br_table $trap $error $exit $panic $throw (local.get 0)))
       (drop (i32.load (i32.const 65536))))
       (throw $e))
       (call $panic) (return))
       (call $exit) (return))
     (call $error))
   (func $run (param i32) (call $inner (local.get 0)))
   (func $trap (export \"trap\") (call $run (i32.const 0)))
   (func $error_ (export \"error\") (call $run (i32.const 1)))
   (func $exit_ (export \"exit\") (call $run (i32.const 2)))
   (func $panic_ (export \"panic\") (call $run (i32.const 3)))
   (func $throw (export \"throw\") (call $run (i32.const 4)))
   (func $endless (export \"endless\") (call $endless))
   (func $fine (export \"fine\")))";

#[derive(Debug)]
struct Exit(i32);

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the guest left with {}", self.0)
    }
}

impl std::error::Error for Exit {}

fn define(linker: &mut Linker<()>) {
    let names = "the name is free";
    linker
        .func_wrap("host", "error", || -> wasmtime::Result<()> {
            Err(std::io::Error::other("the disk is full").into())
        })
        .expect(names);
    linker
        .func_wrap("host", "exit", || -> wasmtime::Result<()> {
            Err(Exit(7).into())
        })
        .expect(names);
    linker
        .func_wrap("host", "panic", || -> () { panic!("the host gives up") })
        .expect(names);
}

/// A way to fail: the calls that are open then, and the cause that a guard tells.
struct Way {
    name: &'static str,
    calls: &'static [&'static str],
    cause: &'static str,
}

const TRAP: Way = Way {
    name: "trap",
    calls: &["trap[]", "run[0]", "inner[0]"],
    cause: "trap: wasm trap: out of bounds memory access",
};
const ERROR: Way = Way {
    name: "error",
    calls: &["error_[]", "run[1]", "inner[1]", "error[]"],
    cause: "error: the disk is full",
};
const EXIT: Way = Way {
    name: "exit",
    calls: &["exit_[]", "run[2]", "inner[2]", "exit[]"],
    cause: "exit 7",
};
const PANIC: Way = Way {
    name: "panic",
    calls: &["panic_[]", "run[3]", "inner[3]", "panic[]"],
    cause: "panic",
};
const THROW: Way = Way {
    name: "throw",
    calls: &["throw[]", "run[4]", "inner[4]"],
    cause: "exception",
};

impl Way {
    fn opens(&self) -> Vec<String> {
        self.calls.iter().map(|call| format!("> {call}")).collect()
    }

    fn closes(&self, cause: &str) -> Vec<String> {
        let name = |call: &&str| call.split('[').next().unwrap_or_default().to_owned();
        let calls = self.calls.iter().rev();
        calls
            .map(|call| format!("! {}: {cause}", name(call)))
            .collect()
    }
}

/// Makes a guest that fails in every way; a fresh one hears `fine` as well.
fn guest(heard: &Heard, exceptions: Exceptions) -> Guest {
    let builder = heard
        .listening()
        .exceptions(exceptions)
        .exit_status(|error| error.downcast_ref::<Exit>().map(|exit| exit.0));
    Guest::new(builder, WAYS, define)
}

/// Tells how a call ended, a panic included.
fn fails(call: impl FnOnce() -> wasmtime::Result<()>) {
    let ended = catch_unwind(AssertUnwindSafe(call));
    assert!(!matches!(ended, Ok(Ok(()))), "it has to fail");
}

const FINE: [&str; 2] = ["> fine[]", "< fine[]"];

#[test]
fn a_guard_closes_with_the_real_cause() {
    for exceptions in [Exceptions::Auto, Exceptions::Always, Exceptions::Never] {
        let heard = Heard::default();
        let mut guest = guest(&heard, exceptions);
        // Each again, with what the others left.
        for way in [
            TRAP, ERROR, EXIT, PANIC, THROW, THROW, PANIC, EXIT, ERROR, TRAP,
        ] {
            fails(|| guest.guarded(way.name));
            let expected = [way.opens(), way.closes(way.cause)].concat();
            assert_eq!(heard.take(), expected, "{exceptions:?}");
            guest.guarded("fine").expect("it runs");
            assert_eq!(heard.take(), FINE);
        }
        drop(guest);
        assert!(heard.take().is_empty());
    }
}

#[test]
fn the_engines_hook_closes_before_the_call_returns() {
    let heard = Heard::default();
    let mut guest = guest(&heard, Exceptions::Never);
    let listening = guest.listening.clone();
    guest.store.call_hook(move |context, hook| {
        listening.call_hook(context, hook);
        Ok(())
    });
    for way in [TRAP, ERROR, EXIT, THROW, TRAP] {
        fails(|| guest.call(way.name));
        assert_eq!(
            heard.take(),
            [way.opens(), way.closes("unknown")].concat(),
            "{}",
            way.name
        );
        guest.call("fine").expect("it runs");
        assert_eq!(heard.take(), FINE);
    }
}

#[test]
fn the_next_event_closes_what_nobody_guards() {
    for way in [TRAP, ERROR, EXIT, PANIC, THROW] {
        let heard = Heard::default();
        let mut guest = guest(&heard, Exceptions::Never);
        fails(|| guest.call(way.name));
        assert_eq!(heard.take(), way.opens());
        guest.call("fine").expect("it runs");
        let expected = [&way.closes("unknown")[..], &FINE.map(str::to_owned)].concat();
        assert_eq!(heard.take(), expected);
        // A guard is as good: what was left before is none of its own.
        fails(|| guest.call(way.name));
        heard.take();
        fails(|| guest.guarded(way.name));
        let expected = [way.closes("unknown"), way.opens(), way.closes(way.cause)].concat();
        assert_eq!(heard.take(), expected);
        // And the store's end.
        fails(|| guest.call(way.name));
        heard.take();
        drop(guest);
        assert_eq!(heard.take(), way.closes("store dropped"));
    }
}

#[test]
fn a_host_error_is_the_very_one() {
    struct Keeps(Arc<AtomicBool>);
    impl Listener for Keeps {
        type State = ();
        fn before(&self, _: &Call<'_>) {}
        fn abort(&self, _: &Call<'_>, cause: &Cause<'_>, (): ()) {
            let Cause::HostError(error) = cause else {
                panic!("another cause: {cause}");
            };
            let error = error.downcast_ref::<std::io::Error>();
            let error = error.expect("what the host function returned");
            assert_eq!(error.to_string(), "the disk is full");
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let seen = Arc::new(AtomicBool::new(false));
    let listener = BoxListener::new(Keeps(Arc::clone(&seen)));
    let mut guest = Guest::new(wasmscope::Listening::builder(listener), WAYS, define);
    guest.guarded("error").expect_err("it fails");
    assert!(seen.load(Ordering::Relaxed));
}

#[test]
fn a_stack_overflow_closes_all_that_fit() {
    let heard = Balance::default();
    let mut guest = Guest::new(heard.listening(), WAYS, define);
    guest.guarded("endless").expect_err("it overflows");
    assert!(heard.opened() > 1_000);
    assert_eq!((heard.open(), heard.aborted()), (0, heard.opened()));
    guest.call("endless").expect_err("it overflows");
    assert_eq!(heard.open(), heard.opened() / 2);
    guest.call("fine").expect("it runs");
    assert_eq!(heard.open(), 0);
}

/// Runs on a thread with room for deep guests.
fn deep(run: impl FnOnce(&Engine) + Send) {
    let mut config = Config::new();
    config.max_wasm_stack(512 << 20);
    config.async_stack_size(600 << 20);
    let engine = Engine::new(&config).expect("it can be had");
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(600 << 20)
            .spawn_scoped(scope, || run(&engine))
            .expect("there is room")
            .join()
            .expect("it did not fail");
    });
}

#[test]
fn a_hundred_thousand_frames_are_closed() {
    let text = "(module
      (func $down (param i32)
        (if (i32.eqz (local.get 0)) (then unreachable))
        (call $down (i32.sub (local.get 0) (i32.const 1))))
      (func $back (param i32)
        (if (local.get 0) (then (call $back (i32.sub (local.get 0) (i32.const 1))))))
      (func (export \"traps\") (call $down (i32.const 100000)))
      (func (export \"returns\") (call $back (i32.const 100000)))
      (func $fine (export \"fine\")))";
    deep(|engine| {
        let heard = Balance::default();
        let mut guest = Guest::on(engine, heard.listening(), text, |_| {});
        guest.guarded("traps").expect_err("it traps");
        assert_eq!((heard.opened(), heard.open()), (100_002, 0));
        guest.call("returns").expect("it runs");
        assert_eq!((heard.opened(), heard.open()), (200_004, 0));
        guest.call("traps").expect_err("it traps");
        assert_eq!(heard.open(), 100_002);
        guest.call("fine").expect("it runs");
        assert_eq!(heard.open(), 0);
        guest.call("traps").expect_err("it traps");
        drop(guest);
        assert_eq!((heard.opened(), heard.open()), (400_009, 0));
    });
}

/// Panics at one of the events of `inner`.
struct Panics(&'static str);

impl Panics {
    fn at(&self, event: &str, call: &Call<'_>) {
        let name = call.definition().name.as_deref();
        if event == self.0 && name == Some("inner") {
            panic!("the listener gives up");
        }
    }
}

impl Listener for Panics {
    type State = ();
    fn before(&self, call: &Call<'_>) {
        self.at("before", call);
    }
    fn after(&self, call: &Call<'_>, _: Values<'_>, (): ()) {
        self.at("after", call);
    }
    fn tail_call(&self, call: &Call<'_>, (): ()) {
        self.at("tail_call", call);
    }
    fn abort(&self, call: &Call<'_>, _: &Cause<'_>, (): ()) {
        self.at("abort", call);
    }
}

#[test]
fn a_listener_that_panics_takes_no_other_with_it() {
    let text = "(module
      (func $leaf (param i32) (if (local.get 0) (then unreachable)))
      (func $inner (param i32) (call $leaf (local.get 0)))
      (func $outer (param i32) (call $inner (local.get 0)))
      (func (export \"returns\") (call $outer (i32.const 0)))
      (func (export \"traps\") (call $outer (i32.const 1)))
      (func $fine (export \"fine\")))";
    for (event, export) in [
        ("before", "returns"),
        ("after", "returns"),
        ("before", "traps"),
        ("abort", "traps"),
    ] {
        for is_guarded in [true, false] {
            for is_first in [true, false] {
                let heard = Balance::default();
                let others = BoxListener::new(heard.clone());
                let panics = BoxListener::new(Panics(event));
                let both = if is_first {
                    Fanout::new([panics, others])
                } else {
                    Fanout::new([others, panics])
                };
                let listening = wasmscope::Listening::builder(BoxListener::new(both));
                let mut guest = Guest::new(listening, text, |_| {});
                fails(|| {
                    if is_guarded {
                        guest.guarded(export)
                    } else {
                        guest.call(export)
                    }
                });
                let case = format!("{event}, {export}, {is_guarded}, {is_first}");
                if is_guarded {
                    assert_eq!(heard.open(), 0, "{case}");
                }
                // Unguarded, the next event lets the listener hear, and panic.
                let _ = catch_unwind(AssertUnwindSafe(|| guest.call("fine")));
                guest.call("fine").expect("it runs");
                assert_eq!(heard.open(), 0, "{case}");
                assert!(heard.opened() > 0);
            }
        }
    }
}
