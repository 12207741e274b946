//! A synchronous host: runs a guest's exported function and leaves two profiles.
//!
//! ```sh
//! cargo run --release --example sync_host -- guests/reactor.wasm
//! ```

use std::env;
use wasmscope::{Clock, Guest, Profiler};
use wasmtime::{Engine, Linker, Module, Store};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{self, WasiP1Ctx};

fn main() -> wasmtime::Result<()> {
    let path = env::args()
        .nth(1)
        .unwrap_or_else(|| "guests/report.wasm".to_owned());
    let bytes = std::fs::read(&path)?;

    // What the host did before.
    let engine = Engine::default();
    let module = Module::new(&engine, &bytes)?;
    let mut linker: Linker<WasiP1Ctx> = Linker::new(&engine);
    p1::add_to_linker_sync(&mut linker, |context| context)?;
    let wasi = WasiCtxBuilder::new().inherit_stdio().build_p1();
    let mut store = Store::new(&engine, wasi);
    let instance = linker.instantiate(&mut store, &module)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;

    // What it does to see where the time goes.
    let profiler = Profiler::builder()
        .product(&path)
        .clock(Clock::Cpu)
        .start()?;
    let _guest = profiler.register(Guest::module(&path, &module).bytes(bytes))?;
    let thread = profiler.attach_thread()?;
    let result = start.call(&mut store, ());
    drop(thread);
    let profile = profiler.take_profile();
    for totals in profile.hottest(10) {
        let function = profile.function(totals.function);
        eprintln!("{totals:?} {}", function.name);
    }
    eprintln!("{:?}", profile.accounting());
    result
}
