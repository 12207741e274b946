//! Listeners that many need, and that show how to write one: a file each.
//!
//! | listener | tells |
//! |---|---|
//! | [`CallLog`] | each call as it happens, nested, with values |
//! | [`CallTimer`] | where time went: self and total, by function and by calling context |
//! | [`Latency`] | how long calls took: a distribution for each function |
//! | [`Recorder`] | the last calls, with parameters and results |
//!
//! Each is a [`crate::Factory`] that listens to every function it is asked about, and a
//! handle to what was heard: keep one clone, give away another. To listen to some
//! functions only, put a closure before it:
//!
//! ```
//! use wasmscope_listen::listeners::CallTimer;
//! use wasmscope_listen::{Definition, Factory};
//!
//! let timer = CallTimer::new();
//! let hosts = timer.clone();
//! let factory = move |f: &Definition| f.is_host().then(|| hosts.listener(f)).flatten();
//! # let _: &dyn Factory = &factory;
//! ```

mod call_log;
mod call_timer;
mod clock;
mod latency;
mod recorder;
mod scopes;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use call_log::CallLog;
pub use call_timer::{CallTimer, ContextTime, FunctionTime, Times};
pub use clock::{Clock, Monotonic};
pub use latency::{Bucket, Distribution, Latency};
pub use recorder::{End, Record, Recorder};
pub use scopes::{Scopes, UnknownScope};

/// Locks what listeners share. A panic while it was locked (a clock's, a writer's) loses
/// at most the event that it was in.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
