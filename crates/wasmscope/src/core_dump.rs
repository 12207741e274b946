//! Core dumps of guests: [named](Modules) when they are read.

mod modules;

#[doc(inline)]
pub use modules::Modules;
pub use wasmscope_coredump as model;
