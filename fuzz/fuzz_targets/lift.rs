//! Lifts component values of any type from any words and memory.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmscope_listen::fuzz::fuzz_lift(data));
