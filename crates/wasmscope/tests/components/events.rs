//! Streams of the events of components, beside what a listener hears of the same guests.

use crate::compiled::compiled;
use crate::engines::configs;
use crate::switches::{TEXT, pool};
use crate::tasks::{self, join};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use wasmscope::listen::{BoxListener, Call, Cause, Definition, InstanceId, Listener, Values};
use wasmscope::{Batch, Error, EventKind, EventStream, Listening, Taken};
use wasmtime::component::{Accessor, Component, Instance, Linker, TypedFunc};
use wasmtime::{CallHook, Config, Engine, Inlining, Store, StoreContextMut, UpdateDeadline};

/// What each instance did, in its order.
type Events = BTreeMap<InstanceId, Vec<(String, EventKind)>>;

#[derive(Clone, Default)]
struct Record(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    events: Events,
    /// How many events each batch had, and how many were lost ahead of it.
    batches: Vec<(InstanceId, usize, u64)>,
}

/// Events in a buffer of one page.
const PAGE: usize = 65_536 / 8;

impl Record {
    /// Returns a stream with the smallest buffer, whose sink takes what `takes` says.
    fn stream(&self, mut takes: impl FnMut(&Batch<'_>) -> Taken + Send + 'static) -> EventStream {
        let record = self.clone();
        let wanted = |_: &Definition| true;
        let stream = EventStream::builder(wanted, move |batch: &Batch<'_>| {
            let taken = takes(batch);
            let count = match taken {
                Taken::All => batch.len(),
                Taken::First(count) => count,
            };
            let mut record = record.0.lock().expect("no test panics with it");
            let entry = (batch.instance(), batch.len(), batch.lost());
            record.batches.push(entry);
            let events = record.events.entry(batch.instance()).or_default();
            events.extend(batch.events().take(count).map(|event| {
                let definition = batch.definition(event).expect("it is known");
                (definition.to_string(), event.kind)
            }));
            taken
        });
        let stream = stream.pages(1.try_into().expect("it is not zero"));
        stream.build()
    }

    fn push(&self, call: &Call<'_>, kind: EventKind) {
        let mut record = self.0.lock().expect("no test panics with it");
        let events = record.events.entry(call.instance().id()).or_default();
        events.push((call.definition().to_string(), kind));
    }

    /// Returns what each instance did, in an order that does not depend on their numbers.
    fn sorted(&self) -> Vec<Vec<(String, EventKind)>> {
        let record = self.0.lock().expect("no test panics with it");
        let mut events: Vec<_> = record.events.values().cloned().collect();
        events.retain(|events| !events.is_empty());
        events.sort();
        events
    }

    fn len(&self) -> usize {
        let record = self.0.lock().expect("no test panics with it");
        record.events.values().map(Vec::len).sum()
    }

    fn batches(&self) -> Vec<(InstanceId, usize, u64)> {
        let record = self.0.lock().expect("no test panics with it");
        record.batches.clone()
    }
}

/// The other record: a listener that writes down the same, but for closes that a guest
/// does not tell of.
struct Reference(Record);

impl Listener for Reference {
    type State = ();

    fn before(&self, call: &Call<'_>) {
        self.0.push(call, EventKind::Open);
    }

    fn after(&self, call: &Call<'_>, _: Values<'_>, (): ()) {
        self.0.push(call, EventKind::Return);
    }

    fn tail_call(&self, call: &Call<'_>, (): ()) {
        self.0.push(call, EventKind::Tail);
    }

    fn abort(&self, call: &Call<'_>, cause: &Cause<'_>, (): ()) {
        if matches!(cause, Cause::Exception) {
            self.0.push(call, EventKind::Unwind);
        }
    }
}

/// Instantiates with a host whose functions do nothing.
fn instantiate(
    linker: &mut Linker<()>,
    component: &Component,
) -> wasmtime::Result<(Store<()>, Instance)> {
    let nothing = |_: StoreContextMut<'_, ()>, (_,): (u32,)| Ok(());
    linker.root().func_wrap("turn", nothing)?;
    let mut store = Store::new(component.engine(), ());
    let instance = linker.instantiate(&mut store, component)?;
    Ok((store, instance))
}

/// Calls `run` so many times; a guest may trap.
fn run(store: &mut Store<()>, instance: Instance, times: u32) -> wasmtime::Result<()> {
    let run = instance.get_typed_func::<(&str,), ()>(&mut *store, "run")?;
    (0..times).try_for_each(|_| run.call(&mut *store, ("somebody",)))
}

