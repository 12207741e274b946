//! When calls end without returning: traps, errors, exits, futures that are dropped.

use crate::compiled::compiled;
use crate::ledger::Ledger;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use wasmscope::Listening;
use wasmtime::component::Instance;
use wasmtime::{CallHook, Config, Engine, Result, Store, StoreContextMut};

const TEXT: &str = r#"(component
  (import "fail" (func $fail (param "how" u32)))
  (core func $fail (canon lower (func $fail)))
  (core module $m
    (import "$root" "fail" (func $fail (param i32)))
    (func $deep (param $depth i32) (param $how i32)
      (if (local.get $depth)
        (then (call $deep (i32.sub (local.get $depth) (i32.const 1)) (local.get $how)))
        (else
          (if (i32.eqz (local.get $how)) (then unreachable))
          (call $fail (local.get $how)))))
    (func (export "run") (param i32 i32) (call $deep (local.get 0) (local.get 1))))
  (core instance $i (instantiate $m (with "$root" (instance (export "fail" (func $fail))))))
  (func (export "run") (param "depth" u32) (param "how" u32)
    (canon lift (core func $i "run"))))"#;

/// What the host does in `fail`.
const TRAP: u32 = 0;
const ERROR: u32 = 1;
const EXIT: u32 = 2;
const RETURN: u32 = 3;

#[derive(Debug, thiserror::Error)]
#[error("exit with {0}")]
struct Exit(i32);

struct Guest {
    ledger: Ledger,
    listening: Listening,
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    async fn new(asynchronous: bool) -> Self {
        let engine = Engine::new(&Config::new()).expect("it is a configuration");
        let ledger = Ledger::writing();
        let exit = |error: &wasmtime::Error| error.downcast_ref::<Exit>().map(|exit| exit.0);
        let listening = ledger.builder().exit_status(exit).build();
        let (guest, mut linker) = compiled(&listening, &engine, TEXT);
        let fails = |how: u32| match how {
            ERROR => Err(wasmtime::Error::msg("no such thing")),
            EXIT => Err(wasmtime::Error::new(Exit(7))),
            _ => Ok(()),
        };
        let mut root = linker.root();
        if asynchronous {
            root.func_wrap_async("fail", move |_: StoreContextMut<'_, ()>, (how,): (u32,)| {
                Box::new(async move {
                    tokio::task::yield_now().await;
                    fails(how)
                })
            })
            .expect("free");
        } else {
            root.func_wrap("fail", move |_: StoreContextMut<'_, ()>, (how,): (u32,)| {
                fails(how)
            })
            .expect("free");
        }
        let mut store = Store::new(&engine, ());
        let component = guest.component();
        let instance = if asynchronous {
            linker.instantiate_async(&mut store, component).await
        } else {
            linker.instantiate(&mut store, component)
        };
        Self {
            ledger,
            listening,
            store,
            instance: instance.expect("it links"),
        }
    }

    fn run(&mut self, how: u32) -> Result<()> {
        let run = self
            .instance
            .get_typed_func::<(u32, u32), ()>(&mut self.store, "run")?;
        run.call(&mut self.store, (2, how))
    }

    fn guarded(&mut self, how: u32) -> Result<()> {
        let run = self
            .instance
            .get_typed_func::<(u32, u32), ()>(&mut self.store, "run")?;
        self.listening
            .guard(&mut self.store, |store| run.call(store, (2, how)))
    }

    async fn guarded_async(&mut self, how: u32) -> Result<()> {
        let run = self
            .instance
            .get_typed_func::<(u32, u32), ()>(&mut self.store, "run")?;
        let run = async |store: &mut Store<()>| run.call_async(store, (2, how)).await;
        self.listening.guard_async(&mut self.store, run).await
    }
}

/// The calls of one run, closed for this cause.
fn expected(how: u32, cause: &str) -> Vec<String> {
    let mut lines = vec![format!("> run(2, {how})"), format!("> m.run[2, {how}]")];
    lines.extend(
        (0..3)
            .rev()
            .map(|depth| format!("> m.deep[{depth}, {how}]")),
    );
    let mut open = vec!["run", "m.run", "m.deep", "m.deep", "m.deep"];
    if how != TRAP {
        lines.push(format!("> fail({how})"));
        open.push("fail");
    }
    lines.extend(open.iter().rev().map(|name| format!("! {name}: {cause}")));
    lines
}

