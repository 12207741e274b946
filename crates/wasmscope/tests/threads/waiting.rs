//! The stacks of tasks that wait are what those tasks say of themselves.

use crate::patience::Patience;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use wasmscope::{Fiber, FiberState, Fibers, FrameKind, Guest, WalkedGuest, Walker};
use wasmtime::{Caller, Config, Engine, InstancePre, Linker, Module, Store};

/// Levels of calls below `run`, each by one digit of a number.
const LEVELS: usize = 4;
const DIGITS: u32 = 6;

/// A guest whose stack says which number it was called with: at each level one of six
/// functions is called, by a digit, and the last calls one by the sum of all. A stack that is
/// mixed of two has, but for one in 21, the wrong sum.
fn wat() -> String {
    let mut text = String::from(
        "(module (import \"host\" \"wait\" (func $wait (param i32)))
         (table 200 funcref) (type $f (func (param i32 i32 i32)))\n",
    );
    let slot = |level: usize, digit: u32| level as u32 * 30 + digit;
    let mut elements = String::new();
    for level in 0..=LEVELS {
        let most = if level == LEVELS {
            LEVELS as u32 * (DIGITS - 1) + 1
        } else {
            DIGITS
        };
        for digit in 0..most {
            let name = if level == LEVELS {
                format!("sum{digit}")
            } else {
                format!("l{level}d{digit}")
            };
            elements += &format!("(elem (i32.const {}) ${name})\n", slot(level, digit));
            let body = if level == LEVELS {
                "(call $wait (local.get 0))".to_owned()
            } else {
                // Of its own frame size, so that stacks differ in where their frames lie.
                let calls = if level + 1 == LEVELS {
                    format!(
                        "(i32.add (i32.const {}) (i32.add (local.get 2) (i32.const {digit})))",
                        slot(LEVELS, 0)
                    )
                } else {
                    format!(
                        "(i32.add (i32.const {}) (i32.rem_u (local.get 1) (i32.const {DIGITS})))",
                        slot(level + 1, 0)
                    )
                };
                format!(
                    "(call_indirect (type $f) (local.get 0) (i32.div_u (local.get 1) (i32.const {DIGITS}))
                       (i32.add (local.get 2) (i32.const {digit})) {calls})"
                )
            };
            text += &format!("(func ${name} (type $f) {body})\n");
        }
    }
    text + &elements
        + &format!(
            "(func $run (export \"run\") (param i32 i32)
               (call_indirect (type $f) (local.get 0) (i32.div_u (local.get 1) (i32.const {DIGITS}))
                 (i32.const 0) (i32.rem_u (local.get 1) (i32.const {DIGITS})))))"
        )
}

/// The functions that are on the stack of a call with `number`, newest first.
fn path(number: u32) -> Vec<String> {
    let mut path = vec!["run".to_owned()];
    let (mut rest, mut sum) = (number, 0);
    for level in 0..LEVELS {
        path.push(format!("l{level}d{}", rest % DIGITS));
        sum += rest % DIGITS;
        rest /= DIGITS;
    }
    path.push(format!("sum{sum}"));
    path.reverse();
    path
}

/// Where tasks wait, and what they say of themselves.
struct Host {
    gate: Semaphore,
    /// The number that each task that waits was called with.
    waiting: Mutex<BTreeMap<u32, u32>>,
    /// Each task's number, shifted up by one; with the lowest bit set while it waits.
    says: Vec<AtomicU64>,
    yields: AtomicBool,
}

struct Setting {
    walker: Walker,
    fibers: Fibers,
    engine: Engine,
    pre: InstancePre<u32>,
    host: Arc<Host>,
    _guest: WalkedGuest,
}

