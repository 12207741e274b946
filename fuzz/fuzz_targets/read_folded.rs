//! Reads bytes as folded stacks.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmscope_profile::fuzz::fuzz_folded(data));
