//! Stacks of failures, beside the engine's own, beside what guests count themselves, and
//! beside `addr2line`.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod deep;
mod engine;
mod inlined;
mod stacks;
mod stores;
mod ways;
