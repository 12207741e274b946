//! A synchronous host: runs a WASI guest and leaves a profile that opens in the
//! Firefox Profiler, with the hottest functions on standard error.
//!
//! ```sh
//! cargo run --release --example sync_host -- guests/report.wasm profile.json.gz
//! ```

#![allow(clippy::print_stderr, reason = "a program that says what it did")]

use std::env;
use std::error::Error;
use wasmscope::{Clock, Format, Guest, Profiler};
use wasmtime::{Engine, Linker, Module, Store};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};

fn main() -> Result<(), Box<dyn Error>> {
    let argument = |index, otherwise: &str| env::args().nth(index).unwrap_or(otherwise.to_owned());
    run(
        &argument(1, "guests/report.wasm"),
        &argument(2, "profile.json.gz"),
        &argument(3, "100"),
    )
}

pub(crate) fn run(path: &str, output: &str, scale: &str) -> Result<(), Box<dyn Error>> {
    // What the host did before.
    let bytes = std::fs::read(path)?;
    let engine = Engine::default();
    let module = Module::new(&engine, &bytes)?;
    let mut linker: Linker<WasiP1Ctx> = Linker::new(&engine);
    p1::add_to_linker_sync(&mut linker, |context| context)?;
    let wasi = WasiCtxBuilder::new()
        .args(&[path, scale])
        .inherit_stdio()
        .build_p1();
    let mut store = Store::new(&engine, wasi);
    let instance = linker.instantiate(&mut store, &module)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;

    // What it does to see where the time goes.
    let profiler = Profiler::builder()
        .product(path)
        .clock(Clock::Cpu)
        .start()?;
    let guest = profiler.register(Guest::module(path, &module).bytes(bytes))?;
    let thread = profiler.attach_thread()?;
    let result = start.call(&mut store, ());
    drop(thread);
    let profile = profiler.take_profile();
    profile.save(output, Format::from_path(output.as_ref())?)?;

    for totals in profile.hottest(5) {
        let name = &profile.function(totals.function).name;
        eprintln!("{:>8.1?}  {name}", totals.own.weight);
    }
    drop(guest);
    match result {
        // A guest that calls `exit` ends in an error that says with which status.
        Err(error)
            if error
                .downcast_ref::<I32Exit>()
                .is_none_or(|exit| exit.0 != 0) =>
        {
            Err(error.into())
        }
        _ => Ok(()),
    }
}
