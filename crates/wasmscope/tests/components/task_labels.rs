//! For whom the tasks of one store work: each is lifted in another way, and says its number.

use crate::labels::{profiler, ticks};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use wasmscope::{LabelValue, Labels, TaskLabels};
use wasmtime::component::{Accessor, Component, Instance, Linker, TypedFunc};
use wasmtime::{Config, Engine, Result, Store, StoreContextMut};

const TASKS: u32 = 10;

/// A component whose functions take a task's number and how many turns it has. At each turn
/// they call `here`, spin in a function of the task's own, and let others run, in all the ways
/// there are: blocked in a call of the host, in `waitable-set.wait`, in `thread.yield`, by
/// returning from a callback. `through` calls another component's, whose task is its own.
fn text() -> String {
    let spins: String = (0..TASKS)
        .map(|task| {
            format!(
                "(func $spin{task} (local $left i32) (local.set $left (i32.const 200000))
                   (loop (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))"
            )
        })
        .collect();
    let elements: String = (0..TASKS).map(|task| format!(" $spin{task}")).collect();
    format!(
        r#"(component
  (import "turn" (func $turn async (param "task" u32)))
  (import "here" (func $here (param "task" u32)))
  (component $inner
    (import "turn" (func $turn async (param "task" u32)))
    (import "here" (func $here (param "task" u32)))
    (core module $libc (memory (export "memory") 1))
    (core instance $libc (instantiate $libc))
    (alias core export $libc "memory" (core memory $memory))
    (core func $turn-blocking (canon lower (func $turn)))
    (core func $turn-async (canon lower (func $turn) async (memory $memory)))
    (core func $here (canon lower (func $here)))
    (core func $return (canon task.return))
    (core func $new (canon waitable-set.new))
    (core func $wait (canon waitable-set.wait (memory $memory)))
    (core func $join (canon waitable.join))
    (core func $drop (canon subtask.drop))
    (core func $yield (canon thread.yield))
    (core func $get (canon context.get i32 0))
    (core func $set (canon context.set i32 0))
    (core module $m
      (import "" "turn-blocking" (func $turn-blocking (param i32)))
      (import "" "turn-async" (func $turn-async (param i32) (result i32)))
      (import "" "here" (func $here (param i32)))
      (import "" "return" (func $return))
      (import "" "new" (func $new (result i32)))
      (import "" "wait" (func $wait (param i32 i32) (result i32)))
      (import "" "join" (func $join (param i32 i32)))
      (import "" "drop" (func $drop (param i32)))
      (import "" "yield" (func $yield (result i32)))
      (import "" "get" (func $get (result i32)))
      (import "" "set" (func $set (param i32)))
      (import "" "memory" (memory 1))
      (type $spin (func))
      {spins}
      (table funcref (elem{elements}))
      (func $step (param $task i32)
        (call $here (local.get $task))
        (call_indirect (type $spin) (local.get $task))
        (call $here (local.get $task)))
      (func (export "blocking") (param $task i32) (param $turns i32)
        (loop
          (call $step (local.get $task))
          (call $turn-blocking (local.get $task))
          (br_if 0 (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
        (call $step (local.get $task)))
      ;; Begins a call of the host; returns its handle, or 0 where it is over.
      (func $begin (param $task i32) (result i32) (local $status i32)
        (local.set $status (call $turn-async (local.get $task)))
        (if (result i32) (i32.eq (local.get $status) (i32.const 2))
          (then (i32.const 0))
          (else (i32.shr_u (local.get $status) (i32.const 4)))))
      (func (export "stackful") (param $task i32) (param $turns i32)
        (local $set i32) (local $call i32)
        (local.set $set (call $new))
        (loop
          (call $step (local.get $task))
          (if (i32.and (local.get $turns) (i32.const 1))
            (then (drop (call $yield)))
            (else
              (if (local.tee $call (call $begin (local.get $task)))
                (then
                  (call $join (local.get $call) (local.get $set))
                  (drop (call $wait (local.get $set) (i32.const 1024)))
                  (call $drop (local.get $call))))))
          (br_if 0 (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
        (call $step (local.get $task))
        (call $return))
      (func $next (result i32) (local $task i32) (local $turns i32) (local $call i32)
        (local.set $task (call $get))
        (call $step (local.get $task))
        (local.set $turns (i32.load (i32.mul (local.get $task) (i32.const 16))))
        (if (i32.eqz (local.get $turns)) (then (call $return) (return (i32.const 0))))
        (i32.store (i32.mul (local.get $task) (i32.const 16))
          (i32.sub (local.get $turns) (i32.const 1)))
        (if (i32.and (local.get $turns) (i32.const 1)) (then (return (i32.const 1))))
        (if (i32.eqz (local.tee $call (call $begin (local.get $task))))
          (then (return (i32.const 1))))
        (call $join (local.get $call)
          (i32.load offset=4 (i32.mul (local.get $task) (i32.const 16))))
        (i32.or (i32.const 2) (i32.shl
          (i32.load offset=4 (i32.mul (local.get $task) (i32.const 16))) (i32.const 4))))
      (func (export "called-back") (param $task i32) (param $turns i32) (result i32)
        (i32.store (i32.mul (local.get $task) (i32.const 16)) (local.get $turns))
        (i32.store offset=4 (i32.mul (local.get $task) (i32.const 16)) (call $new))
        (call $set (local.get $task))
        (call $next))
      (func (export "callback") (param $event i32) (param $handle i32) (param i32) (result i32)
        (if (i32.eq (local.get $event) (i32.const 1)) (then (call $drop (local.get $handle))))
        (call $next)))
    (core instance $i (instantiate $m (with "" (instance
      (export "turn-blocking" (func $turn-blocking)) (export "turn-async" (func $turn-async))
      (export "here" (func $here)) (export "return" (func $return)) (export "new" (func $new))
      (export "wait" (func $wait)) (export "join" (func $join)) (export "drop" (func $drop))
      (export "yield" (func $yield)) (export "get" (func $get)) (export "set" (func $set))
      (export "memory" (memory $memory))))))
    (func (export "blocking") async (param "task" u32) (param "turns" u32)
      (canon lift (core func $i "blocking")))
    (func (export "stackful") async (param "task" u32) (param "turns" u32)
      (canon lift (core func $i "stackful") async))
    (func (export "called-back") async (param "task" u32) (param "turns" u32)
      (canon lift (core func $i "called-back") async (callback (core func $i "callback")))))
  (instance $inner (instantiate $inner
    (with "turn" (func $turn)) (with "here" (func $here))))
  (component $outer
    (import "here" (func $here (param "task" u32)))
    (import "stackful" (func $stackful async (param "task" u32) (param "turns" u32)))
    (import "called-back" (func $called-back async (param "task" u32) (param "turns" u32)))
    (core func $here (canon lower (func $here)))
    (core func $stackful (canon lower (func $stackful)))
    (core func $called-back (canon lower (func $called-back)))
    (core module $m
      (import "" "here" (func $here (param i32)))
      (import "" "stackful" (func $stackful (param i32 i32)))
      (import "" "called-back" (func $called-back (param i32 i32)))
      (func (export "through") (param $task i32) (param $turns i32)
        (call $here (local.get $task))
        (call $stackful (local.get $task) (local.get $turns))
        (call $here (local.get $task))
        (call $called-back (local.get $task) (local.get $turns))
        (call $here (local.get $task))))
    (core instance $i (instantiate $m (with "" (instance
      (export "here" (func $here)) (export "stackful" (func $stackful))
      (export "called-back" (func $called-back))))))
    (func (export "through") async (param "task" u32) (param "turns" u32)
      (canon lift (core func $i "through"))))
  (instance $outer (instantiate $outer (with "here" (func $here))
    (with "stackful" (func $inner "stackful"))
    (with "called-back" (func $inner "called-back"))))
  (export "blocking" (func $inner "blocking"))
  (export "stackful" (func $inner "stackful"))
  (export "called-back" (func $inner "called-back"))
  (export "through" (func $outer "through")))"#
    )
}

/// What each task is, and the instance it runs on: two tasks of some kinds share one.
const KINDS: [(&str, usize); TASKS as usize] = [
    ("blocking", 0),
    ("stackful", 1),
    ("called-back", 2),
    ("through", 3),
    ("stackful", 1),
    ("called-back", 2),
    ("blocking", 4),
    ("through", 5),
    ("stackful", 1),
    // Has no labels.
    ("called-back", 2),
];

const UNLABELLED: u32 = 9;

/// What a task is to have now: its number and that of the round.
fn labels(task: u32, round: u32) -> Labels {
    if task == UNLABELLED {
        base()
    } else {
        let labels = Labels::new().with("tenant", format!("{task}"));
        labels.with_number("round", round.into())
    }
}

fn base() -> Labels {
    Labels::new().with("tenant", "the loop")
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<(u32, u64, Vec<String>)>>);

impl Seen {
    fn round(&self) -> u32 {
        self.0.lock().expect("nothing panicked here").0
    }

    fn is(&self, place: &str, task: u32, expected: &Labels) {
        let current = Labels::current();
        let same = ["tenant", "round"].map(|key| current.get(key) == expected.get(key));
        let mut seen = self.0.lock().expect("nothing panicked here");
        seen.1 += 1;
        if same != [true; 2] {
            seen.2.push(format!("task {task} {place}: {current:?}"));
        }
    }
}

struct Host {
    store: Store<()>,
    functions: Vec<TypedFunc<(u32, u32), ()>>,
    tasks: TaskLabels,
    seen: Seen,
}

fn component() -> Component {
    let mut config = Config::new();
    config.wasm_component_model_async_stackful(true);
    config.wasm_component_model_more_async_builtins(true);
    config.wasm_component_model_threading(true);
    let engine = Engine::new(&config).expect("it is a configuration");
    Component::new(&engine, text()).expect("it is a component")
}

impl Host {
    async fn new(component: &Component) -> Result<Self> {
        let engine = component.engine();
        let seen = Seen::default();
        let mut linker = Linker::new(engine);
        let here = seen.clone();
        linker.root().func_wrap(
            "here",
            move |_: StoreContextMut<'_, ()>, (task,): (u32,)| {
                here.is("calls the host", task, &labels(task, here.round()));
                // A scope of the host's own is nearer; after it, it is the task again.
                let nearer = Labels::new().with("tenant", "host");
                nearer.scope(|| here.is("is not the scope", task, &nearer));
                here.is("is itself again", task, &labels(task, here.round()));
                Ok(())
            },
        )?;
        let turns = seen.clone();
        linker
            .root()
            .func_wrap_concurrent("turn", move |_: &Accessor<()>, (task,): (u32,)| {
                let turns = turns.clone();
                let of_task = labels(task, turns.round());
                // The function begins where the task calls it.
                Box::pin(async move {
                    turns.is("calls a function", task, &of_task);
                    let follow = Labels::current();
                    for _ in 0..task % 3 + 1 {
                        tokio::task::yield_now().await;
                        turns.is("waits in the loop", task, &base());
                    }
                    let followed = follow.follow(async { turns.is("is kept", task, &of_task) });
                    followed.await;
                    Ok(())
                })
            })?;
        let mut store = Store::new(engine, ());
        let tasks = TaskLabels::new();
        let hooked = tasks.clone();
        store.call_hook(move |context, kind| {
            hooked.hook(context, kind);
            Ok(())
        });
        let mut instances: Vec<Instance> = Vec::new();
        let mut functions = Vec::new();
        for (name, instance) in KINDS {
            while instances.len() <= instance {
                instances.push(linker.instantiate_async(&mut store, component).await?);
            }
            functions.push(instances[instance].get_typed_func(&mut store, name)?);
        }
        Ok(Self {
            store,
            functions,
            tasks,
            seen,
        })
    }

    /// Runs all tasks at the same time.
    async fn run(&mut self, round: u32, turns: u32) -> Result<()> {
        self.seen.0.lock().expect("nothing panicked here").0 = round;
        let (tasks, functions) = (&self.tasks, &self.functions);
        let all = self.store.run_concurrent(async |accessor| {
            let mut running = Vec::new();
            for (task, function) in (0..).zip(functions) {
                running.push(Box::pin(async move {
                    let call = accessor.with(|store| {
                        function.start_call_concurrent(store, (task, turns + task % 3))
                    })?;
                    let _labelled =
                        (task != UNLABELLED).then(|| tasks.set(call.task(), labels(task, round)));
                    function.finish_call_concurrent(accessor, call).await
                }));
            }
            crate::tasks::join(running).await
        });
        let all = base().follow(tasks.follow(all)).await?;
        all.into_iter().collect()
    }
}

fn check(seen: &Seen, rounds: u64) {
    let seen = seen.0.lock().expect("nothing panicked here");
    assert!(seen.1 > rounds * u64::from(TASKS) * 10, "{}", seen.1);
    assert!(seen.2.is_empty(), "{:#?}", seen.2);
}

#[tokio::test(flavor = "current_thread")]
async fn each_task_of_a_store_has_its_own_labels() {
    const ROUNDS: u32 = 8;
    let component = component();
    let (profiler, kept) = profiler(&[("tasks", &component)]);
    let mut host = Host::new(&component).await.expect("it links");
    for round in 0..ROUNDS {
        host.run(round, 40).await.expect("all return");
        assert_eq!(format!("{:?}", host.tasks), "{}", "none has labels now");
    }
    assert_eq!(Labels::current(), Labels::new());
    drop(kept);
    check(&host.seen, ROUNDS.into());
    let ticks = ticks(&profiler.take_profile());
    for task in 0..TASKS {
        let spin = format!("spin{task}");
        let expected = match labels(task, 0).get("tenant") {
            Some(LabelValue::Text(tenant)) => tenant.clone(),
            other => panic!("{other:?}"),
        };
        let of_task = ticks.iter().filter(|((name, _), _)| *name == spin);
        for ((_, tenant), ticks) in of_task {
            assert_eq!(tenant.as_ref(), Some(&expected), "{ticks} of {spin}");
        }
        let of_task = ticks.get(&(spin, Some(expected)));
        assert!(of_task.is_some_and(|ticks| *ticks > 4), "{of_task:?}");
    }
}

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Polls once; returns what is not over.
fn poll(mut running: Running) -> Option<Running> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let polled = running.as_mut().poll(&mut context);
    assert_eq!(Labels::current(), Labels::new(), "nothing is left behind");
    polled.is_pending().then_some(running)
}

#[test]
fn tasks_keep_their_labels_from_thread_to_thread() {
    const ROUNDS: u32 = 4;
    let component = component();
    let (profiler, kept) = profiler(&[("tasks", &component)]);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime");
    let mut host = runtime.block_on(Host::new(&component)).expect("it links");
    let seen = host.seen.clone();
    let mut left: Option<Running> = Some(Box::pin(async move {
        for round in 0..ROUNDS {
            host.run(round, 20).await.expect("all return");
        }
    }));
    std::thread::scope(|scope| {
        let (there, to_poll) = std::sync::mpsc::channel();
        let (back, polled) = std::sync::mpsc::channel();
        let profiler = &profiler;
        scope.spawn(move || {
            let thread = profiler.attach_thread().expect("it is sampled");
            while let Ok(running) = to_poll.recv() {
                back.send(poll(running)).expect("the other one waits");
            }
            drop(thread);
        });
        while let Some(running) = left.take() {
            let Some(running) = poll(running) else { break };
            there.send(running).expect("the other one waits");
            left = polled.recv().expect("it was polled");
        }
    });
    drop(kept);
    check(&seen, ROUNDS.into());
    let ticks = ticks(&profiler.take_profile());
    assert!(!ticks.is_empty());
    for ((function, tenant), ticks) in ticks {
        let Some(task) = function.strip_prefix("spin") else {
            continue;
        };
        let expected = labels(task.parse().expect("a number"), 0);
        let tenant = tenant.map(LabelValue::Text);
        assert_eq!(tenant.as_ref(), expected.get("tenant"), "{ticks} of {task}");
    }
}

/// A call without a loop, on the thread's own stack, that learns for whom it works.
#[test]
fn a_task_that_is_labelled_on_its_way_is_until_it_returns() {
    let engine = Engine::default();
    let text = r#"(component
      (import "learn" (func $learn))
      (import "here" (func $here (param "labelled" bool)))
      (core func $learn (canon lower (func $learn)))
      (core func $here (canon lower (func $here)))
      (core module $m
        (import "" "learn" (func $learn))
        (import "" "here" (func $here (param i32)))
        (func (export "run")
          (call $here (i32.const 0)) (call $learn) (call $here (i32.const 1))))
      (core instance $i (instantiate $m (with "" (instance
        (export "learn" (func $learn)) (export "here" (func $here))))))
      (func (export "run") (canon lift (core func $i "run"))))"#;
    let component = Component::new(&engine, text).expect("it is a component");
    let (_profiler, _kept) = profiler(&[("learns", &component)]);
    let tasks = TaskLabels::new();
    let tenant = Labels::new().with("tenant", "learned");
    let kept = Arc::new(Mutex::new(Vec::new()));
    let mut linker = Linker::new(&engine);
    let (learns, labels, keeps) = (tasks.clone(), tenant.clone(), kept.clone());
    let learn = move |mut store: StoreContextMut<'_, ()>, (): ()| {
        let task = store.async_call_stack()?.next().expect("a task called");
        let labelled = learns.set(task, labels.clone());
        assert_eq!(learns.get(task), Some(labels.clone()));
        keeps.lock().expect("nothing panicked here").push(labelled);
        Ok(())
    };
    linker.root().func_wrap("learn", learn).expect("free");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    let labels = tenant.clone();
    let here = move |_: StoreContextMut<'_, ()>, (labelled,): (bool,)| {
        let expected = if labelled { labels.clone() } else { base() };
        let mut hears = hears.lock().expect("nothing panicked here");
        hears.push((Labels::current(), expected));
        Ok(())
    };
    linker.root().func_wrap("here", here).expect("free");
    let mut store = Store::new(&engine, ());
    let hooked = tasks.clone();
    store.call_hook(move |context, kind| {
        hooked.hook(context, kind);
        Ok(())
    });
    let instance = linker.instantiate(&mut store, &component);
    let instance = instance.expect("it links");
    let run = instance.get_typed_func::<(), ()>(&mut store, "run");
    let run = run.expect("it is there");
    for _ in 0..3 {
        base().scope(|| {
            tasks.scope(|| run.call(&mut store, ()).expect("it returns"));
            assert_eq!(Labels::current(), base());
            kept.lock().expect("nothing panicked here").clear();
            run.call(&mut store, ()).expect("in any scope");
            assert_eq!(Labels::current(), base(), "after the call, in its scope");
            kept.lock().expect("nothing panicked here").clear();
        });
        assert_eq!(Labels::current(), Labels::new());
    }
    let heard = heard.lock().expect("nothing panicked here");
    for (at, (current, expected)) in heard.iter().enumerate() {
        assert_eq!(current, expected, "{at}");
    }
    assert_eq!(heard.len(), 12);
}
