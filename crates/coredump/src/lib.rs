//! Wasm core dumps: what a guest was when it failed.
//!
//! A core dump is a file in the Wasm binary format that says which modules and instances
//! there were, where each thread was, and what memories and globals held. [`CoreDump`] is
//! the model of one; it is read from bytes and written to anything:
//!
//! ```
//! use wasmscope_address::FuncIndex;
//! use wasmscope_coredump::{CodeOffset, CoreDump, Frame, Instance, Memory, MemoryType, Thread};
//!
//! // What an engine would say of a guest with one memory that failed in function 7.
//! let contents = [0, 0, 42, 0];
//! let ty = MemoryType { pages: 4, page_size_log2: 0, ..MemoryType::default() };
//! let dump = CoreDump {
//!     name: "service".into(),
//!     modules: vec!["guest.wasm".into()],
//!     instances: vec![Instance { module: 0, memories: vec![Some(0)], globals: vec![] }],
//!     memories: vec![Memory::of(ty, &contents)],
//!     threads: vec![Thread {
//!         name: "main".into(),
//!         frames: vec![Frame {
//!             instance: Some(0),
//!             function: FuncIndex(7),
//!             code_offset: CodeOffset(0x1c),
//!             locals: vec![],
//!             stack: vec![],
//!         }],
//!         cut: false,
//!     }],
//!     ..CoreDump::default()
//! };
//! let mut file = Vec::new();
//! dump.write(&mut file)?;
//!
//! let read = CoreDump::read(&file).expect("what was written reads back");
//! assert_eq!(read, dump);
//! let frame = &read.threads[0].frames[0];
//! assert_eq!(read.module_name(frame), Some("guest.wasm"));
//! let mut bytes = [0; 2];
//! assert!(read.memories[0].read(2, &mut bytes));
//! assert_eq!(bytes, [42, 0]);
//! # std::io::Result::Ok(())
//! ```
//!
//! # The format
//!
//! That of the [tool conventions], as of May 2023. Beyond it:
//!
//! - An index of `u32::MAX` says that the writer did not know it, as in wasmtime's dumps;
//!   here it is `None`.
//! - A custom section `wasmscope.cut` lists the threads whose older frames are missing.
//!   Other tools skip it.
//! - Files from before there were instances, whose frames name a function only, are read.
//!   Whether a file is one of those, its lack of a `coreinstances` section and the lengths
//!   of its frames tell.
//!
//! # Bad input
//!
//! The bytes are not trusted: nothing panics, and nothing takes more memory than a small
//! multiple of the file, whatever the file claims; a memory's size is a number until somebody
//! reads. [`CoreDump::read`] refuses what is broken, and says where. [`CoreDump::recover`]
//! returns what can be read, with what was broken first.
//!
//! [tool conventions]: https://github.com/WebAssembly/tool-conventions/blob/main/Coredump.md

mod constant;
mod dump;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod global;
mod memory;
mod read;
mod thread;
mod value;
mod write;

pub use dump::{CoreDump, Instance};
pub use error::Error;
pub use global::{Constant, Global, HeapType, ReferenceType, ValueType};
pub use memory::{Memory, MemoryType, Segment};
pub use read::Recovered;
pub use thread::{CodeOffset, Frame, Thread};
pub use value::Value;
