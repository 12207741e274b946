//! The wasmscope program.
fn main() {}
