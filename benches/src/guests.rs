//! The guests that the benches run, and how they are run.

use std::path::PathBuf;
use wasmtime::{Config, Engine, Linker, Module, Store};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

/// Goes down `depth` frames and makes `steps` steps there; each frame adds to the
/// result on its way up, so that none is a tail call. `capture` calls the host at
/// that depth instead.
pub const DESCEND: &str = r#"(module $descend
  (import "bench" "capture" (func $host))
  (func $work (param $steps i64) (result i64)
    (local $x i64)
    (loop $again
      (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1)))
      (br_if $again (i64.ne (local.tee $steps (i64.sub (local.get $steps) (i64.const 1))) (i64.const 0))))
    (local.get $x))
  (func $down (param $left i32) (param $steps i64) (result i64)
    (if (result i64) (i32.le_u (local.get $left) (i32.const 2))
      (then (call $work (local.get $steps)))
      (else (i64.add (call $down (i32.sub (local.get $left) (i32.const 1)) (local.get $steps)) (i64.const 1)))))
  (func (export "descend") (param $depth i32) (param $steps i64) (result i64)
    (i64.add (call $down (i32.sub (local.get $depth) (i32.const 1)) (local.get $steps)) (i64.const 1)))
  (func $down_to_host (param $left i32) (result i64)
    (if (result i64) (i32.le_u (local.get $left) (i32.const 1))
      (then (call $host) (i64.const 0))
      (else (i64.add (call $down_to_host (i32.sub (local.get $left) (i32.const 1))) (i64.const 1)))))
  (func (export "capture") (param $depth i32) (result i64)
    (i64.add (call $down_to_host (i32.sub (local.get $depth) (i32.const 1))) (i64.const 1))))"#;

/// Returns the path of a file under `guests/`.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../guests")
        .join(name)
}

/// Returns an engine that compiles epoch checks into guests.
///
/// # Errors
///
/// Those of [`Engine::new`].
pub fn engine_with_epochs() -> wasmtime::Result<Engine> {
    Engine::new(Config::new().epoch_interruption(true))
}

/// A WASI program, compiled for one engine.
#[expect(missing_debug_implementations, reason = "a linker cannot be shown")]
pub struct Program {
    name: String,
    bytes: Vec<u8>,
    module: Module,
    linker: Linker<WasiP1Ctx>,
}

impl Program {
    /// Compiles `guests/NAME.wasm`.
    ///
    /// # Errors
    ///
    /// When it is not there or does not compile.
    pub fn compile(engine: &Engine, name: &str) -> wasmtime::Result<Self> {
        let bytes = std::fs::read(path(&format!("{name}.wasm")))?;
        let module = Module::new(engine, &bytes)?;
        let mut linker = Linker::new(engine);
        p1::add_to_linker_sync(&mut linker, |context| context)?;
        Ok(Self {
            name: name.to_owned(),
            bytes,
            module,
            linker,
        })
    }

    /// Returns its compiled module.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Returns the binary.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes a fresh store with an instance to run once, at `scale`.
    ///
    /// # Errors
    ///
    /// When it cannot be instantiated.
    pub fn prepare(&self, scale: u32) -> wasmtime::Result<Prepared> {
        let output = MemoryOutputPipe::new(1 << 16);
        let context = WasiCtxBuilder::new()
            .arg(&self.name)
            .arg(scale.to_string())
            .stdout(output.clone())
            .build_p1();
        let mut store = Store::new(self.module.engine(), context);
        // Harmless where there are no epochs; instantiation may run guest code.
        store.set_epoch_deadline(1 << 40);
        let instance = self.linker.instantiate(&mut store, &self.module)?;
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        Ok(Prepared {
            store,
            start,
            output,
        })
    }
}

/// A program about to run.
#[expect(missing_debug_implementations, reason = "its store cannot be shown")]
pub struct Prepared {
    /// Its store, for callbacks to be set.
    pub store: Store<WasiP1Ctx>,
    start: wasmtime::TypedFunc<(), ()>,
    output: MemoryOutputPipe,
}

impl Prepared {
    /// Runs it to its end.
    ///
    /// # Errors
    ///
    /// When it traps; leaving with status 0 is no error.
    pub fn run(&mut self) -> wasmtime::Result<()> {
        match self.start.call(&mut self.store, ()) {
            Err(error) => match error.downcast_ref::<wasmtime_wasi::I32Exit>() {
                Some(wasmtime_wasi::I32Exit(0)) => Ok(()),
                _ => Err(error),
            },
            Ok(()) => Ok(()),
        }
    }

    /// Returns what it printed.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.contents()).into_owned()
    }
}
