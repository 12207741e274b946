//! Runs modules that nobody wrote, with and without probes: what hooks tell is what the
//! engine's debugger saw.
#![no_main]
#![allow(dead_code, reason = "the tests use more of these modules")]

#[path = "../../crates/wasmscope/tests/support/debugger.rs"]
mod debugger;
#[path = "../../crates/wasmscope/tests/support/generated.rs"]
mod generated;
#[path = "../../crates/wasmscope/tests/support/hooks.rs"]
mod hooks;
#[path = "../../crates/wasmscope/tests/support/script/value.rs"]
mod value;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    generated::check(data);
});
