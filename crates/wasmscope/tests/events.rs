//! Streams of events, beside what a listener hears of the same guests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use wasmscope::listen::{BoxListener, Call, Cause, Definition, InstanceId, Listener, Values};
use wasmscope::{Batch, Error, EventKind, EventStream, Exceptions, Listening, Streamed, Taken};
use wasmtime::{
    CallHook, Config, Engine, Inlining, Instance, InstanceAllocationStrategy, Linker,
    PoolingAllocationConfig, Store, WasmBacktrace,
};

/// What happened: the function's index, and what it did.
type Heard = (u32, EventKind);

/// What a sink took, and how the batches were.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    events: Vec<(InstanceId, Heard)>,
    /// The length of each batch, and how many were lost ahead of it.
    batches: Vec<(usize, u64)>,
}

impl Record {
    /// Returns a stream with the smallest buffer, whose sink takes what `takes` says.
    fn stream(&self, takes: impl FnMut(&Batch<'_>) -> Taken + Send + 'static) -> EventStream {
        self.stream_with(Exceptions::Always, takes)
    }

    fn stream_with(
        &self,
        exceptions: Exceptions,
        mut takes: impl FnMut(&Batch<'_>) -> Taken + Send + 'static,
    ) -> EventStream {
        let record = self.clone();
        let wanted = |_: &Definition| true;
        let stream = EventStream::builder(wanted, move |batch: &Batch<'_>| {
            let taken = takes(batch);
            let count = match taken {
                Taken::All => batch.len(),
                Taken::First(count) => count,
            };
            let mut record = record.0.lock().expect("no test panics with it");
            record.batches.push((batch.len(), batch.lost()));
            record
                .events
                .extend(batch.events().take(count).map(|event| {
                    let definition = batch.definition(event).expect("it is known");
                    (batch.instance(), (definition.index.0, event.kind))
                }));
            taken
        });
        let stream = stream.pages(1.try_into().expect("it is not zero"));
        stream.exceptions(exceptions).build()
    }

    fn heard(&self) -> Vec<Heard> {
        let record = self.0.lock().expect("no test panics with it");
        record.events.iter().map(|(_, heard)| *heard).collect()
    }

    fn batches(&self) -> Vec<(usize, u64)> {
        let record = self.0.lock().expect("no test panics with it");
        record.batches.clone()
    }
}

/// Events in a buffer of one page.
const PAGE: usize = 65_536 / 8;

/// The other record: a listener that writes down the same, but for closes that a guest
/// does not tell of.
#[derive(Clone, Default)]
struct Reference(Arc<Mutex<Vec<Heard>>>);

impl Reference {
    fn push(&self, call: &Call<'_>, kind: EventKind) {
        let mut heard = self.0.lock().expect("no test panics with it");
        heard.push((call.definition().index.0, kind));
    }
}

impl Listener for Reference {
    type State = ();

    fn before(&self, call: &Call<'_>) {
        self.push(call, EventKind::Open);
    }

    fn after(&self, call: &Call<'_>, _: Values<'_>, (): ()) {
        self.push(call, EventKind::Return);
    }

    fn tail_call(&self, call: &Call<'_>, (): ()) {
        self.push(call, EventKind::Tail);
    }

