//! Tests of the program as its users run it: one binary, one file for each area.

#![expect(clippy::unwrap_used, reason = "in tests that is how to fail")]

mod accounting;
mod backtrace;
mod bad_input;
mod core_dumps;
mod ends;
mod expected;
mod instrument;
mod names;
mod options;
mod program;
mod real;
mod system;
mod terminal;
mod trace;
mod trace_components;
