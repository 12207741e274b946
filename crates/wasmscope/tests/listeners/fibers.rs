//! Guests on fibers: they yield, interleave, move between threads, and are given up.

use crate::balance::Balance;
use crate::heard::Heard;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use wasmscope::{Listened, Listening};
use wasmtime::{Caller, Config, Engine, Extern, Instance, Linker, Store};

/// Is ready when it is asked again.
struct Later(bool);

impl Future for Later {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Asks until it is ready.
fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = poll(future.as_mut()) {
            return output;
        }
    }
}

/// Waits at each of its levels, four times in all.
const WAITS: &str = "(module
   (import \"host\" \"wait\" (func $wait))
   (import \"host\" \"nest\" (func $nest))
   (func $leaf (call $wait))
   (func $inner (call $wait) (call $leaf) (call $wait))
   (func $run (export \"run\") (call $inner) (call $wait))
   (func $fails (export \"fails\") (call $wait) (unreachable))
   (func $fine (export \"fine\"))
   (func $outer (export \"outer\") (call $nest) (call $leaf))
   (func $spin (param i32) (result i32)
     (if (result i32) (local.get 0)
       (then (call $spin (i32.sub (local.get 0) (i32.const 1))))
       (else (i32.const 0))))
   (func $spins (export \"spins\") (drop (call $spin (i32.const 200)))))";

struct Host {
    engine: Engine,
    listening: Listening,
    listened: Listened,
    linker: Linker<()>,
}

impl Host {
    fn new(listening: Listening, config: &Config) -> Self {
        let engine = Engine::new(config).expect("it can be had");
        let bytes = wat::parse_str(WAITS).expect("the text is right");
        let listened = listening.compile(&engine, bytes).expect("it is compiled");
        let mut linker = Linker::new(&engine);
        listening.add_to_linker(&mut linker).expect("free");
        linker
            .func_wrap_async("host", "wait", |_: Caller<'_, ()>, (): ()| {
                Box::new(Later(false))
            })
            .expect("free");
        Self {
            engine,
            listening,
            listened,
            linker,
        }
    }

    /// Defines what `outer` calls, to be given the caller.
    fn nest(
        mut self,
        nest: impl for<'c> Fn(Caller<'c, ()>) -> Box<dyn Future<Output = ()> + Send + 'c>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.linker
            .func_wrap_async("host", "nest", move |caller: Caller<'_, ()>, (): ()| {
                nest(caller)
            })
            .expect("free");
        self
    }

    fn instantiate(&self) -> (Store<()>, Instance) {
        let mut linker = self.linker.clone();
        linker
            .define_unknown_imports_as_traps(self.listened.module())
            .expect("they are functions");
        let mut store = Store::new(&self.engine, ());
        let module = self.listened.module();
        let instance = wait(linker.instantiate_async(&mut store, module));
        (store, instance.expect("it is instantiated"))
    }
}

async fn call(store: &mut Store<()>, instance: Instance, name: &str) -> wasmtime::Result<()> {
    let function = instance.get_typed_func::<(), ()>(&mut *store, name)?;
    function.call_async(store, ()).await
}

/// Calls an export of the instance that called.
async fn reenter(caller: &mut Caller<'_, ()>, name: &str) -> wasmtime::Result<()> {
    let function = caller.get_export(name).and_then(Extern::into_func);
    let function = function
        .expect("it is exported")
        .typed::<(), ()>(&*caller)?;
    function.call_async(caller, ()).await
}

/// What `run` does, with a mark at each point where it waits.
const RUN: [&str; 18] = [
    "> run[]",
    "> inner[]",
    "> wait[]",
    "..",
    "< wait[]",
    "> leaf[]",
    "> wait[]",
    "..",
    "< wait[]",
    "< leaf[]",
    "> wait[]",
    "..",
    "< wait[]",
    "< inner[]",
    "> wait[]",
    "..",
    "< wait[]",
    "< run[]",
];

/// Returns what is heard up to the n-th wait, and what is open then, newest first.
fn until(waits: usize) -> (Vec<String>, Vec<String>) {
    let parts: Vec<&[&str]> = RUN.split(|line| *line == "..").take(waits).collect();
    let heard: Vec<String> = parts.concat().iter().map(|&line| line.to_owned()).collect();
    let mut open = Vec::new();
    for line in &heard {
        let name = line[2..].trim_end_matches("[]").to_owned();
        if line.starts_with('>') {
            open.push(name);
        } else {
            assert_eq!(open.pop(), Some(name));
        }
    }
    open.reverse();
    (heard, open)
}

#[test]
fn a_future_that_is_dropped_closes_what_it_left() {
    for waits in 0..=4 {
        for is_guarded in [true, false] {
            let heard = Heard::default();
            let host = Host::new(heard.listening().build(), &Config::new());
            let (mut store, instance) = host.instantiate();
            {
                let listening = host.listening.clone();
                let mut future: Pin<Box<dyn Future<Output = _>>> =
                    if is_guarded {
                        Box::pin(listening.guard_async(&mut store, async |store| {
                            call(store, instance, "run").await
                        }))
                    } else {
                        Box::pin(call(&mut store, instance, "run"))
                    };
                for _ in 0..waits {
                    assert!(poll(future.as_mut()).is_pending());
                }
            }
            let (before, open) = until(waits);
            let closed = |cause: &str| -> Vec<String> {
                open.iter()
                    .map(|name| format!("! {name}: {cause}"))
                    .collect()
            };
            if is_guarded {
                let expected = [before, closed("future dropped")].concat();
                assert_eq!(heard.take(), expected, "after {waits}");
            } else {
                assert_eq!(heard.take(), before, "after {waits}");
            }
            wait(call(&mut store, instance, "fine")).expect("it runs");
            let late = if is_guarded {
                Vec::new()
            } else {
                closed("unknown")
            };
            let fine = ["> fine[]", "< fine[]"].map(str::to_owned);
            assert_eq!(heard.take(), [&late[..], &fine].concat(), "after {waits}");
        }
    }
}

#[test]
fn a_store_that_is_dropped_with_its_future_closes_all() {
    let heard = Heard::default();
    let host = Host::new(heard.listening().build(), &Config::new());
    let (mut store, instance) = host.instantiate();
    let mut future = Box::pin(async move { call(&mut store, instance, "run").await });
    assert!(poll(future.as_mut()).is_pending());
    heard.take();
    drop(future);
    let cause = "store dropped";
    let expected = ["wait", "inner", "run"].map(|name| format!("! {name}: {cause}"));
    assert_eq!(heard.take(), expected);
}

#[test]
fn a_trap_after_a_wait_is_told_by_its_guard() {
    let heard = Heard::default();
    let host = Host::new(heard.listening().build(), &Config::new());
    let (mut store, instance) = host.instantiate();
    let guarded = host.listening.guard_async(&mut store, async |store| {
        call(store, instance, "fails").await
    });
    wait(guarded).expect_err("it traps");
    let expected = [
        "> fails[]",
        "> wait[]",
        "< wait[]",
        "! fails: trap: wasm trap: wasm `unreachable` instruction executed",
    ];
    assert_eq!(heard.take(), expected);
}

/// Where a store's guest is polled.
#[derive(Clone, Copy, Debug)]
enum Threads {
    One,
    Several,
}

#[test]
fn stores_interleave_and_move() {
    for threads in [Threads::One, Threads::Several] {
        let heard: Vec<Heard> = (0..20).map(|_| Heard::default()).collect();
        let hosts: Vec<Host> = heard
            .iter()
            .map(|heard| Host::new(heard.listening().build(), &Config::new()))
            .collect();
        // Two stores of each, of which one is ahead.
        let mut guests = Vec::new();
        for host in &hosts {
            let (mut store, instance) = host.instantiate();
            guests.push(Box::pin(async move {
                for _ in 0..3 {
                    call(&mut store, instance, "run").await.expect("it runs");
                }
            }) as Pin<Box<dyn Future<Output = ()> + Send>>);
        }
        while !guests.is_empty() {
            let one_round = |guest: &mut Pin<Box<dyn Future<Output = ()> + Send>>| {
                poll(guest.as_mut()).is_pending()
            };
            match threads {
                Threads::One => guests.retain_mut(one_round),
                Threads::Several => {
                    // Each half goes to the other of two threads, or a new one.
                    let (third, half) = (guests.len() / 3, guests.len() / 2);
                    guests.rotate_left(third);
                    let mut others = guests.split_off(half);
                    std::thread::scope(|scope| {
                        scope.spawn(|| guests.retain_mut(one_round));
                        scope.spawn(|| others.retain_mut(one_round));
                    });
                    guests.append(&mut others);
                }
            }
        }
        let once: Vec<&str> = RUN.into_iter().filter(|line| *line != "..").collect();
        for heard in heard {
            assert_eq!(heard.take(), once.repeat(3), "{threads:?}");
        }
    }
}

#[test]
fn one_module_in_many_stores_on_many_threads() {
    let heard = Balance::default();
    let host = Host::new(heard.listening().build(), &Config::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut guests: Vec<_> = (0..8)
                    .map(|_| {
                        let (mut store, instance) = host.instantiate();
                        Box::pin(async move { call(&mut store, instance, "run").await })
                    })
                    .collect();
                while !guests.is_empty() {
                    guests.retain_mut(|guest| poll(guest.as_mut()).is_pending());
                }
            });
        }
    });
    // `run`, `inner`, `leaf`, and four waits.
    assert_eq!(
        (heard.opened(), heard.open(), heard.aborted()),
        (8 * 8 * 7, 0, 0)
    );
}

#[test]
fn fuel_and_epochs_yield_anywhere() {
    for is_fuel in [true, false] {
        let mut config = Config::new();
        config.consume_fuel(is_fuel).epoch_interruption(!is_fuel);
        let heard = Balance::default();
        let host = Host::new(heard.listening().build(), &config);
        let mut guests = Vec::new();
        let mut yields = 0;
        for _ in 0..5 {
            let (mut store, instance) = host.instantiate();
            if is_fuel {
                store.set_fuel(1_000_000).expect("it has fuel");
                store
                    .fuel_async_yield_interval(Some(97))
                    .expect("it has fuel");
            } else {
                store.epoch_deadline_async_yield_and_update(1);
                store.set_epoch_deadline(1);
            }
            guests.push(Box::pin(async move {
                call(&mut store, instance, "spins").await
            }));
        }
        while !guests.is_empty() {
            guests.retain_mut(|guest| {
                host.engine.increment_epoch();
                let is_pending = poll(guest.as_mut()).is_pending();
                yields += u32::from(is_pending);
                is_pending
            });
        }
        assert!(yields >= 5, "{yields}");
        assert_eq!((heard.opened(), heard.open()), (5 * 202, 0));
    }
}

#[test]
fn guests_nest_on_fibers() {
    let heard = Heard::default();
    let host = Host::new(heard.listening().build(), &Config::new()).nest(|mut caller| {
        Box::new(async move {
            reenter(&mut caller, "run").await.expect("it runs");
            reenter(&mut caller, "fails").await.expect_err("it traps");
            reenter(&mut caller, "fine").await.expect("it runs");
            // Given up at its second wait.
            let mut given_up = Box::pin(reenter(&mut caller, "run"));
            assert!(poll(given_up.as_mut()).is_pending());
            assert!(poll(given_up.as_mut()).is_pending());
            drop(given_up);
            Later(false).await;
        })
    });
    let (mut store, instance) = host.instantiate();
    let run: Vec<&str> = RUN.into_iter().filter(|line| *line != "..").collect();
    let (given_up, open) = until(2);
    for is_guarded in [true, false] {
        if is_guarded {
            let guarded = host.listening.guard_async(&mut store, async |store| {
                call(store, instance, "outer").await
            });
            wait(guarded).expect("it runs");
        } else {
            wait(call(&mut store, instance, "outer")).expect("it runs");
        }
        let mut expected: Vec<String> = ["> outer[]", "> nest[]"].map(str::to_owned).into();
        expected.extend(run.iter().map(|&line| line.to_owned()));
        expected.extend(
            [
                "> fails[]",
                "> wait[]",
                "< wait[]",
                "! fails: unknown",
                "> fine[]",
                "< fine[]",
            ]
            .map(str::to_owned),
        );
        expected.extend(given_up.clone());
        expected.extend(open.iter().map(|name| format!("! {name}: unknown")));
        expected.extend(
            [
                "< nest[]",
                "> leaf[]",
                "> wait[]",
                "< wait[]",
                "< leaf[]",
                "< outer[]",
            ]
            .map(str::to_owned),
        );
        assert_eq!(heard.take(), expected, "{is_guarded}");
    }
}