    fn abort(&self, call: &Call<'_>, cause: &Cause<'_>, (): ()) {
        if matches!(cause, Cause::Exception) {
            self.push(call, EventKind::Unwind);
        }
    }
}

fn engine() -> Engine {
    let mut config = Config::new();
    config
        .wasm_exceptions(true)
        .wasm_function_references(true)
        .wasm_gc(true);
    Engine::new(&config).expect("the engine can do that")
}

fn linker(engine: &Engine) -> Linker<()> {
    let mut linker = Linker::new(engine);
    linker
        .func_wrap(
            "wasi_snapshot_preview1",
            "fd_write",
            |_: i32, _: i32, _: i32, _: i32| 0_i32,
        )
        .expect("the name is free");
    linker
}

/// Calls `run` of an instance; a guest may trap.
fn run(store: &mut Store<()>, instance: Instance, argument: i32) -> wasmtime::Result<()> {
    let run = instance
        .get_func(&mut *store, "run")
        .expect("it is exported");
    let mut results = vec![wasmtime::Val::I32(0); run.ty(&*store).results().len()];
    run.call(&mut *store, &[argument.into()], &mut results)
}

fn listen(engine: &Engine, wasm: &[u8], arguments: &[i32]) -> Vec<Heard> {
    let reference = Reference::default();
    let listener = BoxListener::new(reference.clone());
    let listening = Listening::builder(move |_: &Definition| Some(listener.clone()))
        .exceptions(Exceptions::Always)
        .build();
    let listened = listening
        .compile(engine, wasm.to_vec())
        .expect("it is valid");
    let mut linker = linker(engine);
    listening
        .add_to_linker(&mut linker)
        .expect("the names are free");
    let mut store = Store::new(engine, ());
    let instance = linker
        .instantiate(&mut store, listened.module())
        .expect("it starts");
    for argument in arguments {
        let _ = listening.guard(&mut store, |store| run(store, instance, *argument));
    }
    drop(store);
    let heard = reference.0.lock().expect("no test panics with it");
    heard.clone()
}

/// A guest that keeps events, and its store.
struct Guest {
    stream: EventStream,
    _module: Streamed,
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    fn new(stream: &EventStream, engine: &Engine, wasm: &[u8]) -> Self {
        let module = stream.compile(engine, wasm).expect("it is valid");
        let mut linker = linker(engine);
        stream
            .add_to_linker(&mut linker)
            .expect("the names are free");
        let mut store = Store::new(engine, ());
        let instance = linker
            .instantiate(&mut store, module.module())
            .expect("it starts");
        Self {
            stream: stream.clone(),
            _module: module,
            store,
            instance,
        }
    }

    fn run(&mut self, argument: i32) -> wasmtime::Result<()> {
        let instance = self.instance;
        self.stream
            .guard(&mut self.store, |store| run(store, instance, argument))
    }
}

fn parse(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("it is valid")
}

const FIB: &str = r#"(module (func $fib (export "run") (param i32) (result i32)
    (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
        (then (local.get 0))
        (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                       (call $fib (i32.sub (local.get 0) (i32.const 2))))))))"#;

/// Calls the host, by its name and as a value.
const HOST: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
    (table 1 funcref) (elem (i32.const 0) $write)
    (func (export "run") (param i32) (result i32)
        (loop
            (drop (call $write (local.get 0) (i32.const 0) (i32.const 0) (i32.const 0)))
            (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (return_call_indirect (param i32 i32 i32 i32) (result i32)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))"#;

/// Goes down to zero and divides by it, in a tail call of an odd depth.
const TRAP: &str = r#"(module
    (func $start) (start $start)
    (func $down (export "run") (param i32) (result i32)
        (if (i32.and (local.get 0) (i32.const 1))
            (then (return_call $down (i32.sub (local.get 0) (i32.const 1)))))
        (if (result i32) (local.get 0)
            (then (call $down (i32.sub (local.get 0) (i32.const 1))))
            (else (i32.div_u (i32.const 1) (local.get 0))))))"#;

#[test]
fn a_stream_has_what_a_listener_hears() {
    let guest = |name: &str| {
        let path = format!("{}/../../guests/{name}", env!("CARGO_MANIFEST_DIR"));
        wat::parse_file(path).expect("guests are valid")
    };
    let engine = engine();
    for (name, wasm, arguments, kinds) in [
        (
            "fib",
            parse(FIB),
            &[20, 1, 10][..],
            &[EventKind::Return][..],
        ),
        (
            "trap",
            parse(TRAP),
            &[4_001, 6, 4_000],
            &[EventKind::Tail, EventKind::Return],
        ),
        ("host", parse(HOST), &[3_000], &[EventKind::Tail]),
        ("calls.wat", guest("calls.wat"), &[1], &[EventKind::Return]),
        (
            "tailcalls.wat",
            guest("tailcalls.wat"),
            &[1],
            &[EventKind::Tail],
        ),
        (
            "exceptions.wat",
            guest("exceptions.wat"),
            &[1],
            &[EventKind::Unwind],
        ),
    ] {
        let expected = listen(&engine, &wasm, arguments);
        let record = Record::default();
        let stream = record.stream(|_| Taken::All);
        let mut guest = Guest::new(&stream, &engine, &wasm);
        for argument in arguments {
            let ended = guest.run(*argument);
            assert_eq!(ended.is_err(), name == "trap", "{name}: {ended:?}");
        }
        let heard = record.heard();
        assert_eq!(heard.len(), expected.len(), "{name}");
        assert!(heard == expected, "{name}");
        for kind in kinds {
            assert!(
                heard.iter().any(|(_, heard)| heard == kind),
                "{name}: {kind:?}"
            );
        }
        assert_eq!(stream.lost(), 0, "{name}");
        let batches = record.batches();
        assert_eq!(batches[0], (1, 0), "{name}: the first event comes at once");
        let full = batches.iter().filter(|(len, _)| *len == PAGE).count();
        assert!(
            full >= (heard.len() / PAGE).saturating_sub(arguments.len()),
            "{name}"
        );
        if name == "fib" {
            assert!(full >= 5, "{full} full buffers");
        }
    }
}

/// Calls that the engine can inline, the innermost of which traps at zero.
const NESTED: &str = r#"(module
    (func $leaf (param i32) (result i32) (i32.div_u (i32.const 6) (local.get 0)))
    (func $inner (param i32) (result i32)
        (i32.add (call $leaf (local.get 0)) (call $leaf (i32.const 1))))
    (func (export "run") (param i32) (result i32) (call $inner (local.get 0))))"#;

