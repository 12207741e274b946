//! Where threads and tasks are that are not the one that asks.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "../support/call_graph.rs"]
#[expect(dead_code, reason = "profiles are looked at in other tests")]
mod call_graph;
mod crashes;
mod others;
#[path = "../support/patience.rs"]
mod patience;
mod tasks;
mod waiting;
mod watched;
