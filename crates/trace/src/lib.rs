//! Prints the calls of WebAssembly guests as they happen: nested, with values, calls
//! of WASI decoded as `strace` does it for system calls.
//!
//! A [`Tracer`] is a factory of listeners. Here it hears of a guest that a test plays;
//! in a program it is given to whoever instruments a module.
//!
//! ```
//! use wasmscope_listen::fake::Guest;
//! use wasmscope_listen::{Definition, FuncIndex, Value, ValueType};
//! use wasmscope_trace::{Format, Tracer};
//!
//! # #[derive(Clone, Default)]
//! # struct Output(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
//! # impl std::io::Write for Output {
//! #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
//! #         self.0.lock().unwrap().extend_from_slice(bytes);
//! #         Ok(bytes.len())
//! #     }
//! #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! # }
//! # let output = Output::default();
//! let fib = Definition::guest(FuncIndex(0)).named("fib").typed([ValueType::I32], [ValueType::I32]);
//! let tracer = Tracer::builder().format(Format::Text).write_to(output.clone());
//!
//! let mut guest = Guest::new([fib], &tracer);
//! let ended = guest.call(FuncIndex(0), &[Value::I32(2)], |guest| {
//!     guest.call(FuncIndex(0), &[Value::I32(1)], |_| Ok(vec![Value::I32(1)]))
//! });
//! assert!(ended.is_ok());
//!
//! assert_eq!(tracer.finish()?.closes, 2);
//! # let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
//! assert_eq!(text, "fib(2)\n  fib(1) = 1\nfib = 1\n");
//! # Ok::<(), wasmscope_trace::Error>(())
//! ```
//!
//! What you supply: an output, and whoever drives listeners. What you get: every call,
//! opened and closed, in one of the [`Format`]s, in bounded memory at any length. What it
//! leaves to others: engines, files, which functions match a pattern.
//!
//! [`wasi`] decodes calls on its own, without a trace.

mod builder;
mod chrome;
mod datum;
mod error;
mod event;
mod format;
#[doc(hidden)]
pub mod fuzz;
mod instance;
mod json;
mod memory;
mod output;
mod sink;
mod stacks;
mod subject;
mod text;
mod threads;
mod tracer;
mod typed;
pub mod wasi;

pub use builder::Builder;
pub use datum::Datum;
pub use error::Error;
pub use format::Format;
pub use memory::{Memory, NoMemory};
pub use tracer::{Counts, Tracer};