#[test]
fn calls_that_the_engine_inlines_keep_their_events() {
    let mut config = Config::new();
    config
        .wasm_exceptions(true)
        .compiler_inlining(Inlining::Yes);
    let inlines = Engine::new(&config).expect("the engine can do that");
    for exceptions in [Exceptions::Always, Exceptions::Auto] {
        let record = Record::default();
        let stream = record.stream_with(exceptions, |_| Taken::All);
        let wasm = parse(NESTED);
        let mut guest = Guest::new(&stream, &inlines, &wasm);
        guest.run(2).expect("it returns");
        let error = guest.run(0).expect_err("it divides by zero");
        let stack = error.downcast_ref::<WasmBacktrace>().expect("it has one");
        assert_eq!(stack.frames().len(), 1, "all are inlined");
        guest.run(3).expect("it returns");
        assert_eq!(record.heard(), listen(&engine(), &wasm, &[2, 0, 3]));
    }
}

#[test]
fn what_the_sink_does_not_take_is_counted_and_told() {
    let engine = engine();
    let wasm = parse(FIB);
    let expected = listen(&engine, &wasm, &[20]);
    let record = Record::default();
    // All of the first, nothing of the second and third, a part of the fourth, then all.
    let number = AtomicUsize::new(0);
    let stream = record.stream(move |_| match number.fetch_add(1, Ordering::Relaxed) {
        1 | 2 => Taken::First(0),
        3 => Taken::First(100),
        _ => Taken::All,
    });
    let mut guest = Guest::new(&stream, &engine, &wasm);
    guest.run(20).expect("it returns");
    let page = PAGE as u64;
    let batches = record.batches();
    let rest = expected.len() - 1 - 5 * PAGE;
    assert_eq!(
        batches,
        [
            (1, 0),
            (PAGE, 0),
            (PAGE, page),
            (PAGE, 2 * page),
            (PAGE, page - 100),
            (PAGE, 0),
            (rest, 0)
        ]
    );
    assert_eq!(stream.lost(), 3 * page - 100);
    let from = |start: usize| expected[start..].iter();
    let taken = from(0)
        .take(1)
        .chain(from(1 + 2 * PAGE).take(100))
        .chain(from(1 + 3 * PAGE));
    assert!(record.heard().iter().eq(taken));
}

