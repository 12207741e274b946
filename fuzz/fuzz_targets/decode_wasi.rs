//! Decodes WASI calls with any parameters in any memory.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmscope_trace::fuzz::fuzz_wasi(data));
