//! Listeners within components that are turned off and on while guests run.

use crate::engines::configs;
use crate::ledger::Ledger;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use wasmscope::listen::Definition;
use wasmscope::{Error, ListenedComponent, Listening};
use wasmtime::component::{Accessor, Instance, Linker};
use wasmtime::{Config, Engine, PoolingAllocationConfig, Store, StoreContextMut};

/// Two instances of a component, one within the other's reach, which a third calls: one of its
/// core modules is instantiated twice, and it takes a string.
pub(crate) const TEXT: &str = r#"(component
  (import "turn" (func $turn (param "turn" u32)))
  (component $inner
    (import "next" (func $next (param "turn" u32)))
    (core func $next (canon lower (func $next)))
    (core module $m
      (import "$root" "next" (func $next (param i32)))
      (func $leaf (param i32))
      (func $step (export "step") (param i32)
        (call $next (local.get 0)) (call $leaf (local.get 0))))
    (core instance $i (instantiate $m (with "$root" (instance (export "next" (func $next))))))
    (func (export "step") (param "turn" u32) (canon lift (core func $i "step"))))
  (instance $low (instantiate $inner (with "next" (func $turn))))
  (instance $high (instantiate $inner (with "next" (func $low "step"))))
  (component $main
    (import "step" (func $step (param "turn" u32)))
    (core func $step (canon lower (func $step)))
    (core module $thrice
      (import "" "step" (func $step (param i32)))
      (memory (export "memory") 1)
      (func $room (param i32) (result i32) (i32.const 64))
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) (call $room (local.get 3)))
      (func (export "run") (param i32 i32)
        (call $step (i32.const 0)) (call $step (i32.const 1)) (call $step (i32.const 2))))
    (core instance $thrice (instantiate $thrice
      (with "" (instance (export "step" (func $step))))))
    (core module $pass (import "" "run" (func $run (param i32 i32)))
      (func (export "run") (param i32 i32) (call $run (local.get 0) (local.get 1))))
    (core instance $first (instantiate $pass
      (with "" (instance (export "run" (func $thrice "run"))))))
    (core instance $second (instantiate $pass
      (with "" (instance (export "run" (func $first "run"))))))
    (func (export "run") (param "name" string)
      (canon lift (core func $second "run")
        (memory (core memory $thrice "memory")) (realloc (core func $thrice "realloc")))))
  (instance $main (instantiate $main (with "step" (func $high "step"))))
  (export "run" (func $main "run")))"#;

/// A host that calls a function between the guest's steps.
type Turn = Arc<dyn Fn(StoreContextMut<'_, ()>, u32) + Send + Sync>;

fn compile(listening: &Listening, config: &Config) -> ListenedComponent {
    let engine = Engine::new(config).expect("it is a configuration");
    let bytes = wat::parse_str(TEXT).expect("it is text");
    listening
        .compile_component(&engine, bytes)
        .expect("it is a component")
}

fn instantiate(
    listening: &Listening,
    guest: &ListenedComponent,
    turn: Turn,
) -> (Store<()>, Instance) {
    let engine = guest.component().engine();
    let mut linker = Linker::new(engine);
    listening
        .add_to_component_linker(&mut linker)
        .expect("free");
    let turned = move |store: StoreContextMut<'_, ()>, (number,): (u32,)| {
        turn(store, number);
        Ok(())
    };
    linker.root().func_wrap("turn", turned).expect("free");
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, guest.component());
    (store, instance.expect("it links"))
}

fn run(store: &mut Store<()>, instance: Instance) {
    let run = instance.get_typed_func::<(&str,), ()>(&mut *store, "run");
    run.expect("it is there")
        .call(store, ("somebody",))
        .expect("it runs");
}

fn quiet() -> Turn {
    Arc::new(|_, _| {})
}

