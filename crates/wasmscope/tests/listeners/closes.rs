//! Exactly one close for each call, innermost first, with its cause.

use crate::heard::{Guest, Heard};

#[test]
fn returns_nest_and_carry_values() {
    let heard = Heard::default();
    let mut guest = Guest::new(
        heard.listening(),
        "(module
           (import \"host\" \"twice\" (func $twice (param i32) (result i32)))
           (func $add (param i32 i64 f32 f64 v128 i32 externref) (result i32 i64 f32 f64 v128 i32)
             (call $twice (local.get 0)) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5))
           (func $run (export \"run\")
             (call $add (i32.const 1) (i64.const -2) (f32.const 0.5) (f64.const 1.5)
                        (v128.const i64x2 3 4) (i32.const 7) (ref.null extern))
             drop drop drop drop drop drop))",
        |linker| {
            linker
                .func_wrap("host", "twice", |x: i32| 2 * x)
                .expect("the name is free");
        },
    );
    guest.call("run").expect("it runs");
    let vector = "0x00000000000000040000000000000003";
    assert_eq!(
        heard.take(),
        [
            "> run[]".to_owned(),
            format!("> add[1, -2, 0.5, 1.5, {vector}, 7, null]"),
            "> twice[1]".to_owned(),
            "< twice[2]".to_owned(),
            format!("< add[2, -2, 0.5, 1.5, {vector}, 7]"),
            "< run[]".to_owned(),
        ]
    );
}

const TRAPS: &str = "(module
   (func $inner (unreachable))
   (func $outer (call $inner))
   (func $run (export \"run\") (call $outer))
   (func $fine (export \"fine\")))";

#[test]
fn a_trap_closes_all_before_the_guard_returns() {
    let heard = Heard::default();
    let mut guest = Guest::new(heard.listening(), TRAPS, |_| {});
    guest.guarded("run").expect_err("it traps");
    let opened = ["> run[]", "> outer[]", "> inner[]"];
    let trap = "trap: wasm trap: wasm `unreachable` instruction executed";
    let closed = ["inner", "outer", "run"].map(|name| format!("! {name}: {trap}"));
    assert_eq!(
        heard.take(),
        [&opened.map(str::to_owned)[..], &closed].concat()
    );
}

#[test]
fn without_a_guard_the_next_event_closes_them() {
    let heard = Heard::default();
    let mut guest = Guest::new(heard.listening(), TRAPS, |_| {});
    guest.call("run").expect_err("it traps");
    assert_eq!(heard.take(), ["> run[]", "> outer[]", "> inner[]"]);
    guest.call("fine").expect("it runs");
    assert_eq!(
        heard.take(),
        [
            "! inner: unknown",
            "! outer: unknown",
            "! run: unknown",
            "> fine[]",
            "< fine[]"
        ]
    );
}

#[test]
fn the_stores_end_closes_what_is_left() {
    let heard = Heard::default();
    let mut guest = Guest::new(heard.listening(), TRAPS, |_| {});
    guest.call("run").expect_err("it traps");
    heard.take();
    drop(guest);
    assert_eq!(
        heard.take(),
        [
            "! inner: store dropped",
            "! outer: store dropped",
            "! run: store dropped"
        ]
    );
}

#[test]
fn a_tail_call_closes_its_caller_first() {
    let heard = Heard::default();
    let mut guest = Guest::new(
        heard.listening(),
        "(module
           (func $last (param i32) (result i32) (local.get 0))
           (func $loop (param i32) (result i32)
             (if (i32.eqz (local.get 0)) (then (return_call $last (i32.const 42))))
             (return_call $loop (i32.sub (local.get 0) (i32.const 1))))
           (func $run (export \"run\") (drop (call $loop (i32.const 1)))))",
        |_| {},
    );
    guest.call("run").expect("it runs");
    assert_eq!(
        heard.take(),
        [
            "> run[]",
            "> loop[1]",
            "~ loop",
            "> loop[0]",
            "~ loop",
            "> last[42]",
            "< last[42]",
            "< run[]"
        ]
    );
}

#[test]
fn an_exception_aborts_only_what_it_leaves() {
    let heard = Heard::default();
    let text = "(module
       (tag $e (param i32))
       (func $throws (param i32) (throw $e (local.get 0)))
       (func $between (param i32) (call $throws (local.get 0)))
       (func $catches (result i32)
         (block $caught (result i32)
           (try_table (catch $e $caught) (call $between (i32.const 5)))
           (i32.const 0)))
       (func $run (export \"run\") (drop (call $catches))))";
    for exceptions in [wasmscope::Exceptions::Auto, wasmscope::Exceptions::Never] {
        let mut guest = Guest::new(heard.listening().exceptions(exceptions), text, |_| {});
        guest.call("run").expect("it runs");
        assert_eq!(
            heard.take(),
            [
                "> run[]",
                "> catches[]",
                "> between[5]",
                "> throws[5]",
                "! throws: exception",
                "! between: exception",
                "< catches[5]",
                "< run[]"
            ],
            "{exceptions:?}"
        );
    }
}
