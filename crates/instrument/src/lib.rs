//! Rewrites WebAssembly modules and [components](component) so that their host hears of
//! calls.
//!
//! ```
//! use wasmscope_instrument::{Module, Options};
//!
//! let wasm = wat::parse_str(
//!     r#"(module
//!         (import "host" "log" (func $log (param i32)))
//!         (func $answer (export "answer") (result i32)
//!             (call $log (i32.const 1))
//!             (i32.const 42)))"#,
//! )?;
//! let module = Module::parse(&wasm)?;
//! let [log, answer] = module.functions() else { panic!("two functions") };
//! assert_eq!(log.import, Some(("host", "log")));
//! assert_eq!(answer.exports, ["answer"]);
//!
//! let rewritten = module.rewrite(&Options::default(), &|function| function == answer.index)?;
//! assert_eq!(rewritten.probes, [answer.index]);
//! // Offsets of the rewritten code lead back to the original.
//! let body = answer.body.clone().expect("it is defined");
//! let last = wasmscope_address::WasmOffset(body.end as u32 - 1);
//! let moved = rewritten.map.rewritten(last).expect("it was copied");
//! assert_eq!(rewritten.map.original(moved), Some(last));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a rewritten module imports and exports is described in [`hooks`]. Functions
//! without a probe stay what they are, but for the indices of functions: hooks are
//! imported behind the module's own imports, so the functions that it defines move up.
//! Every other index stays.
//!
//! What hears the hooks, and engines, are left to others.

mod additions;
mod body;
mod code;
pub mod component;
mod control;
pub mod dwarf;
mod encoding;
mod error;
pub mod events;
mod function;
#[doc(hidden)]
pub mod fuzz;
mod guarded;
mod hierarchy;
pub mod hooks;
mod indices;
mod map;
mod metadata;
mod module;
mod names;
mod options;
mod plan;
mod probe;
mod rewritten;
mod sections;

pub use error::Error;
pub use function::{Function, Signature};
pub use hierarchy::Hierarchy;
pub use map::Map;
pub use module::Module;
pub use options::{Dwarf, Exceptions, Options};
pub use plan::Skipped;
pub use rewritten::Rewritten;
pub use wasmparser::{RefType, ValType};
