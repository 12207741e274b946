//! What a walker shows, one matter at a time; stacks of any shape are in `shapes`.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod called_by_the_engine;
mod counting;
mod fibers;
mod one_instruction;
#[path = "../support/patience.rs"]
mod patience;
mod same;
mod seen;
mod settings;
