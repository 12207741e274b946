//! Components that people run, with a listener on every function.

use crate::ledger::Ledger;
use std::path::PathBuf;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::bindings::sync::Command;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};

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
    drop(store);
    let written = String::from_utf8(stdout.contents().to_vec()).expect("it is text");
    (result.is_ok(), written)
}

/// Runs a component as it is, and with a listener on every function, of which it has at least
/// so many, and calls as many.
fn check(name: &str, functions: usize, calls: u64) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../guests")
        .join(name);
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run guests/fetch-real", path.display()));
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker).expect("free");
    let original = Component::new(&engine, &bytes).expect("it is a component");
    let expected = run(&linker, &original);
    assert!(expected.0);

    let ledger = Ledger::default();
    let listening = ledger.listening();
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
    assert!(ledger.settled() >= calls, "{}", ledger.settled());
    assert_eq!(guest.lost(), 0);
}

#[test]
fn a_component_of_rust() {
    check("component.wasm", 50, 500);
}
