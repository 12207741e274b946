//! What the benches share: clocks of their own, the other sides of the comparisons,
//! statistics, and how a result is printed.
//!
//! Each bench under `benches/` is one program that runs our side and the other side
//! in turn, in one process, and prints both with the ratio and the goal. Absolute
//! times only show the order of size: the machine is shared.

pub mod arguments;
pub mod clocks;
pub mod descent;
pub mod empty_handler;
pub mod guest_profiler;
pub mod guests;
pub mod live_stack;
pub mod machine;
pub mod random;
pub mod realtime;
pub mod shares;
pub mod statistics;
