//! The stack below a call: the same frames as the engine's own backtrace of the same
//! module without listeners, with parameters, instances and parents as they were.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use wasmscope::Listening;
use wasmscope::listen::{BoxListener, Call, Definition, InstanceId, Listener, Value, Values};
use wasmtime::{AsContext, Caller, Config, Engine, Extern, Linker, Module, Store, WasmBacktrace};

/// One frame: function index, offset in the module, file and line.
type Seen = (u32, Option<u64>, Option<(String, u32)>);

/// What was seen at each call of an import, newest frame first.
#[derive(Clone, Default)]
struct Stacks(Arc<Mutex<Vec<Vec<Seen>>>>);

impl Stacks {
    fn push(&self, frames: Vec<Seen>) {
        self.0.lock().expect("nobody panicked").push(frames);
    }

    fn take(&self) -> Vec<Vec<Seen>> {
        std::mem::take(&mut self.0.lock().expect("nobody panicked"))
    }

    /// Notes what the engine says.
    fn note(&self, store: impl AsContext) {
        let backtrace = WasmBacktrace::force_capture(store);
        let frames = backtrace.frames().iter().map(|frame| {
            let symbol = frame.symbols().first();
            let line = symbol.and_then(|symbol| Some((symbol.file()?.to_owned(), symbol.line()?)));
            let offset = frame.module_offset().map(|offset| offset as u64);
            (frame.func_index(), offset, line)
        });
        self.push(frames.collect());
    }
}

/// Notes the stack below calls of imports, without the import itself.
struct Notes(Stacks);

impl Listener for Notes {
    type State = ();

    fn before(&self, call: &Call<'_>) {
        if call.definition().import.is_none() {
            return;
        }
        let mut stack = call.stack();
        let newest = stack.next().expect("the called function");
        assert_eq!(newest.definition(), Some(call.definition()));
        assert_eq!(newest.params(), Some(call.params()));
        assert_eq!(newest.instance(), Some(call.instance().id()));
        assert_eq!(newest.source_offset(), None);
        // What stands in front of an import is a frame here, and none to the engine.
        let guests = stack.filter(|frame| frame.definition().is_none_or(|f| f.import.is_none()));
        let frames = guests.map(|frame| {
            let offset = frame
                .source_offset()
                .map(|offset| u64::from(offset.module.0));
            let line = frame.line().map(|line| (line.file, line.line));
            let index = frame.definition().expect("it is known").index;
            (index.0, offset, line)
        });
        self.0.push(frames.collect());
        assert_eq!(call.stack().count(), call.stack().len());
    }
}

