//! Listeners on guests that run: what they hear, in which order, exactly once.

mod balance;
mod closes;
mod failures;
mod heard;
mod reentry;
