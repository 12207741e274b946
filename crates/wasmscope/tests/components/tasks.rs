//! Tasks that take turns on fibers of one store.

use crate::compiled::compiled;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use wasmscope::listen::{BoxListener, Call, Cause, Definition, Listener, TaskId, Value, Values};
use wasmscope::{LabelValue, Labels, Listening, TaskLabels};
use wasmtime::component::{Accessor, Instance, Linker};
use wasmtime::{Config, Engine, Result, Store};

pub(crate) const TEXT: &str = r#"(component
  (import "pause" (func $pause async (param "task" u32) (param "left" u32)))
  (core func $pause (canon lower (func $pause)))
  (core module $m
    (import "$root" "pause" (func $pause (param i32 i32)))
    (func $step (param $task i32) (param $left i32) (result i32)
      (call $pause (local.get $task) (local.get $left))
      (if (i32.eq (local.get $left) (i32.const 1000)) (then unreachable))
      (if (result i32) (local.get $left)
        (then (i32.add (i32.const 1)
          (call $step (local.get $task) (i32.sub (local.get $left) (i32.const 1)))))
        (else (i32.const 0))))
    (func (export "run") (param i32 i32) (result i32) (call $step (local.get 0) (local.get 1))))
  (core instance $i (instantiate $m (with "$root" (instance (export "pause" (func $pause))))))
  (func (export "run") async (param "task" u32) (param "left" u32) (result u32)
    (canon lift (core func $i "run"))))"#;

/// Hears calls that all begin with their task's number, and keeps what is open by task.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    open: HashMap<u32, Vec<u64>>,
    opens: u64,
    closes: u64,
    causes: Vec<String>,
    /// How often the newest event was another task's than the one before.
    turns: u64,
    last: u32,
    /// What the engine calls each task that it was asked about.
    names: HashMap<u32, TaskId>,
    /// How many events had labels.
    labelled: u64,
}

impl Tasks {
    fn close(&self, call: &Call<'_>, (task, number): (u32, u64), cause: Option<&Cause<'_>>) {
        let mut heard = self.0.lock().expect("nothing panicked here");
        if cause.is_some() {
            assert_eq!(call.task(), None, "{call:?} does not tell it itself");
        } else {
            heard.is_of(call, task);
        }
        let open = heard.open.get_mut(&task).expect("the task has calls");
        assert_eq!(open.pop(), Some(number), "the innermost of its task");
        heard.closes += 1;
        heard.causes.extend(cause.map(ToString::to_string));
    }

    fn listening(&self) -> Listening {
        let listener = BoxListener::new(self.clone());
        Listening::new(move |_: &Definition| Some(listener.clone()))
    }
}

impl Heard {
    fn name(&mut self, task: u32, name: TaskId) {
        assert!(!self.names.values().any(|other| *other == name));
        self.names.insert(task, name);
    }

    fn is_of(&mut self, call: &Call<'_>, task: u32) {
        let name = call.task().expect("it is in a task");
        let expected = *self.names.entry(task).or_insert(name);
        assert_eq!(name, expected, "{call:?}");
        let labels = Labels::current();
        if labels != Labels::new() {
            let number = LabelValue::Number(task.into());
            assert_eq!(labels.get("task"), Some(&number), "{call:?}");
            self.labelled += 1;
        }
    }
}

impl Listener for Tasks {
    type State = (u32, u64);

    fn before(&self, call: &Call<'_>) -> (u32, u64) {
        let Some(Value::I32(task)) = call.params().get(0) else {
            panic!("{call:?} does not begin with its task");
        };
        let task = task as u32;
        let mut heard = self.0.lock().expect("nothing panicked here");
        let number = heard.opens;
        heard.opens += 1;
        heard.is_of(call, task);
        heard.turns += u64::from(heard.last != task);
        heard.last = task;
        // Those around it are the task's own, by the test's record.
        let open = heard.open.entry(task).or_default();
        let around = call.parents().map(|parent| {
            *parent
                .state::<(u32, u64)>()
                .expect("everything is heard here")
        });
        let expected = open.iter().rev().map(|number| (task, *number));
        assert!(around.eq(expected), "{call:?}");
        // Each has a frame but the wrapper around what is lifted, unless it is the newest.
        assert_eq!(call.stack().len(), open.len().max(1), "{:?}", call.stack());
        open.push(number);
        (task, number)
    }

