//! Rewrites any bytes as a module, with any choice of probes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmscope_instrument::fuzz::fuzz_instrument(data));
