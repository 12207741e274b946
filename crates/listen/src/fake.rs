//! A guest and its instance without an engine, to test listeners with.
//!
//! [`Guest`] plays calls that are written down as closures and drives listeners the way
//! an engine's binding does. It runs no WebAssembly.

mod guest;
mod instance;

pub use guest::{Ended, Guest};
pub use instance::FakeInstance;
