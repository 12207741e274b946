//! Reads bytes as a core dump, whole and as far as it goes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmscope_coredump::fuzz::fuzz_core_dump(data));
