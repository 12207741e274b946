//! Finds the windows of bytes as code, and walks damaged stacks through them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmscope_walk::fuzz::fuzz_walk(data));
