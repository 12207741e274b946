//! Prints the calls of WebAssembly guests as they happen.
