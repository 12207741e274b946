//! The tests of this crate's public face.

mod guests;
mod operators;
