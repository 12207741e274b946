//! Wasm core dumps: what a guest was when it failed.
