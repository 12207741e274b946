//! Guests that call hosts that call guests: inner failures that the host swallows, in the
//! same store and others, and stale calls under deeper hosts.

use crate::heard::{Guest, Heard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use wasmscope::listen::Definition;
use wasmscope::{Exceptions, Listening};
use wasmtime::{Caller, Engine, Extern, Instance, Linker, Module, Store};

/// Lines as they are expected.
fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|&line| line.to_owned()).collect()
}

/// Calls an export of the instance that called.
fn reenter<T>(caller: &mut Caller<'_, T>, name: &str) -> wasmtime::Result<()> {
    let function = caller.get_export(name).and_then(Extern::into_func);
    let function = function.expect("it is exported");
    function.typed::<(), ()>(&*caller)?.call(caller, ())
}

const SAME_STORE: &str = "(module
   (import \"host\" \"swallow\" (func $swallow))
   (import \"host\" \"again\" (func $again))
   (func $deep (unreachable))
   (func $inner (export \"inner\") (call $deep))
   (func $fine (export \"fine\"))
   (func $after)
   (func $middle (call $swallow) (call $after))
   (func $run (export \"run\") (call $middle))
   (func $twice (export \"twice\") (call $again))
   (func $silent (export \"silent\") (call $swallow)))";

#[test]
fn an_inner_failure_that_the_host_swallows_ends_only_the_inner_calls() {
    let heard = Heard::default();
    let mut guest = Guest::new(heard.listening(), SAME_STORE, |linker| {
        linker
            .func_wrap("host", "swallow", |mut caller: Caller<'_, ()>| {
                reenter(&mut caller, "inner").expect_err("it traps");
            })
            .expect("the name is free");
        linker
            .func_wrap("host", "again", |mut caller: Caller<'_, ()>| {
                reenter(&mut caller, "inner").expect_err("it traps");
                reenter(&mut caller, "fine").expect("it runs");
            })
            .expect("the name is free");
    });
    guest.call("run").expect("it runs");
    assert_eq!(
        heard.take(),
        lines(&[
            "> run[]",
            "> middle[]",
            "> swallow[]",
            "> inner[]",
            "> deep[]",
            "! deep: unknown",
            "! inner: unknown",
            "< swallow[]",
            "> after[]",
            "< after[]",
            "< middle[]",
            "< run[]"
        ])
    );
    guest.call("twice").expect("it runs");
    assert_eq!(
        heard.take(),
        lines(&[
            "> twice[]",
            "> again[]",
            "> inner[]",
            "> deep[]",
            "! deep: unknown",
            "! inner: unknown",
            "> fine[]",
            "< fine[]",
            "< again[]",
            "< twice[]"
        ])
    );
}

#[test]
fn a_guard_within_a_host_function_closes_its_own() {
    let heard = Heard::default();
    let listening = heard.listening().build();
    let engine = Engine::default();
    let listened = listening
        .compile(&engine, wat::parse_str(SAME_STORE).expect("it is right"))
        .expect("it is compiled");
    let mut linker = Linker::new(&engine);
    listening.add_to_linker(&mut linker).expect("free");
    for name in ["swallow", "again"] {
        let guard = listening.clone();
        linker
            .func_wrap("host", name, move |mut caller: Caller<'_, ()>| {
                let failed = guard.guard(&mut caller, |caller| reenter(caller, "inner"));
                failed.expect_err("it traps");
            })
            .expect("the name is free");
    }
    let mut store = Store::new(&engine, ());
    let instance = linker
        .instantiate(&mut store, listened.module())
        .expect("it is instantiated");
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .expect("it is there");
    let trap = "trap: wasm trap: wasm `unreachable` instruction executed";
    for _ in 0..2 {
        listening
            .guard(&mut store, |store| run.call(store, ()))
            .expect("it runs");
        assert_eq!(
            heard.take(),
            [
                "> run[]",
                "> middle[]",
                "> swallow[]",
                "> inner[]",
                "> deep[]",
                &format!("! deep: {trap}"),
                &format!("! inner: {trap}"),
                "< swallow[]",
                "> after[]",
                "< after[]",
                "< middle[]",
                "< run[]"
            ]
        );
    }
}

/// Calls from a host stack that is `deeper` frames deeper.
#[inline(never)]
fn from_deeper(deeper: u32, call: &mut dyn FnMut()) {
    let room = std::hint::black_box([deeper; 64]);
    if deeper == 0 {
        call();
    } else {
        from_deeper(deeper - 1, call);
    }
    std::hint::black_box(room);
}

#[test]
fn stale_calls_close_first_wherever_the_host_calls_from() {
    // From deeper to shallower, and back, by all distances: the new calls may lie over the
    // old ones, or beside.
    let depths = [0, 1, 2, 3, 5, 8, 13, 21, 50];
    for before in depths {
        for after in depths {
            let heard = Heard::default();
            let mut guest = Guest::new(heard.listening(), SAME_STORE, |linker| {
                linker.func_wrap("host", "swallow", || ()).expect("free");
                linker.func_wrap("host", "again", || ()).expect("free");
            });
            from_deeper(before, &mut || {
                guest.call("inner").expect_err("it traps");
            });
            from_deeper(after, &mut || guest.call("run").expect("it runs"));
            assert_eq!(
                heard.take(),
                lines(&[
                    "> inner[]",
                    "> deep[]",
                    "! deep: unknown",
                    "! inner: unknown",
                    "> run[]",
                    "> middle[]",
                    "> swallow[]",
                    "< swallow[]",
                    "> after[]",
                    "< after[]",
                    "< middle[]",
                    "< run[]"
                ]),
                "{before} {after}"
            );
        }
    }
}

#[test]
fn stale_calls_within_a_host_function_close_first_and_the_outer_stay() {
    let depths = [0, 1, 2, 3, 5, 8, 13, 21, 50];
    for before in depths {
        for after in depths {
            let heard = Heard::default();
            let mut guest = Guest::new(heard.listening(), SAME_STORE, |linker| {
                let swallow = move |mut caller: Caller<'_, ()>| {
                    from_deeper(before, &mut || {
                        reenter(&mut caller, "inner").expect_err("it traps");
                    });
                    from_deeper(after, &mut || {
                        reenter(&mut caller, "fine").expect("it runs");
                    });
                };
                linker.func_wrap("host", "swallow", swallow).expect("free");
                linker.func_wrap("host", "again", || ()).expect("free");
            });
            guest.call("run").expect("it runs");
            assert_eq!(
                heard.take(),
                lines(&[
                    "> run[]",
                    "> middle[]",
                    "> swallow[]",
                    "> inner[]",
                    "> deep[]",
                    "! deep: unknown",
                    "! inner: unknown",
                    "> fine[]",
                    "< fine[]",
                    "< swallow[]",
                    "> after[]",
                    "< after[]",
                    "< middle[]",
                    "< run[]"
                ]),
                "{before} {after}"
            );
        }
    }
}

#[test]
fn an_exception_that_was_caught_unheard_leaves_its_catcher_open() {
    // `catches` is listened to and lives; `throws` is gone when the host enters again.
    let text = "(module
       (import \"host\" \"again\" (func $again))
       (tag $e)
       (func $throws (throw $e))
       (func $catches (block $caught (try_table (catch $e $caught) (call $throws))))
       (func $fine (export \"fine\"))
       (func $run (export \"run\")
         (block $caught (try_table (catch $e $caught) (call $throws)))
         (call $again)))";
    let heard = Heard::default();
    let builder = heard.listening().exceptions(Exceptions::Never);
    let again = |definition: &Definition| {
        // Not the import: so nothing is heard between the exception and the new entry.
        definition.import.is_none()
    };
    let listening = builder.build();
    let engine = Engine::default();
    let bytes = wat::parse_str(text).expect("it is right");
    let listened = listening
        .compile_probed(&engine, bytes, again)
        .expect("it is compiled");
    let mut linker = Linker::new(&engine);
    listening.add_to_linker(&mut linker).expect("free");
    linker
        .func_wrap("host", "again", |mut caller: Caller<'_, ()>| {
            reenter(&mut caller, "fine").expect("it runs");
        })
        .expect("free");
    let mut store = Store::new(&engine, ());
    let instance = linker
        .instantiate(&mut store, listened.module())
        .expect("it is instantiated");
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .expect("it is there");
    run.call(&mut store, ()).expect("it runs");
    assert_eq!(
        heard.take(),
        lines(&[
            "> run[]",
            "> throws[]",
            "! throws: exception",
            "> fine[]",
            "< fine[]",
            "< run[]"
        ])
    );
}

#[test]
fn stores_and_instances_in_between_keep_their_own() {
    // a, in one store, calls b in another, which calls back into a second instance of a's.
    struct Data {
        other: Option<Box<(Store<()>, Instance)>>,
    }
    let heard = Heard::default();
    let listening = heard.listening().build();
    let engine = Engine::default();
    let text = "(module
       (import \"host\" \"other\" (func $other))
       (func $within (call $other))
       (func $run (export \"run\") (call $within))
       (func $leaf (export \"leaf\") (unreachable)))";
    let other = "(module
       (import \"host\" \"count\" (func $count))
       (func $theirs (export \"theirs\") (call $count) (unreachable)))";
    let compile = |text: &str| {
        listening
            .compile(&engine, wat::parse_str(text).expect("it is right"))
            .expect("it is compiled")
    };
    let (ours, theirs) = (compile(text), compile(other));
    let counted = Arc::new(AtomicU32::new(0));

    let mut their_linker = Linker::new(&engine);
    listening.add_to_linker(&mut their_linker).expect("free");
    let count = Arc::clone(&counted);
    their_linker
        .func_wrap("host", "count", move || {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .expect("free");
    let mut their_store = Store::new(&engine, ());
    let their_instance = their_linker
        .instantiate(&mut their_store, theirs.module())
        .expect("it is instantiated");

    let mut linker = Linker::new(&engine);
    listening.add_to_linker(&mut linker).expect("free");
    linker
        .func_wrap("host", "other", |mut caller: Caller<'_, Data>| {
            let mut other = caller.data_mut().other.take().expect("once at a time");
            let (store, instance) = &mut *other;
            let theirs = instance
                .get_typed_func::<(), ()>(&mut *store, "theirs")
                .expect("it is there");
            theirs.call(&mut *store, ()).expect_err("it traps");
            reenter(&mut caller, "leaf").expect_err("it traps");
            // Theirs are stale; this is heard in their store before.
            theirs.call(&mut *store, ()).expect_err("it traps");
            caller.data_mut().other = Some(other);
        })
        .expect("free");
    let data = Data {
        other: Some(Box::new((their_store, their_instance))),
    };
    let mut store = Store::new(&engine, data);
    let instance = linker
        .instantiate(&mut store, ours.module())
        .expect("it is instantiated");
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .expect("it is there");
    run.call(&mut store, ()).expect("it runs");
    assert_eq!(
        heard.take(),
        lines(&[
            "> run[]",
            "> within[]",
            "> other[]",
            "> theirs[]",
            "> count[]",
            "< count[]",
            "> leaf[]",
            "! theirs: unknown",
            "> theirs[]",
            "> count[]",
            "< count[]",
            "! leaf: unknown",
            "< other[]",
            "< within[]",
            "< run[]"
        ])
    );
    drop(store);
    assert_eq!(heard.take(), ["! theirs: store dropped"]);
    assert_eq!(counted.load(Ordering::Relaxed), 2);
}

#[test]
fn start_functions_are_heard_and_their_failures_closed() {
    let text = "(module (func $fails unreachable) (func $start (call $fails)) (start $start))";
    let good = "(module (func $start) (start $start) (func (export \"run\")))";
    let trap = "trap: wasm trap: wasm `unreachable` instruction executed";
    let heard = Heard::default();
    let listening: Listening = heard.listening().build();
    let engine = Engine::default();
    let mut linker: Linker<()> = Linker::new(&engine);
    listening.add_to_linker(&mut linker).expect("free");
    let compile = |text: &str| {
        listening
            .compile(&engine, wat::parse_str(text).expect("it is right"))
            .expect("it is compiled")
    };
    let (bad, good) = (compile(text), compile(good));
    let mut store = Store::new(&engine, ());
    let instantiate = |store: &mut Store<()>, module: &Module| linker.instantiate(store, module);

    listening
        .guard(&mut store, |store| instantiate(store, bad.module()))
        .expect_err("its start function traps");
    let opened = ["> start[]", "> fails[]"].map(str::to_owned);
    let closed = ["fails", "start"].map(|name| format!("! {name}: {trap}"));
    assert_eq!(heard.take(), [opened.clone(), closed].concat());

    // In a store that has heard nothing yet, with a factory of its own.
    for is_first in [true, false] {
        if is_first {
            store = Store::new(&engine, ());
        }
        let own = Heard::default();
        let listener = wasmscope::listen::BoxListener::new(own.clone());
        listening
            .instantiate(&mut store, listener, |store| {
                instantiate(store, good.module())
            })
            .expect("it starts");
        assert_eq!(own.take(), ["> start[]", "< start[]"]);
        assert!(heard.take().is_empty());
    }
    instantiate(&mut store, bad.module()).expect_err("its start function traps");
    assert_eq!(heard.take(), opened);
    instantiate(&mut store, good.module()).expect("it starts");
    let expected = [
        "! fails: unknown",
        "! start: unknown",
        "> start[]",
        "< start[]",
    ];
    assert_eq!(heard.take(), expected);
}

#[test]
fn calls_by_two_ways_to_one_place_of_the_host_are_kept_apart() {
    // The host enters twice at the same place of its stack: first below a function that is
    // not listened to, then below one that is, and that is open until the end.
    let text = "(module
       (import \"host\" \"again\" (func $again))
       (func $unheard (call $again))
       (func $heard (call $again) (call $unheard_too))
       (func $unheard_too (call $fine))
       (func $fine)
       (func $inner (export \"inner\") (call $unheard_too) (call $fine))
       (func $traps (export \"traps\") unreachable)
       (func $run (export \"run\") (call $unheard) (call $heard) (call $unheard) (call $heard)))";
    let engine = Engine::default();
    for name in ["inner", "traps"] {
        let heard = Heard::default();
        let listener = wasmscope::listen::BoxListener::new(heard.clone());
        let listening = Listening::new(move |function: &Definition| {
            let name = function.name.as_deref().unwrap_or_default();
            let is_listened = function.import.is_none() && !name.starts_with("unheard");
            is_listened.then(|| listener.clone())
        });
        let bytes = wat::parse_str(text).expect("it is right");
        let listened = listening.compile(&engine, bytes).expect("it is compiled");
        let mut linker = Linker::new(&engine);
        listening.add_to_linker(&mut linker).expect("free");
        linker
            .func_wrap("host", "again", move |mut caller: Caller<'_, ()>| {
                assert_eq!(reenter(&mut caller, name).is_ok(), name == "inner");
            })
            .expect("free");
        let mut store = Store::new(&engine, ());
        let instance = linker
            .instantiate(&mut store, listened.module())
            .expect("it is instantiated");
        let run = instance
            .get_typed_func::<(), ()>(&mut store, "run")
            .expect("it is there");
        run.call(&mut store, ()).expect("it runs");
        let within: &[&str] = match name {
            "inner" => &[
                "> inner[]",
                "> fine[]",
                "< fine[]",
                "> fine[]",
                "< fine[]",
                "< inner[]",
            ],
            _ => &["> traps[]", "! traps: unknown"],
        };
        let fine: &[&str] = &["> fine[]", "< fine[]"];
        let once = [within, &["> heard[]"], within, fine, &["< heard[]"]].concat();
        let expected = [&["> run[]"], &once[..], &once, &["< run[]"]].concat();
        assert_eq!(heard.take(), expected, "{name}");
    }
}
