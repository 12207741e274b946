//! Listeners that are turned off and on while guests run.

use crate::balance::Balance;
use crate::heard::Heard;
use std::sync::atomic::{AtomicBool, Ordering};
use wasmscope::{Listened, Listening};
use wasmtime::{Caller, Engine, Instance, Linker, Store};

/// `turn` is called between the calls of `leaf`, with the turn's number.
const TEXT: &str = "(module
   (import \"host\" \"turn\" (func $turn (param i32)))
   (func $leaf (param i32))
   (func $step (param i32) (call $turn (local.get 0)) (call $leaf (local.get 0)))
   (func $run (export \"run\")
     (call $step (i32.const 0)) (call $step (i32.const 1)) (call $step (i32.const 2)))
   (func $many (export \"many\") (local i32)
     (loop
       (call $leaf (local.get 0))
       (local.set 0 (i32.add (local.get 0) (i32.const 1)))
       (br_if 0 (i32.lt_u (local.get 0) (i32.const 20000))))))";

fn compile(listening: &Listening, engine: &Engine) -> Listened {
    let bytes = wat::parse_str(TEXT).expect("it is right");
    listening.compile(engine, bytes).expect("it is compiled")
}

fn instantiate(
    listening: &Listening,
    listened: &Listened,
    turn: impl Fn(Caller<'_, ()>, u32) + Send + Sync + 'static,
) -> (Store<()>, Instance) {
    let engine = listened.module().engine();
    let mut linker = Linker::new(engine);
    listening.add_to_linker(&mut linker).expect("free");
    linker.func_wrap("host", "turn", turn).expect("free");
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, listened.module());
    (store, instance.expect("it is made"))
}

fn run(store: &mut Store<()>, instance: Instance, name: &str) {
    let function = instance.get_typed_func::<(), ()>(&mut *store, name);
    function
        .expect("it is there")
        .call(store, ())
        .expect("it runs");
}

#[test]
fn a_host_function_switches_at_once() {
    let heard = Heard::default();
    let listening = heard.listening().switches(true).build();
    let listened = compile(&listening, &Engine::default());
    let switched = listened.clone();
    let (mut store, instance) = instantiate(&listening, &listened, move |mut caller, turn| {
        let leaf = turn != 1;
        switched.switch(|f| (f.name.as_deref() == Some("leaf")).then_some(leaf));
        // What is open closes all the same, whether it is off by then or not.
        switched.switch(|f| (f.name.as_deref() == Some("step")).then_some(turn == 2));
        switched.apply(&mut caller);
    });
    run(&mut store, instance, "run");
    assert_eq!(
        heard.take(),
        [
            "> run[]",
            "> step[0]",
            "> turn[0]",
            "< turn[]",
            "> leaf[0]",
            "< leaf[]",
            "< step[]",
            "> turn[1]",
            "< turn[]",
            "> turn[2]",
            "< turn[]",
            "> leaf[2]",
            "< leaf[]",
            "< run[]"
        ]
    );
}

#[test]
fn all_off_is_silent_and_all_on_is_as_before() {
    let heard = Heard::default();
    let listening = heard.listening().switches(true).build();
    let listened = compile(&listening, &Engine::default());
    let (mut store, instance) = instantiate(&listening, &listened, |_, _| {});
    run(&mut store, instance, "run");
    let all = heard.take();
    assert_eq!(all.len(), 20);
    listened.switch(|_| Some(false));
    listened.apply(&mut store);
    run(&mut store, instance, "run");
    assert!(heard.take().is_empty());
    // One that is made now is off too, from its first event on.
    let (mut other, made_later) = instantiate(&listening, &listened, |_, _| {});
    listening
        .guard(&mut other, |store| {
            run(store, made_later, "run");
            Ok(())
        })
        .expect("it runs");
    heard.take();
    run(&mut other, made_later, "run");
    assert!(heard.take().is_empty());
    listened.switch(|_| Some(true));
    for (store, instance) in [(&mut store, instance), (&mut other, made_later)] {
        listened.apply(&mut *store);
        run(store, instance, "run");
        assert_eq!(heard.take(), all);
    }
}

#[test]
fn another_thread_switches_while_guests_run() {
    let heard = Balance::default();
    let listening = heard.listening().switches(true).build();
    let listened = compile(&listening, &Engine::default());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut on = false;
            while !done.load(Ordering::Relaxed) {
                listened.switch(|f| (f.name.as_deref() == Some("leaf")).then_some(on));
                on = !on;
                std::thread::yield_now();
            }
        });
        let guests: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut store, instance) = instantiate(&listening, &listened, |_, _| {});
                    for _ in 0..20 {
                        run(&mut store, instance, "many");
                        run(&mut store, instance, "run");
                    }
                })
            })
            .collect();
        for guest in guests {
            guest.join().expect("it did not panic");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!((heard.open(), heard.aborted()), (0, 0));
    assert!(heard.opened() >= 2 * 20 * 8);
}
