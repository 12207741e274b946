//! Where guests are, and how they got there.
//!
//! ```text
//!   Walker --capture--> Backtrace          addresses and frame pointers; allocates nothing
//!     |                    |               once its room is large enough
//!     +------name----------+--> Frame      names, offsets, source lines; once per address
//! ```
//!
//! How a stack is read is `wasmscope-walk`'s and `wasmscope-sample`'s; here addresses meet
//! the guests that were registered.

mod activation;
mod codes;
mod cursor;
mod frame;
mod naming;
mod other_thread;
mod raw_frame;
mod stack;
mod store;
mod thread;
mod walker;

pub(crate) use codes::Codes;
pub(crate) use walker::Follower;

pub use activation::{Activation, StoreId};
pub use cursor::Cursor;
pub use frame::{Frame, FrameKind};
pub use raw_frame::{RawFrame, RawFrameKind};
pub use stack::{Backtrace, BacktraceEnd};
pub use walker::{WalkedGuest, Walker, WalkerBuilder};
