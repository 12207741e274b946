//! Listeners on guests that run: what they hear, in which order, exactly once.

mod closes;
mod heard;