#[test]
fn a_loss_is_told_though_nothing_follows_it() {
    let engine = engine();
    let record = Record::default();
    let full = Arc::new(AtomicUsize::new(1));
    let takes = Arc::clone(&full);
    let stream = record.stream(move |_| match takes.load(Ordering::Relaxed) {
        0 => Taken::All,
        _ => Taken::First(0),
    });
    let mut guest = Guest::new(&stream, &engine, &parse(FIB));
    guest.run(2).expect("it returns");
    // The first event, then the other five; then the sink has room again.
    full.store(0, Ordering::Relaxed);
    stream.drain(&mut guest.store);
    stream.drain(&mut guest.store);
    assert_eq!(record.batches(), [(1, 0), (5, 1), (0, 6)]);
    assert_eq!((record.heard().len(), stream.lost()), (0, 6));
}

#[test]
fn a_trap_leaves_what_was_kept_and_a_drain_finds_it() {
    let engine = engine();
    let record = Record::default();
    let stream = record.stream(|_| Taken::All);
    let mut guest = Guest::new(&stream, &engine, &parse(TRAP));
    let instance = guest.instance;
    run(&mut guest.store, instance, 4).expect_err("it traps");
    // The start function's first event.
    assert_eq!(record.heard().len(), 1);
    stream.drain(&mut guest.store);
    let open = |times: &[EventKind]| times.iter().map(|kind| (1, *kind)).collect::<Vec<_>>();
    use EventKind::{Open, Return, Tail};
    let mut expected = vec![(0, Open), (0, Return)];
    expected.extend(open(&[Open, Open, Tail, Open, Open, Tail, Open]));
    assert_eq!(record.heard(), expected);
    // The guest goes on, as it would without us.
    guest.run(0).expect_err("it traps");
    expected.extend(open(&[Open]));
    assert_eq!(record.heard(), expected);
}

#[test]
fn a_host_that_panics_is_no_reason_to_lose_events() {
    let engine = engine();
    let record = Record::default();
    let stream = record.stream(|_| Taken::All);
    let mut guest = Guest::new(&stream, &engine, &parse(FIB));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let instance = guest.instance;
        stream.guard(&mut guest.store, |store| -> wasmtime::Result<()> {
            run(store, instance, 5)?;
            panic!("the host's own")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(record.heard(), listen(&engine, &parse(FIB), &[5]));
}

#[test]
fn a_sink_that_panics_is_not_shown_the_same_again() {
    let engine = engine();
    let wasm = parse(FIB);
    let record = Record::default();
    let number = AtomicUsize::new(0);
    let stream = record.stream(move |_| {
        assert_ne!(number.fetch_add(1, Ordering::Relaxed), 2, "the third batch");
        Taken::All
    });
    let mut guest = Guest::new(&stream, &engine, &wasm);
    let instance = guest.instance;
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run(&mut guest.store, instance, 20)
    }));
    assert!(panicked.is_err());
    // The guest goes on with an empty buffer.
    guest.run(7).expect("it returns");
    let mut expected = listen(&engine, &wasm, &[20]);
    expected.truncate(1 + PAGE);
    expected.extend(listen(&engine, &wasm, &[7]));
    assert!(record.heard() == expected);
}

#[test]
fn a_call_hook_that_drains_brings_each_event_once() {
    let engine = engine();
    let wasm = parse(FIB);
    let record = Record::default();
    let stream = record.stream(|_| Taken::All);
    let mut guest = Guest::new(&stream, &engine, &wasm);
    let (calls, drained) = (Arc::new(AtomicUsize::new(0)), stream.clone());
    let counted = Arc::clone(&calls);
    guest.store.call_hook(move |context, kind| {
        if matches!(kind, CallHook::CallingHost) {
            counted.fetch_add(1, Ordering::Relaxed);
            drained.drain(context);
        }
        Ok(())
    });
    guest.run(21).expect("it returns");
    let expected = listen(&engine, &wasm, &[21]);
    let full = (expected.len() - 1) / PAGE;
    assert!(full >= 5, "{full} full buffers");
    assert_eq!(calls.load(Ordering::Relaxed), 1 + full);
    assert_eq!(record.heard().len(), expected.len());
    assert!(record.heard() == expected);
    assert_eq!(stream.lost(), 0);
    // Of each full buffer all but the last ahead of the flush, and the last with it.
    let mut batches = vec![(1, 0)];
    batches.extend([(PAGE - 1, 0), (1, 0)].repeat(full));
    batches.push(((expected.len() - 1) % PAGE, 0));
    assert_eq!(record.batches(), batches);
}

