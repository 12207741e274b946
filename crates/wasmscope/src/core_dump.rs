//! Core dumps of guests: taken when one fails or while it runs, saved, and
//! [named](Modules) when they are read.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use wasmscope::core_dump::{self, Dumper, Modules, model::CoreDump};
//! use wasmscope::{Explainer, Guest};
//! use wasmtime::{Config, Engine, Instance, Module, Store};
//!
//! let engine = Engine::new(Config::new().coredump_on_trap(true))?;
//! let bytes = wat::parse_str("(module (memory 1) (data (i32.const 8) \"hello\")
//!     (func $fail (export \"fail\") (unreachable)))")?;
//! let module = Module::new(&engine, &bytes)?;
//! let explainer = Explainer::new();
//! let _guest = explainer.register(Guest::module("guest.wasm", &module).bytes(bytes.clone()))?;
//! let mut store = Store::new(&engine, ());
//! let instance = Instance::new(&mut store, &module, &[])?;
//! let fail = instance.get_typed_func::<(), ()>(&mut store, "fail")?;
//! let error = fail.call(&mut store, ()).unwrap_err();
//!
//! // A dump borrows the guest's memories, until it is written.
//! let dumper = Dumper::new("service", &explainer);
//! # let path = std::env::temp_dir().join(format!("wasmscope-{}.core", std::process::id()));
//! core_dump::save(&dumper.dump(&mut store, &error)?, &path)?;
//!
//! // Later, elsewhere:
//! let file = std::fs::read(&path)?;
//! # std::fs::remove_file(path)?;
//! let dump = CoreDump::read(&file)?;
//! let mut modules = Modules::new();
//! modules.add("guest.wasm", bytes);
//! assert_eq!(&*modules.frames(&dump, &dump.threads[0])[0].name, "fail");
//! let mut hello = [0; 5];
//! assert!(dump.memories[0].read(8, &mut hello));
//! assert_eq!(&hello, b"hello");
//! # Ok(()) }
//! ```

mod contents;
mod definitions;
mod dumper;
mod instances;
mod modules;
mod shared;
mod stack;
mod trap;

#[doc(inline)]
pub use dumper::Dumper;
#[doc(inline)]
pub use modules::Modules;
pub use wasmscope_coredump as model;

use crate::Error;
use model::CoreDump;
use std::path::Path;

/// Saves a dump to a file, whole or not at all: when this fails, a file that was there before
/// is as it was. Contents of memories are written from where they are.
///
/// # Errors
///
/// [`Error::SaveDump`], which names the file.
pub fn save(dump: &CoreDump<'_>, path: impl AsRef<Path>) -> Result<(), Error> {
    use wasmscope_profile::Error::Write;
    let saved = wasmscope_profile::save_with(path.as_ref(), |mut out| {
        dump.write(&mut out).map_err(|source| Write {
            format: "core dump",
            source,
        })
    });
    saved.map_err(Error::SaveDump)
}