/// Returns the lines that are of these functions.
fn of(lines: &[String], wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let is_wanted = |line: &&String| {
        let name = line[2..].split(['[', '(']).next();
        wanted(name.expect("there is a first part"))
    };
    lines.iter().filter(is_wanted).cloned().collect()
}

#[test]
fn what_is_off_is_silent_and_all_else_is_as_with_everything_on() {
    for (name, mut config) in configs() {
        if name == "pooling" {
            config.allocation_strategy(pool(2));
        }
        let ledger = Ledger::writing();
        let listening = ledger.builder().switches(true).build();
        let guest = compile(&listening, &config);
        let (mut store, instance) = instantiate(&listening, &guest, quiet());
        let run = |store: &mut Store<()>| {
            ledger.take();
            listening
                .guard(store, |store| {
                    run(store, instance);
                    Ok(())
                })
                .expect("it runs");
            ledger.take()
        };
        let all = run(&mut store);
        assert!(all.len() > 40, "{name}: {all:#?}");
        assert!(all.iter().any(|line| line.ends_with("(deferred)")));
        let functions: Vec<String> = guest.probed().map(ToString::to_string).collect();
        let names: Vec<&str> = functions
            .iter()
            .map(|name| {
                name.split(['[', '('])
                    .next()
                    .expect("there is a first part")
            })
            .collect();
        // Each alone off, each alone on, and everything off, on and off again.
        for one in &names {
            let is_it = |f: &Definition| f.to_string().starts_with(one);
            guest.switch(|f| Some(!is_it(f)));
            assert_eq!(run(&mut store), of(&all, |name| !name.starts_with(one)));
            guest.switch(|f| Some(is_it(f)));
            assert_eq!(run(&mut store), of(&all, |name| name.starts_with(one)));
        }
        for on in [false, true, false] {
            guest.switch(|_| Some(on));
            assert_eq!(run(&mut store), of(&all, |_| on), "{name}");
        }
        // One that is made now is off too.
        let (mut other, made_later) = instantiate(&listening, &guest, quiet());
        super::switches::run(&mut other, made_later);
        assert!(ledger.take().is_empty(), "{name}");
        guest.switch(|_| Some(true));
        guest.apply(&mut other);
        super::switches::run(&mut other, made_later);
        // Of the clean-up nobody has told yet, if there is any.
        assert_eq!(ledger.take(), all, "{name}");
        drop((store, other));
        ledger.settled();
    }
}

/// A pool with room for so many memories in each module.
pub(crate) fn pool(memories: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.max_memories_per_module(memories);
    pool
}

#[test]
fn a_pool_without_room_for_the_switches_says_so() {
    let mut config = Config::new();
    config.allocation_strategy(pool(1));
    let engine = Engine::new(&config).expect("it is a configuration");
    let compile = |switches| {
        let listening = Ledger::default().builder().switches(switches).build();
        let bytes = wat::parse_str(TEXT).expect("it is text");
        listening.compile_component(&engine, bytes)
    };
    compile(false).expect("there is room without them");
    let error = compile(true).expect_err("there is none");
    assert!(matches!(error, Error::OwnMemory(_)), "{error}");
}

#[test]
fn a_host_function_switches_at_once() {
    let ledger = Ledger::writing();
    let listening = ledger.builder().switches(true).build();
    let guest = compile(&listening, &Config::new());
    let switched: Arc<OnceLock<ListenedComponent>> = Arc::default();
    let known = Arc::clone(&switched);
    let (mut store, instance) = instantiate(
        &listening,
        &guest,
        Arc::new(move |mut store, turn| {
            let guest = known.get().expect("it is set before the guest runs");
            // What is open closes all the same, whether it is off by then or not.
            guest.switch(|f| match f.name.as_deref() {
                Some("leaf") => Some(turn != 1),
                Some("step") => Some(turn == 1),
                _ => None,
            });
            guest.apply(&mut store);
        }),
    );
    switched.set(guest).expect("once");
    run(&mut store, instance);
    let lines = ledger.take();
    let count = |what: &str| lines.iter().filter(|line| line.starts_with(what)).count();
    drop(store);
    ledger.settled();
    // `leaf` is called twice in each of three turns, in the second of which it is off. `step`
    // opens twice ahead of the first turn, and of the third.
    assert_eq!((count("> m.leaf"), count("< m.leaf")), (4, 4), "{lines:#?}");
    assert_eq!((count("> m.step"), count("< m.step")), (4, 4), "{lines:#?}");
}

