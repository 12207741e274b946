//! Components that people run, with a listener on every function.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmscope::listen::{BoxListener, Call, Cause, Definition, InstanceId, Listener, Values};
use wasmscope::{Batch, EventKind, EventStream, Listening, Taken};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::bindings::sync::Command;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};

/// Counts, and checks that what was opened last is closed first: there is one stack.
#[derive(Clone, Default)]
struct Count(Arc<Counts>);

#[derive(Default)]
struct Counts {
    opens: AtomicU64,
    open: AtomicU64,
    deferred: AtomicU64,
    aborts: AtomicU64,
}

impl Count {
    fn close(&self, number: u64) {
        let open = self.0.open.fetch_sub(1, Ordering::Relaxed);
        assert_eq!(open, number, "the newest is closed first");
    }
}

impl Listener for Count {
    type State = u64;

    fn before(&self, call: &Call<'_>) -> u64 {
        let counts = &*self.0;
        counts.opens.fetch_add(1, Ordering::Relaxed);
        if call.is_deferred() {
            counts.deferred.fetch_add(1, Ordering::Relaxed);
        }
        counts.open.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn after(&self, _: &Call<'_>, _: Values<'_>, number: u64) {
        self.close(number);
    }

    fn tail_call(&self, _: &Call<'_>, number: u64) {
        self.close(number);
    }

    fn abort(&self, _: &Call<'_>, _: &Cause<'_>, number: u64) {
        self.0.aborts.fetch_add(1, Ordering::Relaxed);
        self.close(number);
    }
}

struct Host {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Runs a command; returns whether it succeeded, and what it wrote.
fn run(linker: &Linker<Host>, component: &Component) -> (bool, String) {
    run_and(linker, component, |_| {})
}

/// The same, and does something with the store at the end.
fn run_and(
    linker: &Linker<Host>,
    component: &Component,
    end: impl FnOnce(&mut Store<Host>),
) -> (bool, String) {
    let stdout = MemoryOutputPipe::new(1 << 20);
    let host = Host {
        wasi: WasiCtx::builder()
            .stdout(stdout.clone())
            .arg("guest")
            .build(),
        table: ResourceTable::new(),
    };
    let mut store = Store::new(component.engine(), host);
    let command = Command::instantiate(&mut store, component, linker).expect("it links");
    let result = command
        .wasi_cli_run()
        .call_run(&mut store)
        .expect("it runs");
    end(&mut store);
    drop(store);
    let written = String::from_utf8(stdout.contents().to_vec()).expect("it is text");
    (result.is_ok(), written)
}

fn read(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../guests")
        .join(name);
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run guests/fetch-real", path.display()))
}

/// Runs a component as it is, and with a listener on every function, of which it has at least
/// so many, and calls as many.
fn check(name: &str, functions: usize, calls: u64) {
    let bytes = read(name);
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker).expect("free");
    let original = Component::new(&engine, &bytes).expect("it is a component");
    let expected = run(&linker, &original);
    assert!(expected.0);

    let count = Count::default();
    let listener = BoxListener::new(count.clone());
    let listening = Listening::new(move |_: &Definition| Some(listener.clone()));
    let guest = listening
        .compile_component(&engine, bytes)
        .expect("it is a component");
    assert!(
        guest.probed().count() >= functions,
        "{}",
        guest.probed().count()
    );
    listening
        .add_to_component_linker(&mut linker)
        .expect("free");
    assert_eq!(run(&linker, guest.component()), expected);
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let opens = of(&count.0.opens);
    assert!(opens >= calls, "{opens}");
    assert_eq!(of(&count.0.open), 0, "all are closed");
    assert!(of(&count.0.deferred) > 0, "strings come in by realloc");
    assert_eq!(of(&count.0.aborts), 0, "nothing fails");
    assert_eq!(guest.lost(), 0);
}

#[test]
fn a_component_of_rust() {
    check("component.wasm", 50, 500);
}

#[test]
fn python() {
    check("real/python-component.wasm", 13_000, 1_000_000);
}

#[test]
fn javascript() {
    check("real/js-component.wasm", 1_000, 1_000_000);
}

/// What instances have open, by their own events, and how many events there were.
#[derive(Default)]
struct Kept {
    open: HashMap<InstanceId, Vec<u32>>,
    /// Instances of which something is lost, so that what closes may not have been opened.
    lost: HashSet<InstanceId>,
    events: u64,
}

impl Kept {
    /// Takes a batch. The newest call that is open is closed first, unless what was before is
    /// lost.
    fn take(&mut self, batch: &Batch<'_>) {
        let open = self.open.entry(batch.instance()).or_default();
        if batch.lost() > 0 {
            open.clear();
            self.lost.insert(batch.instance());
        }
        for event in batch.events() {
            self.events += 1;
            assert!(batch.definition(event).is_some(), "{event:?}");
            match (event.kind, open.last()) {
                (EventKind::Open, _) => open.push(event.probe),
                (_, Some(newest)) => {
                    assert_eq!(*newest, event.probe, "the newest is closed first");
                    open.pop();
                }
                (_, None) => assert!(
                    self.lost.contains(&batch.instance()),
                    "what was not opened is closed"
                ),
            }
        }
    }
}

/// Runs a component as it is, and with the events of every function kept, of which there are
/// at least so many.
fn check_kept(name: &str, events: u64) {
    let bytes = read(name);
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker).expect("free");
    let original = Component::new(&engine, &bytes).expect("it is a component");
    let expected = run(&linker, &original);
    let kept = Arc::new(Mutex::new(Kept::default()));
    let sink = Arc::clone(&kept);
    let stream = EventStream::new(
        |_: &Definition| true,
        move |batch: &Batch<'_>| {
            sink.lock().expect("nothing panicked here").take(batch);
            Taken::All
        },
    );
    let guest = stream
        .compile_component(&engine, bytes)
        .expect("it is a component");
    stream.add_to_component_linker(&mut linker).expect("free");
    let result = run_and(&linker, guest.component(), |store| stream.drain(store));
    assert_eq!(result, expected);
    let kept = kept.lock().expect("nothing panicked here");
    assert!(kept.events >= events, "{}", kept.events);
    if stream.lost() == 0 {
        assert!(kept.open.values().all(Vec::is_empty), "all are closed");
    }
}

#[test]
fn events_of_a_component_of_rust() {
    check_kept("component.wasm", 1_000);
}

#[test]
fn events_of_python() {
    check_kept("real/python-component.wasm", 2_000_000);
}
