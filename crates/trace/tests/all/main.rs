//! Tests of traces: golden files of each format, WASI against its documents and case
//! by case, outputs that fail, nesting.

#![expect(clippy::unwrap_used, reason = "in tests that is how to fail")]

mod cases;
mod components;
mod documents;
mod fixture;
mod fuzz;
mod golden;
mod nesting;
mod output;
