//! Events of functions that may not call out, where no event of the component follows.

use crate::compiled::compiled;
use crate::engines::configs;
use crate::ledger::Ledger;
use crate::strings::{TEXT, cleaning, greeting, host};
use crate::tasks::join;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use wasmscope::listen::{BoxListener, Call, Cause, Definition, Listener};
use wasmscope::{ListenedComponent, Listening};
use wasmtime::component::{Accessor, Instance, TypedFunc};
use wasmtime::{CallHook, Config, Engine, PoolingAllocationConfig, Result, Store};

type Greet = TypedFunc<(&'static str,), (String,)>;

struct Guest {
    ledger: Ledger,
    listening: Listening,
    component: ListenedComponent,
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    async fn new(config: &Config, text: &str, asynchronous: bool) -> Self {
        let engine = Engine::new(config).expect("it is a configuration");
        let ledger = Ledger::writing();
        let listening = ledger.listening();
        let (component, mut linker) = compiled(&listening, &engine, text);
        host(&mut linker);
        let mut store = Store::new(&engine, ());
        let instance = if asynchronous {
            linker
                .instantiate_async(&mut store, component.component())
                .await
        } else {
            linker.instantiate(&mut store, component.component())
        };
        Self {
            ledger,
            listening,
            component,
            store,
            instance: instance.expect("it links"),
        }
    }

    fn greet(&mut self) -> Greet {
        let (store, instance) = (&mut self.store, self.instance);
        let api = instance.get_export_index(&mut *store, None, "local:test/api@1.2.3");
        let greet = instance.get_export_index(&mut *store, api.as_ref(), "greet");
        let greet = greet.expect("it is there");
        instance
            .get_typed_func(store, greet)
            .expect("it is of this type")
    }

    /// Checks that all has been told and closed, before the store ends and after.
    fn settle(self, name: &str) {
        let mut expected = greeting("Ada", 1024);
        expected.extend(cleaning(1024));
        assert_eq!(self.ledger.take(), expected, "{name}");
        let calls = expected.len() as u64 / 2;
        assert_eq!(self.ledger.settled(), calls, "{name}");
        drop(self.store);
        assert_eq!(self.ledger.settled(), calls, "{name}");
        assert_eq!(self.component.lost(), 0, "{name}");
    }
}

fn all_configs() -> impl Iterator<Item = (&'static str, Config)> {
    let mut pooling = Config::new();
    pooling.allocation_strategy(PoolingAllocationConfig::new());
    configs()
        .into_iter()
        .chain([("another pooling one", pooling)])
}

#[tokio::test]
async fn a_scope_tells_what_its_last_call_left() {
    for (name, config) in all_configs() {
        let mut guest = Guest::new(&config, TEXT, false).await;
        let greet = guest.greet();
        guest
            .listening
            .guard(&mut guest.store, |store| greet.call(store, ("Ada",)))
            .expect(name);
        guest.settle(name);
        let mut guest = Guest::new(&config, TEXT, true).await;
        let greet = guest.greet();
        guest
            .listening
            .guard_async(&mut guest.store, async |store| {
                greet.call_async(store, ("Ada",)).await
            })
            .await
            .expect(name);
        guest.settle(name);
    }
}

#[tokio::test]
async fn the_call_hook_tells_it_before_the_embedder_hears() {
    for (name, config) in all_configs() {
        let mut guest = Guest::new(&config, TEXT, false).await;
        let listening = guest.listening.clone();
        guest.store.call_hook(move |context, hook: CallHook| {
            listening.call_hook(context, hook);
            Ok(())
        });
        let greet = guest.greet();
        greet.call(&mut guest.store, ("Ada",)).expect(name);
        guest.settle(name);
    }
}

#[tokio::test]
async fn who_asks_is_told_once() {
    for (name, config) in all_configs() {
        let mut guest = Guest::new(&config, TEXT, false).await;
        let greet = guest.greet();
        greet.call(&mut guest.store, ("Ada",)).expect(name);
        assert_eq!(guest.ledger.take(), greeting("Ada", 1024), "{name}");
        for expected in [cleaning(1024), Vec::new()] {
            guest.listening.tell_deferred(&mut guest.store);
            assert_eq!(guest.ledger.take(), expected, "{name}");
        }
        // Nor does the component tell it again.
        greet.call(&mut guest.store, ("Bob",)).expect(name);
        let free = 1024 + 8 + 16 + 8 + 256;
        assert_eq!(guest.ledger.take(), greeting("Bob", free), "{name}");
        // The next scope begins with what the call before it left.
        let nothing = |_: &mut Store<()>| Ok(());
        let listening = guest.listening.clone();
        listening.guard(&mut guest.store, nothing).expect(name);
        assert_eq!(guest.ledger.take(), cleaning(free), "{name}");
        guest.ledger.settled();
    }
}

/// Two components, each with a `post-return` of its own; the outer one's is the last.
const NESTED: &str = r#"(component
  (component $inner
    (core module $m
      (memory (export "memory") 1)
      (func (export "name") (result i32) (i32.const 8))
      (func (export "clean") (param i32)))
    (core instance $i (instantiate $m))
    (alias core export $i "memory" (core memory $memory))
    (func (export "name") (result string)
      (canon lift (core func $i "name") (memory $memory) (post-return (core func $i "clean")))))
  (instance $low (instantiate $inner))
  (instance $high (instantiate $inner))
  (export "low" (func $low "name"))
  (export "high" (func $high "name")))"#;