    fn after(&self, call: &Call<'_>, _: Values<'_>, state: (u32, u64)) {
        self.close(call, state, None);
    }

    fn abort(&self, call: &Call<'_>, cause: &Cause<'_>, state: (u32, u64)) {
        self.close(call, state, Some(cause));
    }
}

struct Guest {
    tasks: Tasks,
    listening: Listening,
    labels: TaskLabels,
    store: Store<()>,
    instances: Vec<Instance>,
}

impl Guest {
    /// A store with so many instances, whose tasks can wait at the same time.
    async fn new(instances: u32) -> Self {
        let engine = Engine::default();
        let tasks = Tasks::default();
        let listening = tasks.listening();
        let (guest, mut linker) = compiled(&listening, &engine, TEXT);
        linker
            .root()
            .func_wrap_concurrent("pause", |_: &Accessor<()>, (task, left): (u32, u32)| {
                Box::pin(async move {
                    for _ in 0..(task + left) % 3 + 1 {
                        tokio::task::yield_now().await;
                    }
                    Ok(())
                })
            })
            .expect("free");
        let mut store = Store::new(&engine, ());
        let labels = TaskLabels::new();
        let hooked = labels.clone();
        store.call_hook(move |context, kind| {
            hooked.hook(context, kind);
            Ok(())
        });
        let mut made = Vec::new();
        for _ in 0..instances {
            let instance = linker
                .instantiate_async(&mut store, guest.component())
                .await;
            made.push(instance.expect("it links"));
        }
        Self {
            tasks,
            listening,
            labels,
            store,
            instances: made,
        }
    }

    /// Runs a task on each instance, all at the same time.
    async fn run(&mut self, left: impl Fn(u32) -> u32) -> Result<Vec<u32>> {
        let mut functions = Vec::new();
        for instance in &self.instances {
            let run = instance.get_typed_func::<(u32, u32), (u32,)>(&mut self.store, "run")?;
            functions.push(run);
        }
        let left = &left;
        let functions = &functions;
        let labels = &self.labels;
        let heard = &self.tasks.0;
        heard.lock().expect("nothing panicked here").names.clear();
        let run = async |store: &mut Store<()>| {
            let all = store.run_concurrent(async move |accessor| {
                let mut running = Vec::new();
                for (task, run) in (0..).zip(functions) {
                    running.push(Box::pin(async move {
                        let call = accessor
                            .with(|store| run.start_call_concurrent(store, (task, left(task))))?;
                        let name = wasmscope::task_id(call.task());
                        heard
                            .lock()
                            .expect("nothing panicked here")
                            .name(task, name);
                        let of_task = Labels::new().with_number("task", task.into());
                        let _labelled = labels.set(call.task(), of_task);
                        run.finish_call_concurrent(accessor, call).await
                    }));
                }
                join(running).await
            });
            let all = labels.follow(all);
            let results: Result<Vec<_>> = all.await?.into_iter().collect();
            Ok(results?.into_iter().map(|(result,)| result).collect())
        };
        self.listening.guard_async(&mut self.store, run).await
    }
}

