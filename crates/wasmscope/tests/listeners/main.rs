//! Listeners on guests that run: what they hear, in which order, exactly once.

mod balance;
mod chosen;
mod closes;
mod continuations;
mod embedders;
mod failures;
mod fibers;
mod guarded;
mod heard;
mod intruders;
mod reentry;
mod stack;
mod switches;