#[tokio::test]
async fn each_component_keeps_its_own() {
    let mut guest = Guest::new(&Config::new(), NESTED, false).await;
    let (instance, listening) = (guest.instance, guest.listening.clone());
    let call = |store: &mut Store<()>| -> Result<()> {
        for name in ["low", "high"] {
            let name = instance.get_typed_func::<(), (String,)>(&mut *store, name)?;
            assert_eq!(name.call(&mut *store, ())?.0, "");
        }
        Ok(())
    };
    listening.guard(&mut guest.store, call).expect("it runs");
    let lines = guest.ledger.take();
    let count = |what: &str| lines.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!(count("> m.clean[8] (deferred)"), 2, "{lines:#?}");
    assert_eq!(count("< m.clean"), 2, "{lines:#?}");
    assert_eq!(guest.ledger.settled(), 2 * 3);
}

/// Fails while it allocates, or while it cleans up.
const FAILS: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (func $fail unreachable)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (if (i32.eq (local.get 3) (i32.const 3)) (then (call $fail)))
      (i32.const 64))
    (func (export "take") (param i32 i32) (result i32) (i32.const 8))
    (func (export "clean") (param i32) (call $fail)))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (func (export "take") (param "what" string) (result string)
    (canon lift (core func $i "take") (memory $memory) (realloc (core func $i "realloc"))
      (post-return (core func $i "clean")))))"#;

#[tokio::test]
async fn what_fails_there_is_closed_with_the_real_cause() {
    let trap = "trap: wasm trap: wasm `unreachable` instruction executed";
    for (what, expected) in [
        (
            "Ada",
            [
                "> m.realloc[0, 0, 1, 3] (deferred)".to_owned(),
                "> m.fail[] (deferred)".to_owned(),
                format!("! m.fail: {trap}"),
                format!("! m.realloc: {trap}"),
            ]
            .to_vec(),
        ),
        (
            "Anne",
            [
                "> m.realloc[0, 0, 1, 4] (deferred)".to_owned(),
                "< m.realloc[64]".to_owned(),
                "> take(\"Anne\")".to_owned(),
                "> m.take[64, 4]".to_owned(),
                "< m.take[8]".to_owned(),
                "< take(\"\")".to_owned(),
                "> m.clean[8] (deferred)".to_owned(),
                "> m.fail[] (deferred)".to_owned(),
                format!("! m.fail: {trap}"),
                format!("! m.clean: {trap}"),
            ]
            .to_vec(),
        ),
    ] {
        let mut guest = Guest::new(&Config::new(), FAILS, false).await;
        let (instance, listening) = (guest.instance, guest.listening.clone());
        let take = |store: &mut Store<()>| {
            let take = instance.get_typed_func::<(&str,), (String,)>(&mut *store, "take")?;
            take.call(store, (what,))
        };
        let failed = listening.guard(&mut guest.store, take);
        failed.expect_err("it traps");
        assert_eq!(guest.ledger.take(), expected);
        assert_eq!(guest.ledger.settled(), expected.len() as u64 / 2);
    }
}

/// What a failed call leaves, told by someone who is not told that it failed.
fn failed(what: &str) -> Vec<String> {
    let mut expected = Vec::new();
    let outer = if what == "Ada" {
        expected.push("> m.realloc[0, 0, 1, 3] (deferred)".to_owned());
        "m.realloc"
    } else {
        expected.extend(
            [
                "> m.realloc[0, 0, 1, 4] (deferred)",
                "< m.realloc[64]",
                "> take(\"Anne\")",
                "> m.take[64, 4]",
                "< m.take[8]",
                "< take(\"\")",
                "> m.clean[8] (deferred)",
            ]
            .map(str::to_owned),
        );
        "m.clean"
    };
    expected.push("> m.fail[] (deferred)".to_owned());
    expected.extend(["m.fail", outer].map(|name| format!("! {name}: {}", Cause::Unknown)));
    expected
}