#[tokio::test]
async fn a_scope_ends_with_the_real_cause() {
    for (how, cause) in [
        (
            TRAP,
            "trap: wasm trap: wasm `unreachable` instruction executed",
        ),
        (ERROR, "error: no such thing"),
        (EXIT, "exit 7"),
    ] {
        let mut guest = Guest::new(false).await;
        guest.guarded(how).expect_err("it fails");
        assert_eq!(guest.ledger.take(), expected(how, cause));
        guest.ledger.settled();
        let mut guest = Guest::new(true).await;
        guest.guarded_async(how).await.expect_err("it fails");
        assert_eq!(guest.ledger.take(), expected(how, cause));
        guest.ledger.settled();
    }
}

#[tokio::test]
async fn without_a_scope_the_store_ends_it_at_the_latest() {
    let mut guest = Guest::new(false).await;
    guest.run(ERROR).expect_err("it fails");
    assert_eq!(guest.ledger.open(), 6);
    drop(guest.store);
    assert_eq!(guest.ledger.settled(), 6);
}

#[tokio::test]
async fn the_call_hook_ends_it_before_the_embedder_hears() {
    let mut guest = Guest::new(false).await;
    let listening = guest.listening.clone();
    guest.store.call_hook(move |context, hook: CallHook| {
        listening.call_hook(context, hook);
        Ok(())
    });
    guest.run(RETURN).expect("it returns");
    assert_eq!(guest.ledger.settled(), 6);
    guest.run(TRAP).expect_err("it traps");
    assert_eq!(guest.ledger.settled(), 11);
}

#[tokio::test]
async fn a_future_that_is_dropped_ends_it() {
    let mut guest = Guest::new(true).await;
    {
        let mut running = pin!(guest.guarded_async(RETURN));
        // Once is up to where the host waits.
        let once = poll_fn(|context| Poll::Ready(running.as_mut().poll(context).is_pending()));
        assert!(once.await, "it waits");
    }
    let lines = guest.ledger.take();
    let ends: Vec<_> = lines.iter().filter(|line| line.starts_with('!')).collect();
    assert_eq!(ends.len(), 6, "{lines:#?}");
    assert!(
        ends.iter().all(|line| line.contains("future")),
        "{lines:#?}"
    );
    assert_eq!(guest.ledger.settled(), 6);
}

/// Throws through two functions into a third, and out of the component.
const THROWS: &str = r#"(component
  (core module $m
    (tag $t (param i32))
    (func $throw (param i32) (throw $t (local.get 0)))
    (func $through (param i32) (call $throw (local.get 0)))
    (func (export "catches") (param i32) (result i32)
      (block $caught (result i32)
        (try_table (catch $t $caught) (call $through (local.get 0)))
        (i32.const -1)))
    (func (export "does-not") (param i32) (result i32) (call $through (local.get 0)) (i32.const 1)))
  (core instance $i (instantiate $m))
  (func (export "catches") (param "x" u32) (result u32) (canon lift (core func $i "catches")))
  (func (export "does-not") (param "x" u32) (result u32) (canon lift (core func $i "does-not"))))"#;

#[test]
fn exceptions_close_what_they_pass_through() {
    let engine = Engine::default();
    let ledger = Ledger::writing();
    let listening = ledger.listening();
    let (guest, linker) = compiled(&listening, &engine, THROWS);
    let mut store = Store::new(&engine, ());
    let instance = linker
        .instantiate(&mut store, guest.component())
        .expect("it links");
    let mut call = |name: &str| {
        let function = instance.get_typed_func::<(u32,), (u32,)>(&mut store, name)?;
        listening.guard(&mut store, |store| function.call(store, (5,)))
    };
    assert_eq!(call("catches").expect("it catches"), (5,));
    let expected = [
        "> catches(5)",
        "> m.catches[5]",
        "> m.through[5]",
        "> m.throw[5]",
        "! m.throw: exception",
        "! m.through: exception",
        "< m.catches[5]",
        "< catches(5)",
    ];
    assert_eq!(ledger.take(), expected);
    call("does-not").expect_err("nobody catches");
    let lines = ledger.take();
    let closes: Vec<_> = lines.iter().skip(4).map(|line| &line[..2]).collect();
    assert_eq!(closes, ["! "; 4], "{lines:#?}");
    assert_eq!(
        lines[4..6],
        ["! m.throw: exception", "! m.through: exception"]
    );
    assert_eq!(ledger.settled(), 8);
}
