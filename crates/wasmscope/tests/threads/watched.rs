//! The watchdog tells where calls are that take too long, and of no others.

use crate::patience::{LONG, Patience};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use wasmscope::{FiberState, Fibers, Guest, WalkedGuest, Walker, Watchdog};
use wasmtime::{Config, Engine, Linker, Module, Store, TypedFunc};

const TEXT: &str = "(module
  (import \"host\" \"wait\" (func $wait))
  (import \"host\" \"is_over\" (func $is_over (result i32)))
  (func $deep (param i32)
    (if (local.get 0)
      (then (call $deep (i32.sub (local.get 0) (i32.const 1))))
      (else (call $spin))))
  (func $spin (loop (br_if 0 (i32.eqz (call $is_over)))))
  (func (export \"spin\") (call $deep (i32.const 3)))
  (func $waits (export \"waits\") (call $wait))
  (func (export \"quick\")))";

/// What a watchdog told.
struct Told {
    name: String,
    thread: Option<u32>,
    stacks: Vec<Vec<String>>,
    error: Option<String>,
    text: String,
}

struct Setting {
    engine: Engine,
    module: Module,
    walker: Walker,
    fibers: Fibers,
    over: Arc<tokio::sync::Semaphore>,
    /// When the guest that spins came to its loop.
    spins_since: Arc<Mutex<Option<Instant>>>,
    _guest: WalkedGuest,
}

fn setting() -> Setting {
    let walker = Walker::new().unwrap();
    let fibers = Fibers::new(&walker).unwrap();
    let mut config = Config::new();
    config.with_host_stack(fibers.stack_creator());
    let engine = Engine::new(&config).unwrap();
    let bytes = wat::parse_str(TEXT).unwrap();
    let module = Module::new(&engine, &bytes).unwrap();
    let guest = Guest::module("watched", &module).bytes(bytes);
    Setting {
        _guest: walker.register(guest).unwrap(),
        over: Arc::new(tokio::sync::Semaphore::new(0)),
        spins_since: Arc::default(),
        engine,
        module,
        walker,
        fibers,
    }
}

impl Setting {
    async fn call(&self, export: &str) -> (Store<()>, TypedFunc<(), ()>) {
        let mut linker = Linker::new(&self.engine);
        let over = self.over.clone();
        linker
            .func_wrap_async("host", "wait", move |_, ()| {
                let over = over.clone();
                Box::new(async move { over.acquire().await.unwrap().forget() })
            })
            .unwrap();
        let (over, spins_since) = (self.over.clone(), self.spins_since.clone());
        linker
            .func_wrap("host", "is_over", move || {
                spins_since.lock().unwrap().get_or_insert_with(Instant::now);
                i32::from(over.try_acquire().map(|permit| permit.forget()).is_ok())
            })
            .unwrap();
        let mut store = Store::new(&self.engine, ());
        let instance = linker
            .instantiate_async(&mut store, &self.module)
            .await
            .unwrap();
        let func = instance.get_typed_func(&mut store, export).unwrap();
        (store, func)
    }

    fn watchdog(&self, limit: Duration) -> (Watchdog, mpsc::Receiver<Told>) {
        let (tell, told) = mpsc::channel();
        let watchdog = Watchdog::with(&self.walker, limit, Some(&self.fibers), move |overrun| {
            assert!(overrun.elapsed() >= limit);
            let names = overrun.frames().into_iter().map(|frames| {
                let names = frames.iter().map(|frame| frame.name.to_string());
                names.collect()
            });
            let told = Told {
                name: overrun.name().to_owned(),
                thread: overrun.thread().map(wasmscope::OsThread::tid),
                stacks: names.collect(),
                error: overrun.error().map(ToString::to_string),
                text: overrun.to_string(),
            };
            tell.send(told).unwrap();
        });
        (watchdog.unwrap(), told)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap()
}

/// Spins in a call that `watch` has watched, until it was told of while it did; returns what
/// was told.
fn told_while_it_spins(setting: &Setting, watch: impl Fn(&Watchdog) + Sync) -> Told {
    let limit = Duration::from_millis(50);
    let patience = Patience::for_what("a guest that spins before its time is over, and answers");
    loop {
        patience.check();
        let (watchdog, told) = setting.watchdog(limit);
        let begin = Instant::now();
        let one = std::thread::scope(|scope| {
            scope.spawn(|| watch(&watchdog));
            let one = told.recv_timeout(LONG);
            setting.over.add_permits(1);
            one.unwrap()
        });
        drop(watchdog);
        assert!(told.try_recv().is_err(), "once");
        // On a busy machine it may not have come so far, or not have answered in time.
        let since = setting.spins_since.lock().unwrap().take();
        if since.unwrap() < begin + limit && one.error.is_none() {
            return one;
        }
    }
}

#[test]
fn a_call_that_spins_is_told_of_once() {
    let setting = setting();
    let told = told_while_it_spins(&setting, |watchdog| {
        let runtime = runtime();
        let (mut store, spin) = runtime.block_on(setting.call("spin"));
        let call = spin.call_async(&mut store, ());
        watchdog.watch("the spinning one", || runtime.block_on(call).unwrap());
    });
    let text = told.text;
    assert_eq!(told.name, "the spinning one");
    assert!(told.thread.is_some());
    assert_eq!(told.stacks.len(), 1);
    let from_spin = told.stacks[0].iter().skip_while(|name| *name != "spin");
    let names: Vec<_> = from_spin.map(String::as_str).collect();
    assert_eq!(
        names[..5],
        ["spin", "deep", "deep", "deep", "deep"],
        "{text}"
    );
    assert!(
        text.starts_with("wasmscope: the spinning one has taken "),
        "{text}"
    );
    assert!(text.contains("    watched!deep ("), "{text}");
}

#[test]
fn a_task_that_spins_is_told_of_by_its_thread() {
    let setting = setting();
    let told = told_while_it_spins(&setting, |watchdog| {
        runtime().block_on(async {
            let (mut store, spin) = setting.call("spin").await;
            let call = spin.call_async(&mut store, ());
            watchdog.watch_future("a task", call).await.unwrap();
        });
    });
    assert_eq!(told.name, "a task");
    assert!(told.thread.is_some(), "{}", told.text);
    let is_spin = |name: &String| name == "spin";
    assert!(told.stacks[0].iter().any(is_spin), "{}", told.text);
}

/// Has 20 tasks wait for longer than the limit, and 20 calls that do not. Returns whether the
/// machine let it: the tasks came to wait, and the calls to their end, before the limit.
fn tells_of_those_that_wait(setting: &Arc<Setting>) -> bool {
    let limit = Duration::from_secs(2);
    let (watchdog, told) = setting.watchdog(limit);
    let watchdog = Arc::new(watchdog);
    let runtime = runtime();
    let task = |name: String, export: &'static str| {
        let (setting, watchdog) = (setting.clone(), watchdog.clone());
        runtime.spawn(async move {
            let (mut store, func) = setting.call(export).await;
            let call = func.call_async(&mut store, ());
            let begin = Instant::now();
            watchdog.watch_future(name, call).await.unwrap();
            begin.elapsed()
        })
    };
    let begin = Instant::now();
    let waiting: Vec<_> = (0..20)
        .map(|turn| task(format!("waits {turn}"), "waits"))
        .collect();
    let patience = Patience::for_what("20 tasks that wait");
    let is_suspended = |fiber: &wasmscope::Fiber| fiber.state() == FiberState::Suspended;
    while setting
        .fibers
        .list()
        .iter()
        .filter(|f| is_suspended(f))
        .count()
        < 20
    {
        patience.check();
        std::thread::yield_now();
    }
    let mut is_calm = begin.elapsed() < limit;
    for turn in 0..20 {
        let quick = task(format!("quick {turn}"), "quick");
        is_calm &= runtime.block_on(quick).unwrap() < limit;
    }
    let mut seen = std::collections::BTreeSet::<String>::new();
    while seen.iter().filter(|name| is_of_waiting(name)).count() < 20 {
        let told = told.recv_timeout(LONG).unwrap();
        if is_calm {
            let text = told.text;
            assert_eq!(told.thread, None, "{text}");
            assert_eq!(told.error, None, "{text}");
            assert_eq!(told.stacks, [["host::wait", "waits"]], "{text}");
            assert!(is_of_waiting(&told.name), "{text}");
        }
        assert!(seen.insert(told.name), "once each");
    }
    setting.over.add_permits(20);
    for call in waiting {
        runtime.block_on(call).unwrap();
    }
    drop(watchdog);
    assert!(told.try_recv().is_err() || !is_calm, "nothing more");
    is_calm
}

fn is_of_waiting(name: &str) -> bool {
    name.starts_with("waits ")
}

#[test]
fn tasks_that_wait_are_told_of_with_their_stacks_and_others_are_not() {
    let setting = Arc::new(setting());
    let patience = Patience::for_what("a machine calm enough for 20 quick calls");
    while !tells_of_those_that_wait(&setting) {
        patience.check();
    }
}
