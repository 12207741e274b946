//! What a walker shows, one matter at a time; stacks of any shape are in `shapes`.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod counting;
mod fibers;
#[path = "../support/patience.rs"]
#[expect(dead_code, reason = "nothing is waited for in a loop")]
mod patience;
mod same;
mod seen;
mod settings;
