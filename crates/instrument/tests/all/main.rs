//! The tests of this crate's public face.

mod components;
mod constructs;
mod damage;
mod events;
mod guarded;
mod guests;
mod operators;
mod sections;
