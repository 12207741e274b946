//! Guests that trap in engines that keep what there was.

use wasmscope::core_dump::model::CoreDump;
use wasmtime::{Config, Engine, Error, Module, Store, WasmCoreDump};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p1::{self, WasiP1Ctx};

/// Returns the bytes of a guest in the repository.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/");
    std::fs::read(format!("{folder}{name}")).unwrap()
}

/// Makes an engine whose traps carry core dumps with stacks of any depth.
pub(crate) fn engine() -> Engine {
    Engine::new(&config()).unwrap()
}

pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config.coredump_on_trap(true);
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(1 << 20));
    config
}

/// Runs a command with WASI that traps.
pub(crate) fn run_command(bytes: &[u8], args: &[&str]) -> (Store<WasiP1Ctx>, Module, Error) {
    run_command_in(&engine(), bytes, args)
}

/// As [`run_command`], in an engine of one's own.
pub(crate) fn run_command_in(
    engine: &Engine,
    bytes: &[u8],
    args: &[&str],
) -> (Store<WasiP1Ctx>, Module, Error) {
    let module = Module::new(engine, bytes).unwrap();
    let mut linker = wasmtime::Linker::new(engine);
    p1::add_to_linker_sync(&mut linker, |context| context).unwrap();
    let context = WasiCtx::builder().args(args).build_p1();
    let mut store = Store::new(engine, context);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let start = instance
        .get_typed_func::<(), ()>(&mut store, "_start")
        .unwrap();
    let error = start.call(&mut store, ()).unwrap_err();
    (store, module, error)
}

/// Returns what the engine's own writer makes of an error.
pub(crate) fn engines_dump<T: 'static>(store: &mut Store<T>, error: &Error, name: &str) -> Vec<u8> {
    let dump = error.downcast_ref::<WasmCoreDump>().unwrap();
    dump.serialize(store, name)
}

/// Returns a dump as a file.
pub(crate) fn file(dump: &CoreDump<'_>) -> Vec<u8> {
    let mut file = Vec::new();
    dump.write(&mut file).unwrap();
    file
}