/// What a listener hears of it.
fn listen(engine: &Engine, text: &str, times: u32) -> Record {
    let record = Record::default();
    let listener = BoxListener::new(Reference(record.clone()));
    let listening = Listening::new(move |_: &Definition| Some(listener.clone()));
    let (guest, mut linker) = compiled(&listening, engine, text);
    let (mut store, instance) = instantiate(&mut linker, guest.component()).expect("it links");
    let _ = listening.guard(&mut store, |store| run(store, instance, times));
    drop(store);
    assert_eq!(guest.lost(), 0, "the listener hears of all");
    record
}

/// Runs it with its events kept; returns the store, for more.
fn stream(
    stream: &EventStream,
    engine: &Engine,
    text: &str,
    times: u32,
) -> (Store<()>, wasmtime::Result<()>) {
    let bytes = wat::parse_str(text).expect("it is text");
    let guest = stream
        .compile_component(engine, bytes)
        .expect("it is a component");
    let mut linker = Linker::new(engine);
    stream.add_to_component_linker(&mut linker).expect("free");
    let (mut store, instance) = instantiate(&mut linker, guest.component()).expect("it links");
    let result = stream.guard(&mut store, |store| run(store, instance, times));
    (store, result)
}

#[test]
fn events_are_those_that_a_listener_hears_in_every_instances_order() {
    let mut inlines = Config::new();
    inlines.compiler_inlining(Inlining::Yes);
    for (name, mut config) in configs().into_iter().chain([("inlining", inlines)]) {
        if name == "pooling" {
            config.allocation_strategy(pool(2));
        }
        let engine = Engine::new(&config).expect("it is a configuration");
        // Listeners are refused where calls are inlined.
        let heard_on = if name == "inlining" {
            Engine::default()
        } else {
            engine.clone()
        };
        for times in [1, 3, 2_000] {
            let record = Record::default();
            let kept = record.stream(|_| Taken::All);
            let (_store, result) = stream(&kept, &engine, TEXT, times);
            result.expect("it runs");
            let reference = listen(&heard_on, TEXT, times);
            let batches = record.batches();
            // A buffer that is full within `realloc` is lost.
            let lost = usize::try_from(kept.lost()).expect("it is not so much");
            assert_eq!(record.len() + lost, reference.len(), "{name}, {times}");
            assert!(lost.is_multiple_of(PAGE) && (lost == 0 || times == 2_000));
            let (record, reference) = (record.sorted(), reference.sorted());
            let mut whole = reference.iter().filter(|events| {
                lost == 0 || events.iter().all(|(name, _)| !name.contains("realloc"))
            });
            assert!(whole.clone().count() > 5);
            assert!(whole.all(|events| record.contains(events)), "{name}");
            // Of each instance all batches are full but the last.
            for (number, (instance, len, _)) in batches.iter().enumerate() {
                let is_last = batches[number + 1..].iter().all(|(of, ..)| of != instance);
                assert!(*len == PAGE || is_last, "{name}: {len}");
            }
            assert!(times < 2_000 || batches.iter().any(|(_, len, _)| *len == PAGE));
        }
    }
}

#[test]
fn stores_and_instances_do_not_meet() {
    let engine = Engine::default();
    let record = Record::default();
    let kept = record.stream(|_| Taken::All);
    let bytes = wat::parse_str(TEXT).expect("it is text");
    let guest = kept
        .compile_component(&engine, bytes)
        .expect("it is a component");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut linker = Linker::new(&engine);
                kept.add_to_component_linker(&mut linker).expect("free");
                let (mut store, first) =
                    instantiate(&mut linker, guest.component()).expect("it links");
                let second = linker.instantiate(&mut store, guest.component());
                let second = second.expect("it links");
                for _ in 0..50 {
                    run(&mut store, first, 10).expect("it runs");
                    run(&mut store, second, 10).expect("it runs");
                }
                kept.drain(&mut store);
            });
        }
    });
    let alone = listen(&engine, TEXT, 500).sorted();
    let mut expected = Vec::new();
    for events in alone {
        expected.extend(std::iter::repeat_n(events, 2 * 3));
    }
    assert!(record.sorted() == expected);
    assert_eq!(kept.lost(), 0);
}

#[test]
fn what_a_sink_does_not_take_is_counted() {
    let engine = Engine::default();
    let record = Record::default();
    let mut number = 0;
    let kept = record.stream(move |batch| {
        number += 1;
        match number % 3 {
            0 => Taken::All,
            1 => Taken::First(batch.len() / 2),
            _ => Taken::First(0),
        }
    });
    let (_store, result) = stream(&kept, &engine, TEXT, 5_000);
    result.expect("it runs");
    let lost = usize::try_from(kept.lost()).expect("it is not so much");
    assert!(lost > PAGE);
    assert_eq!(record.len() + lost, 5_000 * listen(&engine, TEXT, 1).len());
}

