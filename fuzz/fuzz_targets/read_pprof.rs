//! Reads bytes as a pprof profile.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmscope_profile::fuzz::fuzz_pprof(data));