fn setting(tasks: usize) -> Setting {
    let walker = Walker::new().unwrap();
    let fibers = Fibers::new(&walker).unwrap();
    let mut config = Config::new();
    config
        .with_host_stack(fibers.stack_creator())
        .async_stack_size(256 << 10)
        .max_wasm_stack(64 << 10);
    let engine = Engine::new(&config).unwrap();
    let bytes = wat::parse_str(wat()).unwrap();
    let module = Module::new(&engine, &bytes).unwrap();
    let guest = walker.register(Guest::module("digits", &module).bytes(bytes));
    let host = Arc::new(Host {
        gate: Semaphore::new(0),
        waiting: Mutex::default(),
        says: (0..tasks).map(|_| AtomicU64::new(0)).collect(),
        yields: AtomicBool::new(false),
    });
    let mut linker = Linker::new(&engine);
    let shared = host.clone();
    linker
        .func_wrap_async(
            "host",
            "wait",
            move |caller: Caller<'_, u32>, (number,): (i32,)| {
                let (task, host) = (*caller.data(), shared.clone());
                Box::new(async move {
                    let number = number as u32;
                    if host.yields.load(Ordering::Relaxed) {
                        let says = &host.says[task as usize];
                        says.store(u64::from(number) << 1 | 1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        says.store(0, Ordering::SeqCst);
                    } else {
                        host.waiting.lock().unwrap().insert(task, number);
                        host.gate.acquire().await.unwrap().forget();
                        host.waiting.lock().unwrap().remove(&task);
                    }
                })
            },
        )
        .unwrap();
    Setting {
        pre: linker.instantiate_pre(&module).unwrap(),
        walker,
        fibers,
        engine,
        host,
        _guest: guest.unwrap(),
    }
}

impl Setting {
    /// Calls the guest with a number, as a task.
    async fn call(engine: Engine, pre: InstancePre<u32>, task: u32, numbers: Vec<u32>) {
        let mut store = Store::new(&engine, task);
        let instance = pre.instantiate_async(&mut store).await.unwrap();
        let run = instance
            .get_typed_func::<(i32, i32), ()>(&mut store, "run")
            .unwrap();
        for number in numbers {
            run.call_async(&mut store, (number as i32, number as i32))
                .await
                .unwrap();
        }
    }

