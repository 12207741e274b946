//! Guests that want to call, forge or see hooks.

use crate::balance::Balance;
use crate::heard::Heard;
use wasmscope::{Error, Listened, Listening};
use wasmtime::{Engine, Linker, Module, Store};

const GOOD: &str = "(module
   (func $inner (export \"inner\") (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)
     (local.get 9))
   (func $run (export \"run\")
     (drop (call $inner (i64.const 0) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)
       (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8) (i64.const 9)))))";

fn compile(listening: &Listening, engine: &Engine, text: &str) -> Result<Listened, Error> {
    listening.compile(engine, wat::parse_str(text).expect("it is right"))
}

/// Returns what ends each of the names that are reserved: what no guest can know.
fn suffix(listened: &Listened) -> String {
    let hook = listened
        .module()
        .imports()
        .find(|import| import.module() == "wasmscope");
    let hook = hook.expect("it has probes");
    let at = hook.name().find(':').expect("the name has an end");
    hook.name()[at..].to_owned()
}

#[test]
fn reserved_names_are_refused() {
    let listening = Balance::default().listening().build();
    let engine = Engine::default();
    for (text, name) in [
        (
            "(import \"wasmscope\" \"before1\" (func (param i32 i32 i64)))",
            "wasmscope",
        ),
        ("(import \"wasmscope:x\" \"y\" (memory 1))", "wasmscope:x"),
        (
            "(func (export \"wasmscope:instance\"))",
            "wasmscope:instance",
        ),
        (
            "(global (export \"wasmscope:\") i32 (i32.const 0))",
            "wasmscope:",
        ),
    ] {
        let refused = compile(&listening, &engine, &format!("(module {text})"));
        match refused.expect_err(text) {
            Error::Instrument(wasmscope_instrument::Error::Reserved { name: refused, .. }) => {
                assert_eq!(refused, name);
            }
            other => panic!("{text}: {other}"),
        }
    }
    // What has been rewritten once is refused as well.
    let listened = compile(&listening, &engine, GOOD).expect("it is compiled");
    assert!(listened.probed().len() > 0);
    for near in ["wasmscop", "wasmscope2", "Wasmscope", "xwasmscope"] {
        let text = format!("(module (import \"{near}\" \"before1\" (func)))");
        compile(&listening, &engine, &text).expect("it is nobody's name");
    }
}

#[test]
fn hooks_cannot_be_linked_without_the_nonce() {
    let listening = Balance::default().listening().build();
    let engine = Engine::default();
    let mut linker: Linker<()> = Linker::new(&engine);
    listening.add_to_linker(&mut linker).expect("free");
    for name in [
        "before0", "before1", "after0", "stage4", "tail", "unwind", "before0:",
    ] {
        let text = format!("(module (import \"wasmscope\" \"{name}\" (func)))");
        let module = Module::new(&engine, text).expect("it is compiled as it is");
        let mut store = Store::new(&engine, ());
        linker
            .instantiate(&mut store, &module)
            .expect_err("there is no such function");
    }
    // Nor do two processes, or two listenings, have one.
    let other = Balance::default().listening().build();
    let both = [&listening, &other].map(|l| suffix(&compile(l, &engine, GOOD).expect("compiled")));
    assert_ne!(both[0], both[1]);
    assert_eq!(both[0].len(), 33);
}