#[test]
fn a_call_hook_that_fails_at_a_full_buffer_loses_its_last_event() {
    let engine = engine();
    let wasm = parse(FIB);
    let record = Record::default();
    let stream = record.stream(|_| Taken::All);
    let mut guest = Guest::new(&stream, &engine, &wasm);
    let mut calls = 0;
    guest.store.call_hook(move |_, kind| {
        if matches!(kind, CallHook::CallingHost) {
            calls += 1;
            wasmtime::ensure!(calls != 3, "the second full buffer");
        }
        Ok(())
    });
    guest.run(20).expect_err("the hook fails");
    assert_eq!(record.batches(), [(1, 0), (PAGE, 0), (PAGE - 1, 0)]);
    // The guest goes on, and nothing comes twice.
    guest.run(7).expect("it returns");
    let mut expected = listen(&engine, &wasm, &[20]);
    expected.truncate(1 + PAGE + PAGE - 1);
    expected.extend(listen(&engine, &wasm, &[7]));
    assert!(record.heard() == expected);
}

/// Waits for the host, then returns.
const WAIT: &str = r#"(module (import "host" "wait" (func $wait))
    (func (export "run") (param i32) (call $wait)))"#;

#[test]
fn guests_on_fibers_are_drained_when_they_end_and_when_their_future_is_dropped() {
    let mut config = Config::new();
    config.wasm_exceptions(true);
    let engine = Engine::new(&config).unwrap();
    let record = Record::default();
    let stream = record.stream(|_| Taken::All);
    let module = stream.compile(&engine, parse(WAIT)).unwrap();
    let mut linker: Linker<()> = Linker::new(&engine);
    stream.add_to_linker(&mut linker).unwrap();
    let waits = Arc::new(AtomicUsize::new(0));
    let begun = Arc::clone(&waits);
    linker
        .func_wrap_async("host", "wait", move |_, ()| {
            // The second never ends.
            let first = begun.fetch_add(1, Ordering::Relaxed) == 0;
            Box::new(async move {
                if !first {
                    std::future::pending::<()>().await;
                }
            })
        })
        .unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut store = Store::new(&engine, ());
        let instance = linker
            .instantiate_async(&mut store, module.module())
            .await
            .unwrap();
        let run = instance
            .get_typed_func::<i32, ()>(&mut store, "run")
            .unwrap();
        let call = async |store: &mut Store<()>| run.call_async(store, 0).await;
        stream.guard_async(&mut store, call).await.unwrap();
        let (open, close) = (EventKind::Open, EventKind::Return);
        let mut expected = vec![(1, open), (0, open), (0, close), (1, close)];
        assert_eq!(record.heard(), expected);
        let mut second = Box::pin(stream.guard_async(&mut store, call));
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(second.as_mut().poll(context).is_pending())
        });
        assert!(polled.await);
        assert_eq!(waits.load(Ordering::Relaxed), 2);
        assert_eq!(record.heard(), expected);
        drop(second);
        expected.extend([(1, open), (0, open)]);
        assert_eq!(record.heard(), expected);
    });
}

