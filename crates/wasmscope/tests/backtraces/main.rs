//! What a walker shows, one matter at a time; stacks of any shape are in `shapes`.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod counting;
mod same;
mod seen;
mod settings;