/// Polls all until all are done.
pub(crate) async fn join<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut results: Vec<_> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none()
                && let std::task::Poll::Ready(ready) = std::pin::Pin::new(future).poll(context)
            {
                *result = Some(ready);
            }
        }
        if results.iter().all(Option::is_some) {
            std::task::Poll::Ready(results.drain(..).flatten().collect())
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn tasks_that_take_turns_keep_their_calls_apart() {
    let mut guest = Guest::new(8).await;
    for round in 0..5 {
        let results = guest
            .run(|task| 10 + (task + round) % 5)
            .await
            .expect("all return");
        let expected: Vec<u32> = (0..8).map(|task| 10 + (task + round) % 5).collect();
        assert_eq!(results, expected);
        let heard = guest.tasks.0.lock().expect("nothing panicked here");
        assert_eq!(heard.opens, heard.closes);
        assert!(heard.causes.is_empty(), "{:?}", heard.causes);
        assert!(
            heard.turns > heard.opens / 4,
            "they do take turns: {}",
            heard.turns
        );
    }
}

#[tokio::test]
async fn events_have_the_labels_of_their_task_on_a_thread_that_is_sampled() {
    let mut guest = Guest::new(8).await;
    guest.run(|task| 5 + task).await.expect("all return");
    let heard = |guest: &Guest| {
        let heard = guest.tasks.0.lock().expect("nothing panicked here");
        (heard.opens + heard.closes, heard.labelled)
    };
    let (before, labelled) = heard(&guest);
    assert_eq!(labelled, 0, "nobody samples");
    let (_profiler, _kept) = crate::labels::profiler(&[]);
    guest.run(|task| 5 + task).await.expect("all return");
    let (all, labelled) = heard(&guest);
    assert_eq!(labelled, all - before);
}

#[tokio::test]
async fn a_task_that_traps_ends_them_all() {
    let mut guest = Guest::new(4).await;
    let error = guest.run(|task| if task == 2 { 1003 } else { 50 }).await;
    error.expect_err("one of them traps");
    let heard = guest.tasks.0.lock().expect("nothing panicked here");
    assert_eq!(heard.opens, heard.closes);
    assert!(heard.causes.len() > 6, "{:?}", heard.causes);
    let unreachable = "trap: wasm trap: wasm `unreachable` instruction executed";
    assert!(
        heard.causes.iter().all(|cause| cause == unreachable),
        "{:?}",
        heard.causes
    );
}

/// How many calls were opened, and closed, and why those were that did not return.
fn counts(guest: &Guest) -> (u64, u64, Vec<String>) {
    let heard = guest.tasks.0.lock().expect("nothing panicked here");
    (heard.opens, heard.closes, heard.causes.clone())
}

/// Lets the tasks go on that the engine kept, until they are done.
async fn resume(guest: &mut Guest) {
    let waits = guest.store.run_concurrent(async |_| {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    });
    waits.await.expect("they run");
}

#[tokio::test]
async fn tasks_outlive_a_scope_whose_host_gives_up() {
    let mut guest = Guest::new(3).await;
    let mut functions = Vec::new();
    for instance in &guest.instances {
        let run = instance.get_typed_func::<(u32, u32), (u32,)>(&mut guest.store, "run");
        functions.push(run.expect("it is there"));
    }
    let heard = Arc::clone(&guest.tasks.0);
    let gives_up = async |store: &mut Store<()>| -> Result<()> {
        let (functions, heard) = (&functions, &heard);
        let run = async move |accessor: &Accessor<()>| -> Result<()> {
            for (task, run) in (0..).zip(functions) {
                let call = accessor.with(|store| run.start_call_concurrent(store, (task, 20)))?;
                let mut heard = heard.lock().expect("nothing panicked here");
                heard.name(task, wasmscope::task_id(call.task()));
            }
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            Err(wasmtime::Error::msg("enough"))
        };
        store.run_concurrent(run).await?
    };
    let listening = guest.listening.clone();
    let ended = listening.guard_async(&mut guest.store, gives_up).await;
    ended.expect_err("the host gives up");
    let (opens, closes, causes) = counts(&guest);
    assert!(opens > closes + 6, "{closes} of {opens}");
    assert!(causes.is_empty(), "the engine keeps the tasks: {causes:?}");
    resume(&mut guest).await;
    let (all, closes, causes) = counts(&guest);
    assert!(all > opens, "they go on");
    assert_eq!(all, closes);
    assert!(causes.is_empty(), "{causes:?}");
}

#[tokio::test]
async fn the_task_that_ran_last_ends_with_a_future_that_is_dropped() {
    let mut guest = Guest::new(3).await;
    {
        let mut running = std::pin::pin!(guest.run(|_| 20));
        for _ in 0..10 {
            let once = std::future::poll_fn(|context| {
                std::task::Poll::Ready(running.as_mut().poll(context).is_pending())
            });
            assert!(once.await, "they wait");
            tokio::task::yield_now().await;
        }
    }
    let (opens, closes, causes) = counts(&guest);
    assert!(opens > 9);
    assert!(closes > 0 && closes < opens, "{closes} of {opens}");
    assert_eq!(causes, vec!["future dropped"; causes.len()]);
    {
        let heard = guest.tasks.0.lock().expect("nothing panicked here");
        let closed = heard.open.values().filter(|open| open.is_empty()).count();
        assert_eq!(closed, 1, "one of three tasks");
    }
    let dropped = causes.len();
    let tasks = Arc::clone(&guest.tasks.0);
    drop(guest);
    let heard = tasks.lock().expect("nothing panicked here");
    assert_eq!(heard.opens, heard.closes);
    let ends = &heard.causes[dropped..];
    assert_eq!(ends, vec!["store dropped"; ends.len()], "of the others");
}

#[tokio::test]
async fn tasks_that_wait_when_their_store_ends_end_with_it() {
    let mut guest = Guest::new(3).await;
    let run = guest.instances[0].get_typed_func::<(u32, u32), (u32,)>(&mut guest.store, "run");
    let run = run.expect("it is there");
    {
        let mut running = std::pin::pin!(run.call_async(&mut guest.store, (0, 20)));
        let once = std::future::poll_fn(|context| {
            std::task::Poll::Ready(running.as_mut().poll(context).is_pending())
        });
        assert!(once.await, "it waits");
    }
    drop(guest.store);
    let heard = guest.tasks.0.lock().expect("nothing panicked here");
    assert_eq!((heard.opens, heard.closes), (4, 4));
    assert_eq!(heard.causes, ["store dropped"; 4]);
}

/// Asks each call for its task.
#[derive(Clone, Default)]
struct Asks(Arc<Mutex<Vec<Option<TaskId>>>>);

impl Listener for Asks {
    type State = ();

    fn before(&self, call: &Call<'_>) {
        let mut asked = self.0.lock().expect("nothing panicked here");
        asked.push(call.task());
    }
}

#[test]
fn an_engine_without_tasks_has_none_to_name() {
    let text = r#"(component
      (core module $m (func (export "run")))
      (core instance $i (instantiate $m))
      (func (export "run") (canon lift (core func $i "run"))))"#;
    for with_tasks in [true, false] {
        let mut config = Config::new();
        config.wasm_component_model_async(with_tasks);
        config.concurrency_support(with_tasks);
        let engine = Engine::new(&config).expect("it is a configuration");
        let asks = Asks::default();
        let listener = BoxListener::new(asks.clone());
        let listening = Listening::new(move |_: &Definition| Some(listener.clone()));
        let bytes = wat::parse_str(text).expect("it is text");
        let guest = listening.compile_component(&engine, bytes);
        let guest = guest.expect("it is a component");
        let mut linker = Linker::new(&engine);
        listening
            .add_to_component_linker(&mut linker)
            .expect("free");
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, guest.component());
        let instance = instance.expect("it links");
        let run = instance.get_typed_func::<(), ()>(&mut store, "run");
        let run = run.expect("it is there");
        run.call(&mut store, ()).expect("it returns");
        let asked = asks.0.lock().expect("nothing panicked here");
        assert_eq!(asked.len(), 2);
        assert!(asked.iter().all(|task| task.is_some() == with_tasks));
    }
}
