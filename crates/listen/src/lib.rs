//! Listeners on the calls of WebAssembly guests.
