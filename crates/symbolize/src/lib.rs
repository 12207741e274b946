//! Names and source lines for WebAssembly code.
//!
//! Given the original bytes of a core module or component, [`Symbols`] says
//! which function an index is, and which source lines an instruction comes from,
//! inlined functions included:
//!
//! ```
//! use wasmscope_address::{FuncIndex, ModuleIndex, WasmOffset};
//! use wasmscope_symbolize::Symbols;
//!
//! // (module $math
//! //   (import "env" "log" (func))
//! //   (func $square call 0))
//! let wasm = b"\0asm\x01\0\0\0\
//!     \x01\x04\x01\x60\0\0\
//!     \x02\x0b\x01\x03env\x03log\0\0\
//!     \x03\x02\x01\0\
//!     \x0a\x06\x01\x04\0\x10\0\x0b\
//!     \0\x17\x04name\0\x05\x04math\x01\x09\x01\x01\x06square";
//!
//! let symbols = Symbols::new(wasm); // parses nothing yet
//! let module = ModuleIndex(0);
//! assert_eq!(symbols.module_name(module).as_deref(), Some("math"));
//! assert_eq!(&*symbols.function_name(module, FuncIndex(1)).display, "square");
//! assert_eq!(&*symbols.function_name(module, FuncIndex(0)).display, "<wasm function 0>");
//!
//! // The instruction at byte 0x24 of the file: `call 0`.
//! let call = WasmOffset(0x24);
//! let import = symbols.called_import(module, call).expect("calls an import");
//! assert_eq!((&*import.module, &*import.name), ("env", "log"));
//! // There is no DWARF in this module, so one frame with a name and no line.
//! let frames = symbols.frames(module, FuncIndex(1), call);
//! assert_eq!(frames.len(), 1);
//! assert_eq!((&*frames[0].function, frames[0].line), ("square", None));
//! assert_eq!(symbols.problem(), None);
//! ```
//!
//! # What it costs
//!
//! Making a [`Symbols`] costs nothing. The first name reads the section headers
//! and the name section; the first line reads the header of each DWARF unit and
//! then only the unit that is asked about. Answers are kept, so that a profile
//! that asks about the same instructions again and again pays one look-up. The
//! example `cost` measures all of this on a file of your own or on a made-up one
//! of 100 MB.
//!
//! Memory: the bytes, the last 65,536 answers (about 20 MB), and tables of the
//! units that were asked about, of at most 16 times the size of the DWARF plus
//! 16 MB; in practice less than its size.
//!
//! # What it reads
//!
//! DWARF 2 to 5 in custom sections, of the file itself or of another one
//! ([`Symbols::with_debug_bytes`], [`Symbols::with_debug_loader`]). It does not
//! read split DWARF (`.dwo`), supplementary files, `.debug_types` (nothing there
//! has an address), nor source maps. Functions and lines at address 0 of the code
//! section are what old linkers left of removed functions, and are ignored.
//!
//! # Which offsets
//!
//! Offsets count from the start of the file, for a component the component's
//! file, as in wasmtime's address maps. DWARF counts from the start of each
//! module's code section contents; the conversion happens here.
//!
//! # Bad input
//!
//! The bytes are not trusted: no question panics, recurses deeply, or takes more
//! time and memory than the size of the file explains. Questions never fail;
//! what cannot be read is left out of the answer, and [`Symbols::problem`] says
//! what was broken.

mod bodies;
mod bytes;
mod demangle;
mod dwarf;
mod error;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod imports;
mod layout;
mod names;
mod operator;
mod symbols;

pub use error::Error;
pub use frame::{FunctionName, SourceFrame};
pub use imports::Import;
pub use operator::Operator;
pub use symbols::Symbols;