#[test]
fn another_thread_switches_while_guests_run() {
    let ledger = Ledger::default();
    let listening = ledger.builder().switches(true).build();
    let guest = compile(&listening, &Config::new());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut on = false;
            while !done.load(Ordering::Relaxed) {
                guest.switch(|f| (f.name.as_deref() == Some("leaf")).then_some(on));
                on = !on;
                std::thread::yield_now();
            }
        });
        let guests: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut store, instance) = instantiate(&listening, &guest, quiet());
                    for _ in 0..200 {
                        run(&mut store, instance);
                    }
                })
            })
            .collect();
        let ends: Vec<_> = guests.into_iter().map(|guest| guest.join()).collect();
        done.store(true, Ordering::Relaxed);
        for end in ends {
            end.expect("it did not panic");
        }
    });
    assert_eq!(ledger.entries().aborts, 0);
    assert!(ledger.settled() >= 2 * 200 * 8);
}

/// Waits in the middle of a call, and is called by several tasks.
const TASKS: &str = r#"(component
  (import "pause" (func $pause async))
  (core func $pause (canon lower (func $pause)))
  (core module $m
    (import "$root" "pause" (func $pause))
    (func $leaf)
    (func (export "run") (call $leaf) (call $pause) (call $leaf)))
  (core instance $i (instantiate $m (with "$root" (instance (export "pause" (func $pause))))))
  (func (export "run") async (canon lift (core func $i "run"))))"#;

#[tokio::test]
async fn tasks_that_wait_go_on_as_is_wanted_by_then() {
    const TURNS: u64 = 8;
    let ledger = Ledger::writing();
    let listening = ledger.builder().switches(true).build();
    let engine = Engine::default();
    let bytes = wat::parse_str(TASKS).expect("it is text");
    let guest = listening
        .compile_component(&engine, bytes)
        .expect("it is a component");
    let mut linker = Linker::<()>::new(&engine);
    listening
        .add_to_component_linker(&mut linker)
        .expect("free");
    let switched = guest.clone();
    let is_leaf = |f: &Definition| f.name.as_deref() == Some("leaf");
    linker
        .root()
        .func_wrap_concurrent("pause", move |_: &Accessor<()>, (): ()| {
            let switched = switched.clone();
            Box::pin(async move {
                tokio::task::yield_now().await;
                // By no store's next event: the one behind this, by any task, obeys.
                switched.switch(|f| is_leaf(f).then_some(false));
                Ok(())
            })
        })
        .expect("free");
    let mut store = Store::new(&engine, ());
    let instance = linker
        .instantiate_async(&mut store, guest.component())
        .await
        .expect("it links");
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .expect("it is there");
    for _ in 0..TURNS {
        guest.switch(|f| is_leaf(f).then_some(true));
        guest.apply(&mut store);
        ledger.take();
        let result = store
            .run_concurrent(async |accessor| run.call_concurrent(accessor, ()).await)
            .await;
        result.expect("it goes on").expect("it runs");
        let lines = ledger.take();
        let leaves = lines.iter().filter(|line| line.contains("leaf")).count();
        // The first call of `leaf` and nothing of the second: the end of `pause` is an event
        // that comes between.
        assert_eq!(leaves, 2, "{lines:#?}");
        assert_eq!(lines.len(), 2 * (2 + 1 + 1), "{lines:#?}");
    }
    drop(store);
    assert_eq!(ledger.settled(), TURNS * 4);
}