const WAYS: &str = "(module
   (import \"host\" \"look\" (func $look (param i32)))
   (import \"host\" \"enter\" (func $enter (param i32)))
   (type $t (func (param i32)))
   (table funcref (elem $direct $leaf))
   (elem declare func $indirect)
   (func $leaf (param i32) (call $look (local.get 0)))
   (func $direct (param i32)
     (call $look (i32.const 1))
     (call $leaf (local.get 0))
     (drop (i32.add (i32.const 5) (local.get 0)))
     (call $leaf (i32.const 2)))
   (func $indirect (param i32)
     (call_indirect (type $t) (local.get 0) (i32.const 0))
     (call_indirect (type $t) (i32.const 3) (i32.const 1)))
   (func $reference (param i32) (call_ref $t (local.get 0) (ref.func $indirect)))
   (func $recurse (param i32)
     (if (local.get 0)
       (then (call $recurse (i32.sub (local.get 0) (i32.const 1))))
       (else (call $reference (i32.const 4)))))
   (func $through (param i32)
     (call $enter (local.get 0))
     (call $look (i32.const 6)))
   (func (export \"inner\") (param i32) (call $indirect (local.get 0)))
   (func (export \"run\") (call $recurse (i32.const 7)) (call $through (i32.const 8))))";

fn ways(linker: &mut Linker<()>, look: impl Fn(&Caller<'_, ()>) + Send + Sync + 'static) {
    let look = Arc::new(look);
    let looks = Arc::clone(&look);
    linker
        .func_wrap("host", "look", move |caller: Caller<'_, ()>, _: u32| {
            looks(&caller)
        })
        .expect("free");
    linker
        .func_wrap(
            "host",
            "enter",
            move |mut caller: Caller<'_, ()>, x: u32| {
                look(&caller);
                let inner = caller.get_export("inner").and_then(Extern::into_func);
                let inner = inner.expect("it is exported").typed::<u32, ()>(&caller);
                inner
                    .expect("of this type")
                    .call(&mut caller, x)
                    .expect("it runs");
            },
        )
        .expect("free");
}

/// Runs without listeners, and returns what the engine says.
fn by_the_engine(engine: &Engine, bytes: &[u8]) -> Vec<Vec<Seen>> {
    let stacks = Stacks::default();
    let mut linker = Linker::new(engine);
    let noted = stacks.clone();
    ways(&mut linker, move |caller| noted.note(caller));
    let module = Module::new(engine, bytes).expect("it is compiled");
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, &module).expect("it is made");
    let run = instance.get_typed_func::<(), ()>(&mut store, "run");
    run.expect("it is there")
        .call(&mut store, ())
        .expect("it runs");
    stacks.take()
}

/// Runs with listeners on the imports and some others, and returns what they see.
fn by_listeners(engine: &Engine, bytes: &[u8], chosen: fn(&Definition) -> bool) -> Vec<Vec<Seen>> {
    let stacks = Stacks::default();
    let notes = BoxListener::new(Notes(stacks.clone()));
    let listening = Listening::new(move |function: &Definition| {
        (function.import.is_some() || chosen(function)).then(|| notes.clone())
    });
    let listened = listening
        .compile(engine, bytes.to_vec())
        .expect("it is compiled");
    let mut linker = Linker::new(engine);
    listening.add_to_linker(&mut linker).expect("free");
    ways(&mut linker, |_| {});
    let mut store = Store::new(engine, ());
    let instance = linker
        .instantiate(&mut store, listened.module())
        .expect("it is made");
    let run = instance.get_typed_func::<(), ()>(&mut store, "run");
    run.expect("it is there")
        .call(&mut store, ())
        .expect("it runs");
    stacks.take()
}

#[test]
fn frames_are_those_of_the_engine() {
    let mut config = Config::new();
    config.wasm_function_references(true);
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(1_000));
    let engine = Engine::new(&config).expect("it can be had");
    let bytes = wat::parse_str(WAYS).expect("it is right");
    let expected = by_the_engine(&engine, &bytes);
    assert_eq!(expected.len(), 10);
    assert!(expected.iter().any(|stack| stack.len() > 12));
    let choices: [fn(&Definition) -> bool; 4] = [
        |_| true,
        |_| false,
        |function| function.index.0 % 2 == 0,
        |function| function.index.0 % 3 == 1,
    ];
    for chosen in choices {
        assert_eq!(by_listeners(&engine, &bytes, chosen), expected);
    }
}

/// Takes what is written, and does not write it.
fn swallow(linker: &mut Linker<wasmtime_wasi::p1::WasiP1Ctx>, stacks: Option<Stacks>) {
    use wasmtime_wasi::p1::WasiP1Ctx;
    linker.allow_shadowing(true);
    linker
        .func_wrap(
            "wasi_snapshot_preview1",
            "fd_write",
            move |mut caller: Caller<'_, WasiP1Ctx>,
                  _: u32,
                  iovecs: u32,
                  len: u32,
                  written: u32| {
                if let Some(stacks) = &stacks {
                    stacks.note(&caller);
                }
                let memory = caller.get_export("memory").and_then(Extern::into_memory);
                let memory = memory.expect("it is exported").data_mut(&mut caller);
                let word =
                    |at: usize| u32::from_le_bytes(memory[at..at + 4].try_into().expect("4"));
                let total: u32 = (0..len).map(|n| word((iovecs + 8 * n + 4) as usize)).sum();
                memory[written as usize..][..4].copy_from_slice(&total.to_le_bytes());
                0_u32
            },
        )
        .expect("shadowing is allowed");
}

#[test]
fn lines_are_those_of_the_engine() {
    use wasmtime_wasi::WasiCtxBuilder;
    use wasmtime_wasi::p1;
    let mut config = Config::new();
    config.wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Enable);
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(1_000));
    let engine = Engine::new(&config).expect("it can be had");
    for name in ["fib", "exit7", "inline"] {
        let path = format!("{}/../../guests/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).expect("the guest is there");
        let run = |module: &Module, linker: &Linker<p1::WasiP1Ctx>| {
            let wasi = WasiCtxBuilder::new().args(&[name, "1"]).build_p1();
            let mut store = Store::new(&engine, wasi);
            let instance = linker.instantiate(&mut store, module).expect("it is made");
            let start = instance.get_typed_func::<(), ()>(&mut store, "_start");
            // `exit7` ends with an error.
            let _ = start.expect("it is there").call(&mut store, ());
        };
        let expected = Stacks::default();
        let mut linker = Linker::new(&engine);
        p1::add_to_linker_sync(&mut linker, |wasi| wasi).expect("free");
        swallow(&mut linker, Some(expected.clone()));
        run(
            &Module::new(&engine, &bytes).expect("it is compiled"),
            &linker,
        );
        let expected = expected.take();
        assert!(!expected.is_empty());
        assert!(expected.iter().flatten().any(|frame| frame.2.is_some()));

        for is_all in [true, false] {
            let stacks = Stacks::default();
            let notes = BoxListener::new(Notes(stacks.clone()));
            let listening = Listening::new(move |function: &Definition| {
                let import = function.import.as_ref();
                (is_all && import.is_none()
                    || import.is_some_and(|import| import.name == "fd_write"))
                .then(|| notes.clone())
            });
            let listened = listening
                .compile(&engine, bytes.clone())
                .expect("it is compiled");
            let mut linker = Linker::new(&engine);
            p1::add_to_linker_sync(&mut linker, |wasi| wasi).expect("free");
            swallow(&mut linker, None);
            listening.add_to_linker(&mut linker).expect("free");
            run(listened.module(), &linker);
            assert_eq!(stacks.take(), expected, "{name}, {is_all}");
        }
    }
}

/// wazero's example: which host functions a guest calls, each once.
#[test]
fn host_functions_that_are_called_each_once() {
    let called: Arc<Mutex<std::collections::BTreeSet<String>>> = Arc::default();
    let callees = Arc::clone(&called);
    let once = BoxListener::new(move |call: &Call<'_>| {
        let name = call.definition().debug_name();
        callees.lock().expect("nobody panicked").insert(name);
    });
    let listening =
        Listening::new(move |function: &Definition| function.import.as_ref().map(|_| once.clone()));
    let engine = Engine::default();
    let text = "(module $listener
       (import \"wasi_snapshot_preview1\" \"random_get\" (func $random_get (param i32 i32) (result i32)))
       (import \"wasi_snapshot_preview1\" \"fd_write\" (func $fd_write (param i32 i32 i32 i32) (result i32)))
       (import \"wasi_snapshot_preview1\" \"fd_read\" (func $fd_read (param i32 i32 i32 i32) (result i32)))
       (memory (export \"memory\") 1)
       (func (export \"rand\") (param $len i32)
         (drop (call $random_get (i32.const 4) (local.get $len)))
         (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))))";
    let bytes = wat::parse_str(text).expect("it is right");
    let listened = listening.compile(&engine, bytes).expect("it is compiled");
    let mut linker = Linker::new(&engine);
    listening.add_to_linker(&mut linker).expect("free");
    wasmtime_wasi::p1::add_to_linker_sync(&mut linker, |wasi| wasi).expect("free");
    let wasi = wasmtime_wasi::WasiCtxBuilder::new().build_p1();
    let mut store = Store::new(&engine, wasi);
    let instance = linker
        .instantiate(&mut store, listened.module())
        .expect("it is made");
    let rand = instance.get_typed_func::<u32, ()>(&mut store, "rand");
    let rand = rand.expect("it is there");
    for _ in 0..5 {
        rand.call(&mut store, 4).expect("it runs");
    }
    let called: Vec<String> = called
        .lock()
        .expect("nobody panicked")
        .iter()
        .cloned()
        .collect();
    assert_eq!(
        called,
        [
            "wasi_snapshot_preview1.fd_write",
            "wasi_snapshot_preview1.random_get"
        ]
    );
}

/// wazero's other example: three frames, newest first.
#[test]
fn three_frames_newest_first() {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let printed = Arc::clone(&lines);
    let prints = BoxListener::new(move |call: &Call<'_>| {
        let mut counters = Vec::new();
        for frame in call.stack() {
            let name = frame
                .definition()
                .and_then(|function| function.name.clone());
            let line = format!("function: {}", name.unwrap_or_default());
            printed.lock().expect("nobody panicked").push(line);
            counters.push(frame.pc());
        }
        counters.sort_unstable();
        counters.dedup();
        assert_eq!(counters.len(), 3, "three program counters");
    });
    let listening = Listening::new(move |function: &Definition| {
        (function.name.as_deref() == Some("fn0")).then(|| prints.clone())
    });
    let engine = Engine::default();
    let text =
        "(module (func $fn0) (func $fn1 (call $fn0)) (func $fn2 (export \"run\") (call $fn1)))";
    let bytes = wat::parse_str(text).expect("it is right");
    let listened = listening.compile(&engine, bytes).expect("it is compiled");
    let mut linker = Linker::new(&engine);
    listening.add_to_linker(&mut linker).expect("free");
    let mut store = Store::new(&engine, ());
    let instance = linker
        .instantiate(&mut store, listened.module())
        .expect("it is made");
    let run = instance.get_typed_func::<(), ()>(&mut store, "run");
    run.expect("it is there")
        .call(&mut store, ())
        .expect("it runs");
    let lines = std::mem::take(&mut *lines.lock().expect("nobody panicked"));
    assert_eq!(lines, ["function: fn0", "function: fn1", "function: fn2"]);
}

/// Leaves how deep it is, and checks that its parents say the same.
struct Depths;

struct Depth(usize);

impl Listener for Depths {
    type State = Depth;

    fn before(&self, call: &Call<'_>) -> Depth {
        let parents: Vec<usize> = call
            .parents()
            .map(|parent| parent.state::<Depth>().expect("it is ours").0)
            .collect();
        let depth = parents.len();
        assert_eq!(parents, (0..depth).rev().collect::<Vec<_>>());
        // The listened frames are the parents, in the same order.
        let listened = |definition: &Definition| definition.name.as_deref() != Some("between");
        let frames: Vec<_> = call
            .stack()
            .filter_map(|frame| frame.definition())
            .collect();
        let frames: Vec<_> = frames.into_iter().filter(|f| listened(f)).skip(1).collect();
        let around: Vec<_> = call.parents().map(|parent| parent.definition()).collect();
        assert_eq!(frames, around);
        Depth(depth)
    }

    fn after(&self, call: &Call<'_>, _: wasmscope::listen::Values<'_>, depth: Depth) {
        assert_eq!(call.parents().count(), depth.0);
        // Parameters are those at the call, though the guest has overwritten them.
        for frame in call.stack() {
            let params = frame
                .params()
                .map(|params| params.iter().collect::<Vec<_>>());
            let Some(params) = params else { continue };
            assert_eq!(params, [wasmscope::listen::Value::I32(11)]);
        }
    }
}

#[test]
fn parents_and_parameters_are_there_however_a_function_is_called() {
    let engine = Engine::default();
    let text = "(module
       (type $t (func (param i32)))
       (table funcref (elem $second))
       (elem declare func $third)
       (func $third (param i32) (local.set 0 (i32.const 99)))
       (func $between (param i32) (local.set 0 (i32.const 3))
         (call_ref $t (i32.const 11) (ref.func $third)))
       (func $second (param i32) (local.set 0 (i32.const 2)) (call $between (i32.const 4)))
       (func $first (param i32) (local.set 0 (i32.const 1))
         (call_indirect (type $t) (i32.const 11) (i32.const 0)))
       (func $run (export \"run\") (param i32) (call $first (local.get 0)) (call $third (local.get 0))))";
    let depths = BoxListener::new(Depths);
    let listening = Listening::new(move |function: &Definition| {
        (function.name.as_deref() != Some("between")).then(|| depths.clone())
    });
    let bytes = wat::parse_str(text).expect("it is right");
    let listened = listening.compile(&engine, bytes).expect("it is compiled");
    let mut linker = Linker::new(&engine);
    listening.add_to_linker(&mut linker).expect("free");
    let mut store = Store::new(&engine, ());
    let instance = linker
        .instantiate(&mut store, listened.module())
        .expect("it is made");
    let run = instance.get_typed_func::<u32, ()>(&mut store, "run");
    run.expect("it is there")
        .call(&mut store, 11)
        .expect("it runs");
}

/// Walks at each event, and counts the frames.
struct Walks(Arc<Mutex<Vec<usize>>>);

impl Walks {
    fn walk(&self, call: &Call<'_>) {
        let frames = call.stack().count();
        self.0.lock().expect("nobody panicked").push(frames);
    }
}

impl Listener for Walks {
    type State = ();

    fn before(&self, call: &Call<'_>) {
        self.walk(call);
    }

    fn abort(&self, call: &Call<'_>, _: &wasmscope::listen::Cause<'_>, (): ()) {
        self.walk(call);
        assert_eq!(call.params().len(), 1);
        assert_eq!(call.instance().memory_size(0), None);
    }
}

#[test]
fn frames_that_are_gone_are_not_walked() {
    // The store ends on another thread, when the stack that it ran on is unmapped.
    let walked: Arc<Mutex<Vec<usize>>> = Arc::default();
    let walks = BoxListener::new(Walks(Arc::clone(&walked)));
    let listening = Listening::new(walks);
    let engine = Engine::default();
    let text = "(module
       (func $down (export \"run\") (param i32)
         (if (i32.eqz (local.get 0)) (then unreachable))
         (call $down (i32.sub (local.get 0) (i32.const 1)))))";
    let bytes = wat::parse_str(text).expect("it is right");
    let listened = listening.compile(&engine, bytes).expect("it is compiled");
    let store = std::thread::scope(|scope| {
        let run = || {
            let mut linker = Linker::new(&engine);
            listening.add_to_linker(&mut linker).expect("free");
            let mut store = Store::new(&engine, ());
            let instance = linker.instantiate(&mut store, listened.module());
            let instance = instance.expect("it is made");
            let run = instance.get_typed_func::<u32, ()>(&mut store, "run");
            run.expect("it is there")
                .call(&mut store, 3)
                .expect_err("it traps");
            store
        };
        scope.spawn(run).join().expect("it did not panic")
    });
    assert_eq!(
        std::mem::take(&mut *walked.lock().expect("fine")),
        [1, 2, 3, 4]
    );
    drop(store);
    assert_eq!(std::mem::take(&mut *walked.lock().expect("fine")), [0; 4]);
}

/// What a listener can ask of an event: the instance, the functions of the stack, those of
/// the open calls around it, and the first parameter.
type Asked = (InstanceId, Vec<u32>, Vec<u32>, Option<Value>);

/// Asks everything twice at each event, and compares what the close is told with what the
/// call was told.
struct AsksAgain(Arc<AtomicU64>);

impl AsksAgain {
    fn ask(call: &Call<'_>) -> Asked {
        let once = || {
            let stack = call.stack();
            let functions = stack.map(|frame| frame.definition().expect("it is known").index.0);
            let parents = call.parents().map(|parent| parent.definition().index.0);
            (
                call.instance().id(),
                functions.collect::<Vec<_>>(),
                parents.collect::<Vec<_>>(),
                call.params().get(0),
            )
        };
        let asked = once();
        assert_eq!(once(), asked);
        asked
    }
}

impl Listener for AsksAgain {
    type State = Asked;

    fn before(&self, call: &Call<'_>) -> Asked {
        let asked = Self::ask(call);
        assert_eq!(asked.1[1..], asked.2);
        if let Some(parent) = call.parent() {
            let around = parent
                .state::<Asked>()
                .expect("what the call around was told");
            assert_eq!(around.1, asked.2);
        }
        asked
    }

    fn after(&self, call: &Call<'_>, results: Values<'_>, told: Asked) {
        assert_eq!(Self::ask(call), told);
        assert_eq!(results.types(), call.definition().results);
        assert_eq!(results.len(), 1);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_close_is_told_what_its_call_was_told() {
    let closed = Arc::new(AtomicU64::new(0));
    let listener = BoxListener::new(AsksAgain(Arc::clone(&closed)));
    let listening = Listening::new(move |_: &Definition| Some(listener.clone()));
    let engine = Engine::default();
    let text = "(module
        (func $odd (param i32) (result i64)
          (if (result i64) (local.get 0)
            (then (call $even (i32.sub (local.get 0) (i32.const 1)) (i64.const 7)))
            (else (i64.const 0))))
        (func $even (param i32 i64) (result i64)
          (if (result i64) (local.get 0)
            (then (i64.add (call $odd (i32.sub (local.get 0) (i32.const 1)))
                           (call $odd (i32.sub (local.get 0) (i32.const 1)))))
            (else (i64.const 1))))
        (func (export \"run\") (param i32) (result i64) (call $odd (local.get 0))))";
    let guest = listening
        .compile(&engine, wat::parse_str(text).expect("valid"))
        .expect("it compiles");
    let mut linker = Linker::new(&engine);
    listening
        .add_to_linker(&mut linker)
        .expect("nothing is there");
    let mut store = Store::new(&engine, ());
    let instance = linker
        .instantiate(&mut store, guest.module())
        .expect("all imports");
    let run = instance
        .get_typed_func::<u32, u64>(&mut store, "run")
        .expect("its type");
    assert_eq!(run.call(&mut store, 12).expect("it returns"), 0);
    // One call of `run`; of `$odd` 1 + 2 + ... + 64, of `$even` 1 + 2 + ... + 32.
    assert_eq!(closed.load(Ordering::Relaxed), 1 + 127 + 63);
}
