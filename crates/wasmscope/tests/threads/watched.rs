//! The watchdog tells where calls are that take too long, and of no others.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use wasmscope::{Fibers, Guest, WalkedGuest, Walker, Watchdog};
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

type Told = (String, Option<u32>, Vec<Vec<String>>, String);

struct Setting {
    engine: Engine,
    module: Module,
    walker: Walker,
    fibers: Fibers,
    over: Arc<tokio::sync::Semaphore>,
    _guest: WalkedGuest,
}

fn setting() -> Setting {
    let walker = Walker::new().unwrap();
    let fibers = Fibers::new(&walker);
    let mut config = Config::new();
    config.with_host_stack(fibers.stack_creator());
    let engine = Engine::new(&config).unwrap();
    let bytes = wat::parse_str(TEXT).unwrap();
    let module = Module::new(&engine, &bytes).unwrap();
    let guest = Guest::module("watched", &module).bytes(bytes);
    Setting {
        _guest: walker.register(guest).unwrap(),
        over: Arc::new(tokio::sync::Semaphore::new(0)),
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
        let over = self.over.clone();
        linker
            .func_wrap("host", "is_over", move || {
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
            assert!(overrun.error().is_none(), "{:?}", overrun.error());
            let names = overrun.frames().into_iter().map(|frames| {
                let names = frames.iter().map(|frame| frame.name.to_string());
                names.collect()
            });
            tell.send((
                overrun.name().to_owned(),
                overrun.thread().map(wasmscope::OsThread::tid),
                names.collect(),
                overrun.to_string(),
            ))
            .unwrap();
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

#[test]
fn a_call_that_spins_is_told_of_once() {
    let setting = setting();
    let (watchdog, told) = setting.watchdog(Duration::from_millis(50));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = runtime();
            let (mut store, spin) = runtime.block_on(setting.call("spin"));
            let call = spin.call_async(&mut store, ());
            watchdog.watch("the spinning one", || runtime.block_on(call).unwrap());
        });
        let (name, thread, stacks, text) = told.recv_timeout(Duration::from_secs(60)).unwrap();
        setting.over.add_permits(1);
        assert_eq!(name, "the spinning one");
        assert!(thread.is_some());
        assert_eq!(stacks.len(), 1);
        let from_spin = stacks[0].iter().skip_while(|name| *name != "spin");
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
    });
    drop(watchdog);
    assert!(told.try_recv().is_err(), "once");
}

#[test]
fn tasks_that_wait_are_told_of_with_their_stacks_and_others_are_not() {
    let setting = Arc::new(setting());
    let (watchdog, told) = setting.watchdog(Duration::from_secs(2));
    let watchdog = Arc::new(watchdog);
    let runtime = runtime();
    let task = |name: String, export: &'static str| {
        let (setting, watchdog) = (setting.clone(), watchdog.clone());
        runtime.spawn(async move {
            let (mut store, func) = setting.call(export).await;
            let call = func.call_async(&mut store, ());
            watchdog.watch_future(name, call).await.unwrap();
        })
    };
    let waiting: Vec<_> = (0..20)
        .map(|turn| task(format!("waits {turn}"), "waits"))
        .collect();
    for turn in 0..20 {
        runtime
            .block_on(task(format!("quick {turn}"), "quick"))
            .unwrap();
    }
    let seen = Mutex::new(std::collections::BTreeSet::new());
    for _ in 0..20 {
        let (name, thread, stacks, text) = told.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(thread, None, "{text}");
        assert_eq!(stacks, [["host::wait", "waits"]], "{text}");
        assert!(name.starts_with("waits "));
        assert!(seen.lock().unwrap().insert(name), "once each");
    }
    setting.over.add_permits(20);
    for call in waiting {
        runtime.block_on(call).unwrap();
    }
    drop(watchdog);
    assert!(told.try_recv().is_err(), "nothing more");
}

#[test]
fn a_task_that_spins_is_told_of_by_its_thread() {
    let setting = setting();
    let (watchdog, told) = setting.watchdog(Duration::from_millis(50));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            runtime().block_on(async {
                let (mut store, spin) = setting.call("spin").await;
                let call = spin.call_async(&mut store, ());
                watchdog.watch_future("a task", call).await.unwrap();
            });
        });
        let (name, thread, stacks, text) = told.recv_timeout(Duration::from_secs(60)).unwrap();
        setting.over.add_permits(1);
        assert_eq!(name, "a task");
        assert!(thread.is_some(), "{text}");
        assert!(stacks[0].iter().any(|name| name == "spin"), "{text}");
    });
}
