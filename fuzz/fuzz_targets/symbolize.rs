//! Asks every question about bytes that pretend to be Wasm.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmscope_symbolize::fuzz::fuzz_symbols(data));
