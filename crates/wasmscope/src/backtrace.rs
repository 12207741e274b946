//! Where guests are, and how they got there.

mod frame;

pub use frame::{Frame, FrameKind};