#[test]
fn two_stores_and_two_instances_keep_their_own() {
    let engine = engine();
    let wasm = parse(FIB);
    let record = Record::default();
    let stream = record.stream(|_| Taken::All);
    let mut guests = [0, 1].map(|_| Guest::new(&stream, &engine, &wasm));
    // A second instance in the first store.
    let mut linker = linker(&engine);
    stream.add_to_linker(&mut linker).unwrap();
    let second = linker
        .instantiate(&mut guests[0].store, guests[0]._module.module())
        .unwrap();
    let [first, other] = &mut guests;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            first.run(21).expect("it returns");
            run(&mut first.store, second, 12).expect("it returns");
            stream.drain(&mut first.store);
        });
        scope.spawn(|| other.run(19).expect("it returns"));
    });
    let mut by_instance: Vec<(InstanceId, Vec<Heard>)> = Vec::new();
    for (instance, heard) in &record.0.lock().unwrap().events {
        match by_instance.iter_mut().find(|(known, _)| known == instance) {
            Some((_, events)) => events.push(*heard),
            None => by_instance.push((*instance, vec![*heard])),
        }
    }
    let mut events: Vec<_> = by_instance.into_iter().map(|(_, events)| events).collect();
    events.sort_by_key(Vec::len);
    let expected = [12, 19, 21].map(|n| listen(&engine, &wasm, &[n]));
    assert!(events == expected);
    assert_eq!(stream.lost(), 0);
}

#[test]
fn a_module_that_was_forgotten_loses_its_events_by_number() {
    let engine = engine();
    let record = Record::default();
    let stream = record.stream(|_| Taken::All);
    let module = stream
        .compile(&engine, parse(FIB))
        .unwrap()
        .module()
        .clone();
    let mut linker = linker(&engine);
    stream.add_to_linker(&mut linker).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    run(&mut store, instance, 20).unwrap();
    let expected = listen(&engine, &parse(FIB), &[20]).len();
    assert_eq!(record.heard(), []);
    // But for what is in the buffer, which nobody knows of.
    assert_eq!(stream.lost(), (1 + expected / PAGE * PAGE) as u64);
}

#[test]
fn a_module_of_one_stream_does_not_link_with_another() {
    let engine = engine();
    let [ours, theirs] = [0, 1].map(|_| Record::default().stream(|_| Taken::All));
    let module = ours.compile(&engine, parse(FIB)).unwrap();
    let mut linker = linker(&engine);
    theirs.add_to_linker(&mut linker).unwrap();
    let mut store = Store::new(&engine, ());
    let linked = linker.instantiate(&mut store, module.module());
    let error = linked.unwrap_err().to_string();
    assert!(
        error.contains("unknown import: `wasmscope::flush:"),
        "{error}"
    );
}

fn pooling(memories: u32) -> Engine {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_memories(4)
        .total_core_instances(4)
        .total_tables(4)
        .total_stacks(1);
    pool.max_memories_per_module(memories);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).expect("the pool can be made")
}

#[test]
fn a_pool_without_room_is_an_error_that_names_the_setting() {
    let record = Record::default();
    let stream = record.stream(|_| Taken::All);
    let with_memory = FIB.replacen("(module", "(module (memory 1)", 1);
    // One memory for each module is the default, and enough for a module with none.
    let one = pooling(1);
    stream.compile(&one, parse(FIB)).unwrap();
    let error = stream.compile(&one, parse(&with_memory)).unwrap_err();
    assert!(matches!(error, Error::OwnMemory(_)), "{error}");
    let error = error.to_string();
    assert!(
        error.contains("PoolingAllocationConfig::max_memories_per_module"),
        "{error}"
    );
    // Raised, it works; other reasons are not mistaken for it.
    let two = pooling(2);
    let mut guest = Guest::new(&stream, &two, &parse(&with_memory));
    guest.run(15).unwrap();
    assert_eq!(record.heard(), listen(&two, &parse(&with_memory), &[15]));
    let three = format!("(module (memory 0) (memory 0) (memory 0) {}", &FIB[7..]);
    let error = stream.compile(&two, parse(&three)).unwrap_err();
    assert!(matches!(error, Error::Engine(_)), "{error}");
    let mut config = Config::new();
    config.wasm_multi_memory(false);
    let single = Engine::new(&config).unwrap();
    stream.compile(&single, parse(FIB)).unwrap();
    let error = stream.compile(&single, parse(&with_memory)).unwrap_err();
    assert!(matches!(error, Error::Engine(_)), "{error}");
}
