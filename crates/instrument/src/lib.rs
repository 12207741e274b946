//! Rewrites WebAssembly modules so that their host hears of calls.

pub mod dwarf;