/// A component whose `realloc`, start function and lifted function each call `leaf` so many
/// times, the last of which traps behind that.
fn busy(start: u32, realloc: u32, run: u32) -> String {
    format!(
        r#"(component
  (import "turn" (func (param "turn" u32)))
  (core module $m
    (memory (export "memory") 1)
    (func $leaf)
    (func $leaves (param i32)
      (if (local.get 0) (then
        (loop (call $leaf) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))))
    (func $start (call $leaves (i32.const {start})))
    (start $start)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (call $leaves (i32.const {realloc})) (i32.const 64))
    (func (export "run") (param i32 i32) (call $leaves (i32.const {run})) unreachable))
  (core instance $i (instantiate $m))
  (func (export "run") (param "name" string) (canon lift (core func $i "run")
    (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
    )
}

#[test]
fn a_trap_leaves_what_was_before_it() {
    let engine = Engine::default();
    for run in [0, 5, 20_000] {
        let text = busy(3, 4, run);
        let record = Record::default();
        let kept = record.stream(|_| Taken::All);
        let (_store, result) = stream(&kept, &engine, &text, 1);
        result.expect_err("it traps");
        assert!(record.sorted() == listen(&engine, &text, 1).sorted());
        // Each leaf twice, `leaves` three times twice, start and realloc; the function that
        // traps does not end, nor what is lifted.
        assert_eq!(record.len(), 2 * (7 + run as usize) + 6 + 4 + 2);
        assert_eq!(kept.lost(), 0);
    }
}

/// Runs [`busy`] with its events kept, once `prepare` has seen the store; it traps.
fn run_busy(kept: &EventStream, engine: &Engine, text: &str, prepare: impl FnOnce(&mut Store<()>)) {
    let bytes = wat::parse_str(text).expect("it is text");
    let guest = kept
        .compile_component(engine, bytes)
        .expect("it is a component");
    let mut linker = Linker::new(engine);
    kept.add_to_component_linker(&mut linker).expect("free");
    let nothing = |_: StoreContextMut<'_, ()>, (_,): (u32,)| Ok(());
    linker.root().func_wrap("turn", nothing).expect("free");
    let mut store = Store::new(engine, ());
    prepare(&mut store);
    let instance = linker.instantiate(&mut store, guest.component());
    let instance = instance.expect("it links");
    let result = kept.guard(&mut store, |store| run(store, instance, 1));
    result.expect_err("it traps");
}

/// What a sink got when buffers were drained on their way to it.
fn is_each_once(record: &Record, kept: &EventStream, engine: &Engine, text: &str) {
    let reference = listen(engine, text, 1);
    assert!(reference.len() > 5 * PAGE);
    assert_eq!(record.len(), reference.len());
    assert!(record.sorted() == reference.sorted());
    assert_eq!(kept.lost(), 0);
    // Of each full buffer the last follows the others.
    let batches = record.batches();
    let lens: Vec<_> = batches.iter().map(|(_, len, _)| *len).collect();
    let full = lens.windows(2).filter(|pair| *pair == [PAGE - 1, 1]);
    assert!(full.count() >= 4, "{lens:?}");
    assert!(!lens.contains(&PAGE), "{lens:?}");
}

#[test]
fn a_call_hook_that_drains_brings_each_event_once() {
    let engine = Engine::default();
    let text = busy(3, 4, 25_000);
    let record = Record::default();
    let kept = record.stream(|_| Taken::All);
    let drained = kept.clone();
    run_busy(&kept, &engine, &text, |store| {
        store.call_hook(move |context, kind| {
            if matches!(kind, CallHook::CallingHost) {
                drained.drain(context);
            }
            Ok(())
        });
    });
    is_each_once(&record, &kept, &engine, &text);
}

#[test]
fn an_epoch_callback_that_drains_brings_each_event_once() {
    let mut config = Config::new();
    config.epoch_interruption(true);
    let engine = Engine::new(&config).expect("it is a configuration");
    let text = busy(3, 4, 25_000);
    // The deadline has always passed, so the callback comes at every check. Those behind
    // which the sink hears of a full buffer come as that is about to be handed over.
    let checks = Arc::new(AtomicUsize::new(0));
    let full = Arc::new(Mutex::new(Vec::new()));
    let (seen, flushes) = (Arc::clone(&checks), Arc::clone(&full));
    let first = Record::default().stream(move |batch| {
        if batch.len() == PAGE {
            let mut flushes = flushes.lock().expect("no test panics with it");
            flushes.push(seen.load(Ordering::Relaxed));
        }
        Taken::All
    });
    run_busy(&first, &engine, &text, |store| {
        at_checks(store, move |_, number| {
            checks.store(number, Ordering::Relaxed);
            Ok(())
        });
    });
    let full = full.lock().expect("no test panics with it").clone();
    assert!(full.len() >= 5, "{full:?}");

    let record = Record::default();
    let kept = record.stream(|_| Taken::All);
    let drained = kept.clone();
    run_busy(&kept, &engine, &text, |store| {
        at_checks(store, move |context, number| {
            if full.contains(&number) {
                drained.drain(context);
            }
            Ok(())
        });
    });
    // The listener's guest is not interrupted.
    is_each_once(&record, &kept, &Engine::default(), &text);
}

/// Calls this at every check of the epoch, with the check's number from 1.
fn at_checks(
    store: &mut Store<()>,
    mut at: impl FnMut(StoreContextMut<'_, ()>, usize) -> wasmtime::Result<()> + Send + Sync + 'static,
) {
    let mut number = 0;
    store.set_epoch_deadline(0);
    store.epoch_deadline_callback(move |context| {
        number += 1;
        at(context, number)?;
        Ok(UpdateDeadline::Continue(0))
    });
}

/// Returns the check that comes as the first full buffer is about to be handed over: the next
/// one behind the event that fills it.
fn first_full(engine: &Engine, text: &str) -> usize {
    let (check, full) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, found) = (Arc::clone(&check), Arc::clone(&full));
    let mut kept = BTreeMap::<InstanceId, usize>::new();
    let stream = Record::default().stream(move |batch| {
        let kept = kept.entry(batch.instance()).or_default();
        let before = std::mem::replace(kept, *kept + batch.len());
        if before < PAGE && *kept >= PAGE {
            found.store(now.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        Taken::All
    });
    let drained = stream.clone();
    run_busy(&stream, engine, text, |store| {
        at_checks(store, move |context, number| {
            check.store(number, Ordering::Relaxed);
            drained.drain(context);
            Ok(())
        });
    });
    full.load(Ordering::Relaxed)
}

#[test]
fn what_is_stopped_on_its_way_to_the_host_is_as_documented() {
    let mut config = Config::new();
    config.epoch_interruption(true);
    let engine = Engine::new(&config).expect("it is a configuration");

    // Ended there, the last event of the buffer is lost, and is not counted.
    let text = busy(0, 0, 25_000);
    let full = first_full(&engine, &text);
    let record = Record::default();
    let kept = record.stream(|_| Taken::All);
    run_busy(&kept, &engine, &text, |store| {
        at_checks(store, move |_, number| {
            wasmtime::ensure!(number != full, "the deadline");
            Ok(())
        });
    });
    let lens: Vec<_> = record.batches().iter().map(|(_, len, _)| *len).collect();
    assert!(
        lens.contains(&(PAGE - 1)) && !lens.contains(&PAGE),
        "{lens:?}"
    );
    assert_eq!(kept.lost(), 0);

    // Drained there, a buffer that may not be handed over counts as lost.
    let text = busy(0, 7_000, 1);
    let full = first_full(&engine, &text);
    let record = Record::default();
    let kept = record.stream(|_| Taken::All);
    let drained = kept.clone();
    run_busy(&kept, &engine, &text, |store| {
        at_checks(store, move |context, number| {
            if number == full {
                drained.drain(context);
            }
            Ok(())
        });
    });
    // More than a listener would hear of it.
    let all = 2 * (7_000 + 1) + 6 + 4 + 2;
    assert_eq!(kept.lost(), PAGE as u64);
    assert_eq!(record.len(), all - 1, "all but the last of the buffer");
}

#[test]
fn what_cannot_be_handed_over_is_counted() {
    let engine = Engine::default();
    for (start, realloc) in [(0, 5_000), (0, 50_000), (5_000, 0), (50_000, 7_000)] {
        let record = Record::default();
        let kept = record.stream(|_| Taken::All);
        let (mut store, result) = stream(&kept, &engine, &busy(start, realloc, 1), 1);
        result.expect_err("it traps");
        let all = 2 * (start + realloc + 1) as usize + 6 + 4 + 2;
        let lost = usize::try_from(kept.lost()).expect("it is not so much");
        assert_eq!(record.len() + lost, all, "{start}, {realloc}");
        assert!(lost > 0 && lost.is_multiple_of(PAGE), "{lost}");
        // Each batch says how much was lost ahead of it.
        let told: u64 = record.batches().iter().map(|(_, _, lost)| lost).sum();
        assert_eq!(told, kept.lost());
        kept.drain(&mut store);
        assert_eq!(record.len() + lost, all, "nothing comes twice");
    }
}

#[test]
fn a_pool_without_room_for_the_buffers_says_so() {
    let mut config = Config::new();
    config.allocation_strategy(pool(1));
    let engine = Engine::new(&config).expect("it is a configuration");
    let kept = Record::default().stream(|_| Taken::All);
    let bytes = wat::parse_str(TEXT).expect("it is text");
    let error = kept
        .compile_component(&engine, bytes)
        .expect_err("there is none");
    assert!(matches!(error, Error::OwnMemory(_)), "{error}");
}

#[test]
fn what_is_no_longer_known_is_counted_as_lost() {
    let engine = Engine::default();
    let record = Record::default();
    let kept = record.stream(|_| Taken::All);
    let bytes = wat::parse_str(TEXT).expect("it is text");
    let guest = kept
        .compile_component(&engine, bytes)
        .expect("it is a component");
    let component = guest.component().clone();
    drop(guest);
    let mut linker = Linker::new(&engine);
    kept.add_to_component_linker(&mut linker).expect("free");
    let (mut store, instance) = instantiate(&mut linker, &component).expect("it links");
    run(&mut store, instance, 2_000).expect("it runs");
    kept.drain(&mut store);
    assert_eq!(record.len(), 0);
    // What does not fill a buffer is never told.
    let lost = usize::try_from(kept.lost()).expect("it is not so much");
    assert!(lost > 0 && lost.is_multiple_of(PAGE), "{lost}");
}

/// Runs tasks of so many instances of one store, which wait for each other's turns.
async fn run_tasks(
    mut linker: Linker<()>,
    component: &Component,
    instances: u32,
    guard: impl AsyncFnOnce(&mut Store<()>, Tasks) -> wasmtime::Result<()>,
) {
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
    let mut store = Store::new(component.engine(), ());
    let mut tasks = Vec::new();
    for _ in 0..instances {
        let instance = linker.instantiate_async(&mut store, component).await;
        let instance = instance.expect("it links");
        tasks.push(
            instance
                .get_typed_func(&mut store, "run")
                .expect("it is there"),
        );
    }
    guard(&mut store, tasks).await.expect("all return");
}

type Tasks = Vec<TypedFunc<(u32, u32), (u32,)>>;

/// How deep each task goes.
const DEPTHS: [u32; 6] = [10, 300, 11, 1, 120, 40];

async fn take_turns(store: &mut Store<()>, tasks: Tasks) -> wasmtime::Result<()> {
    let all = store.run_concurrent(async move |accessor| {
        let calls = (0..).zip(&tasks).zip(DEPTHS);
        let calls =
            calls.map(|((task, run), left)| Box::pin(run.call_concurrent(accessor, (task, left))));
        join(calls.collect()).await
    });
    let results: wasmtime::Result<Vec<_>> = all.await?.into_iter().collect();
    assert!(results?.into_iter().eq(DEPTHS.map(|left| (left,))));
    Ok(())
}

#[tokio::test]
async fn events_of_tasks_that_take_turns_stay_with_their_instances() {
    let engine = Engine::default();
    let bytes = wat::parse_str(tasks::TEXT).expect("it is text");

    let record = Record::default();
    let kept = record.stream(|_| Taken::All);
    let guest = kept
        .compile_component(&engine, &bytes)
        .expect("it is a component");
    let mut linker = Linker::new(&engine);
    kept.add_to_component_linker(&mut linker).expect("free");
    let guard = async |store: &mut Store<()>, tasks| {
        kept.guard_async(store, async |store| take_turns(store, tasks).await)
            .await
    };
    run_tasks(linker, guest.component(), DEPTHS.len() as u32, guard).await;
    assert_eq!(kept.lost(), 0);

    let reference = Record::default();
    let listener = BoxListener::new(Reference(reference.clone()));
    let listening = Listening::new(move |_: &Definition| Some(listener.clone()));
    let guest = listening
        .compile_component(&engine, bytes)
        .expect("it is a component");
    let mut linker = Linker::new(&engine);
    listening
        .add_to_component_linker(&mut linker)
        .expect("free");
    let guard = async |store: &mut Store<()>, tasks| {
        listening
            .guard_async(store, async |store| take_turns(store, tasks).await)
            .await
    };
    run_tasks(linker, guest.component(), DEPTHS.len() as u32, guard).await;

    assert!(record.len() > 1_000);
    assert_eq!(record.sorted(), reference.sorted());
}