    /// The functions of the guest on a fiber's stack; checks that it waits for the host.
    fn functions(&self, fiber: &Fiber) -> Vec<String> {
        let backtrace = fiber.backtrace();
        assert!(backtrace.end().is_whole(), "{:?}", backtrace.end());
        let frames = self.walker.name(backtrace);
        assert_eq!(&*frames[0].name, "host::wait");
        frames
            .iter()
            .filter(|frame| frame.kind == FrameKind::Guest)
            .map(|frame| frame.name.to_string())
            .collect()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .unwrap()
}

fn number(seed: u32) -> u32 {
    seed.wrapping_mul(0x9e37_79b1) % DIGITS.pow(LEVELS as u32)
}

fn eventually(mut is_so: impl FnMut() -> bool) {
    let patience = Patience::for_what("as many tasks as there are to be");
    while !is_so() {
        patience.check();
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn three_thousand_tasks_that_wait_are_all_listed() {
    const TASKS: u32 = 3000;
    let setting = setting(TASKS as usize);
    let runtime = runtime();
    let calls: Vec<_> = (0..TASKS)
        .map(|task| {
            let (engine, pre) = (setting.engine.clone(), setting.pre.clone());
            runtime.spawn(Setting::call(engine, pre, task, vec![number(task)]))
        })
        .collect();
    let all_suspended = || {
        let listed = setting.fibers.list();
        listed.len() == TASKS as usize
            && listed
                .iter()
                .all(|fiber| fiber.state() == FiberState::Suspended)
    };
    eventually(|| setting.host.waiting.lock().unwrap().len() == TASKS as usize);
    // The last few have said so, and are yet to switch.
    eventually(all_suspended);

    let record = setting.host.waiting.lock().unwrap().clone();
    let mut expected: Vec<_> = record.values().map(|number| path(*number)).collect();
    let mut found: Vec<_> = setting
        .fibers
        .list()
        .iter()
        .map(|fiber| {
            assert_eq!(fiber.state(), FiberState::Suspended);
            assert_eq!(fiber.resumes(), 1);
            assert!(fiber.thread().is_some(), "a worker");
            setting.functions(fiber)
        })
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);

    // Some go on: they are not listed any more.
    setting.host.gate.add_permits(1000);
    eventually(|| calls.iter().filter(|call| call.is_finished()).count() == 1000);
    let record = setting.host.waiting.lock().unwrap().clone();
    let mut expected: Vec<_> = record.values().map(|number| path(*number)).collect();
    let mut found: Vec<_> = setting
        .fibers
        .list()
        .iter()
        .map(|fiber| setting.functions(fiber))
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found.len(), 2000);
    assert_eq!(found, expected);

    // A call that is dropped ends its fiber.
    calls.iter().for_each(|call| call.abort());
    eventually(|| setting.fibers.list().is_empty());
}

#[test]
fn tasks_that_are_resumed_all_the_while_have_true_stacks_or_none() {
    const TASKS: u32 = 200;
    let setting = setting(TASKS as usize);
    setting.host.yields.store(true, Ordering::Relaxed);
    let runtime = runtime();
    let stop = Arc::new(AtomicBool::new(false));
    let calls: Vec<_> = (0..TASKS)
        .map(|task| {
            let (engine, pre) = (setting.engine.clone(), setting.pre.clone());
            let stop = stop.clone();
            runtime.spawn(async move {
                let mut seed = task;
                while !stop.load(Ordering::Relaxed) {
                    let numbers = (0..50).map(|turn| number(seed.wrapping_add(turn * 977)));
                    Setting::call(engine.clone(), pre.clone(), task, numbers.collect()).await;
                    seed = seed.wrapping_mul(31).wrapping_add(7);
                }
            })
        })
        .collect();
    let valid: std::collections::HashSet<_> = (0..DIGITS.pow(LEVELS as u32)).map(path).collect();
    let (mut suspended, mut running, mut said) = (0u64, 0u64, 0u64);
    let patience = Patience::for_what("stacks of tasks that wait");
    while suspended < 20_000 || said < 100 || running >= suspended {
        patience.check();
        let before: Vec<_> = setting
            .host
            .says
            .iter()
            .map(|says| says.load(Ordering::SeqCst))
            .collect();
        let listed = setting.fibers.list();
        let after: Vec<_> = setting
            .host
            .says
            .iter()
            .map(|says| says.load(Ordering::SeqCst))
            .collect();
        let mut found = Vec::new();
        for fiber in &listed {
            match fiber.state() {
                FiberState::Suspended => {
                    suspended += 1;
                    let functions = setting.functions(fiber);
                    assert!(valid.contains(&functions), "mixed: {functions:?}");
                    found.push(functions);
                }
                FiberState::Running => running += 1,
                _ => {}
            }
        }
        // What a task said before and after is found, unless it has said something else
        // between.
        for (before, after) in before.iter().zip(&after) {
            if before == after && *before != 0 {
                said += u64::from(found.contains(&path((*before >> 1) as u32)));
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    for call in calls {
        runtime.block_on(call).unwrap();
    }
}

#[test]
fn stacks_are_used_again_and_forgotten() {
    let setting = setting(1);
    let runtime = runtime();
    setting.host.gate.add_permits(20);
    runtime.block_on(async {
        let mut store = Store::new(&setting.engine, 0);
        let instance = setting.pre.instantiate_async(&mut store).await.unwrap();
        let run = instance
            .get_typed_func::<(i32, i32), ()>(&mut store, "run")
            .unwrap();
        for turn in 1..=20 {
            run.call_async(&mut store, (turn, turn)).await.unwrap();
            let listed = setting.fibers.list();
            assert_eq!(listed.len(), 1);
            assert_eq!(listed[0].state(), FiberState::Idle);
            assert!(listed[0].backtrace().is_empty());
        }
    });
    assert!(setting.fibers.list().is_empty(), "the store is gone");
}
