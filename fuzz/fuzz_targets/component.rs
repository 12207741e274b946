//! Rewrites any bytes as a component, with any choice of probes, and reads them as events
//! that it deferred.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    wasmscope_instrument::fuzz::fuzz_component(data);
    wasmscope_instrument::fuzz::fuzz_deferred(data);
});