/// A module that knows the suffix, and calls hooks as it likes.
fn forger(suffix: &str, body: &str) -> String {
    format!(
        "(module
           (import \"wasmscope\" \"before0{suffix}\" (func $before (param i32)))
           (import \"wasmscope\" \"before4{suffix}\" (func $before4 (param i32 i64 i64 i64 i64)))
           (import \"wasmscope\" \"after0{suffix}\" (func $after))
           (import \"wasmscope\" \"after1{suffix}\" (func $after1 (param i64)))
           (import \"wasmscope\" \"stage4{suffix}\" (func $stage (param i64 i64 i64 i64)))
           (import \"wasmscope\" \"tail{suffix}\" (func $tail))
           (import \"wasmscope\" \"unwind{suffix}\" (func $unwind))
           (import \"good\" \"run\" (func $run))
           (func $deeper (param i32)
             (call $before (i32.const 0))
             (if (local.get 0) (then (call $deeper (i32.sub (local.get 0) (i32.const 1))))))
           (func (export \"forge\") (local i32) {body}))"
    )
}

#[test]
fn who_knows_the_nonce_all_the_same_does_no_harm() {
    let engine = Engine::default();
    for body in [
        // Of the good instance, and of none.
        "(call $before (i32.const 0)) (call $after)",
        "(call $before (i32.const 1)) (call $run) (call $after1 (i64.const 5))",
        "(call $before (i32.const 1000)) (call $run)",
        "(call $before (i32.const -1)) (call $run)",
        "(call $before (i32.const 0x80000000)) (call $before (i32.const 0x7fffffff))",
        "(call $before4 (i32.const 0)
           (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)) (call $run)",
        // Opened and never closed, a thousand deep.
        "(call $deeper (i32.const 1000))",
        "(call $before (i32.const 0)) (call $deeper (i32.const 100)) unreachable",
        // Closed and never opened.
        "(call $after) (call $after1 (i64.const 1)) (call $tail) (call $unwind) (call $run)",
        // Staged for nobody, ten million words.
        "(loop
           (call $stage (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4))
           (local.set 0 (i32.add (local.get 0) (i32.const 1)))
           (br_if 0 (i32.lt_u (local.get 0) (i32.const 2500000))))
         (call $run)",
        "(call $stage (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4))",
    ] {
        let (heard, other_heard) = (Balance::default(), Heard::default());
        let listening = heard.listening().build();
        let listened = compile(&listening, &engine, GOOD).expect("it is compiled");
        let forger = Module::new(&engine, forger(&suffix(&listened), body)).expect(body);
        let mut linker = Linker::new(&engine);
        listening.add_to_linker(&mut linker).expect("free");
        let others = other_heard.listening().build();
        let other_good = compile(&others, &engine, GOOD).expect("it is compiled");
        others.add_to_linker(&mut linker).expect("free");

        // A neighbour, in a store of its own.
        let mut neighbour = Store::new(&engine, ());
        let theirs = linker
            .instantiate(&mut neighbour, other_good.module())
            .expect("made");
        let theirs = theirs
            .get_typed_func::<(), ()>(&mut neighbour, "run")
            .expect("there");

        let mut store = Store::new(&engine, ());
        let good = linker
            .instantiate(&mut store, listened.module())
            .expect("it is made");
        let run = good
            .get_typed_func::<(), ()>(&mut store, "run")
            .expect("it is there");
        run.call(&mut store, ()).expect("it runs");
        linker.instance(&mut store, "good", good).expect("free");
        let forger = linker.instantiate(&mut store, &forger).expect("it is made");
        let forge = forger
            .get_typed_func::<(), ()>(&mut store, "forge")
            .expect("it is there");
        for _ in 0..2 {
            let _ = forge.call(&mut store, ());
            theirs.call(&mut neighbour, ()).expect("it runs");
            assert_eq!(
                other_heard.take(),
                [
                    "> run[]",
                    "> inner[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]",
                    "< inner[9]",
                    "< run[]"
                ],
                "{body}"
            );
        }
        run.call(&mut store, ()).expect("it runs");
        let _ = listening.guard(&mut store, |store| forge.call(store, ()));
        assert_eq!(heard.open(), 0, "{body}");
        drop(store);
        drop(neighbour);
        assert!(other_heard.take().is_empty());
    }
}

#[test]
fn what_was_staged_for_nobody_is_in_no_call() {
    let engine = Engine::default();
    let heard = Heard::default();
    let listening = heard.listening().build();
    let listened = compile(&listening, &engine, GOOD).expect("it is compiled");
    let body = "(call $stage (i64.const -1) (i64.const -2) (i64.const -3) (i64.const -4))";
    let forger = Module::new(&engine, forger(&suffix(&listened), body)).expect("it is right");
    let mut linker = Linker::new(&engine);
    listening.add_to_linker(&mut linker).expect("free");
    let mut store = Store::new(&engine, ());
    let good = linker
        .instantiate(&mut store, listened.module())
        .expect("it is made");
    let run = good
        .get_typed_func::<(), ()>(&mut store, "run")
        .expect("it is there");
    linker.instance(&mut store, "good", good).expect("free");
    let forger = linker.instantiate(&mut store, &forger).expect("it is made");
    let forge = forger
        .get_typed_func::<(), ()>(&mut store, "forge")
        .expect("it is there");
    for _ in 0..2 {
        run.call(&mut store, ()).expect("it runs");
        assert_eq!(
            heard.take(),
            [
                "> run[]",
                "> inner[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]",
                "< inner[9]",
                "< run[]"
            ]
        );
        forge.call(&mut store, ()).expect("it runs");
    }
}