#[tokio::test]
async fn what_fails_there_is_told_without_a_scope() {
    for what in ["Ada", "Anne"] {
        for hooked in [false, true] {
            let mut guest = Guest::new(&Config::new(), FAILS, false).await;
            let (instance, listening) = (guest.instance, guest.listening.clone());
            if hooked {
                let listening = listening.clone();
                guest.store.call_hook(move |context, hook: CallHook| {
                    listening.call_hook(context, hook);
                    Ok(())
                });
            }
            let take = instance.get_typed_func::<(&str,), (String,)>(&mut guest.store, "take");
            let take = take.expect("it is of this type");
            take.call(&mut guest.store, (what,)).expect_err("it traps");
            if !hooked {
                listening.tell_deferred(&mut guest.store);
            }
            let lines = guest.ledger.take();
            assert_eq!(lines, failed(what), "hooked: {hooked}");
            assert_eq!(guest.ledger.settled(), lines.len() as u64 / 2);
            assert_eq!(guest.component.lost(), 0);
        }
    }
}

/// Allocates for what the host says while another task's call waits for the same.
const SAYS: &str = r#"(component
  (import "say" (func $say async (result string)))
  (core module $libc
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $say (canon lower (func $say) (memory $memory) (realloc (core func $realloc))))
  (core module $m
    (import "$root" "say" (func $say (param i32)))
    (func (export "run") (call $say (i32.const 8))))
  (core instance $i (instantiate $m (with "$root" (instance (export "say" (func $say))))))
  (func (export "run") async (canon lift (core func $i "run"))))"#;

/// Writes down the parents of calls that are told later.
#[derive(Clone, Default)]
struct Parents(Arc<Mutex<Vec<Vec<String>>>>);

impl Listener for Parents {
    type State = ();

    fn before(&self, call: &Call<'_>) {
        if call.is_deferred() {
            let parents = call.parents().map(|parent| parent.definition().to_string());
            let mut heard = self.0.lock().expect("nothing panicked here");
            heard.push(parents.collect());
        }
    }
}

#[tokio::test]
async fn no_task_is_the_parent_of_what_another_may_have_done() {
    for tasks in [1, 2] {
        let parents = Parents::default();
        let listener = BoxListener::new(parents.clone());
        let listening = Listening::new(move |_: &Definition| Some(listener.clone()));
        let engine = Engine::default();
        let (component, mut linker) = compiled(&listening, &engine, SAYS);
        let (says, _) = tokio::sync::broadcast::channel::<()>(1);
        let told = says.clone();
        linker
            .root()
            .func_wrap_concurrent("say", move |_: &Accessor<()>, (): ()| {
                let mut told = told.subscribe();
                Box::pin(async move {
                    told.recv().await?;
                    Ok(("so".to_owned(),))
                })
            })
            .expect("free");
        let mut store = Store::new(&engine, ());
        let mut runs = Vec::new();
        for _ in 0..tasks {
            let instance = linker
                .instantiate_async(&mut store, component.component())
                .await
                .expect("it links");
            let run = instance.get_typed_func::<(), ()>(&mut store, "run");
            runs.push(run.expect("it is there"));
        }
        let all = store.run_concurrent(async |accessor| {
            let mut running: Vec<Pin<Box<dyn Future<Output = Result<()>> + Send>>> = Vec::new();
            for run in &runs {
                running.push(Box::pin(
                    async move { run.call_concurrent(accessor, ()).await },
                ));
            }
            let says = &says;
            running.push(Box::pin(async move {
                while says.receiver_count() < tasks {
                    tokio::task::yield_now().await;
                }
                says.send(())?;
                Ok(())
            }));
            join(running).await
        });
        let all: Result<Vec<()>> = all.await.expect("it runs").into_iter().collect();
        all.expect("all return");
        listening.tell_deferred(&mut store);
        let heard = parents.0.lock().expect("nothing panicked here");
        assert_eq!(heard.len(), tasks);
        if tasks == 1 {
            assert_eq!(*heard, [["say", "m.run", "run"]]);
        } else {
            assert_eq!(heard[0], [""; 0], "{heard:?}");
        }
    }
}
