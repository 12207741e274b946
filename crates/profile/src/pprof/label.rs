//! The keys under which a sample's thread travels as labels.

/// The thread's name.
pub(super) const THREAD: &str = "thread";
/// The thread's number.
pub(super) const THREAD_ID: &str = "thread_id";
/// The name of the process.
pub(super) const PROCESS: &str = "process";

/// The comment that says what ran.
pub(super) const PRODUCT: &str = "product: ";
/// The comment that says what made the samples.
pub(super) const MECHANISM: &str = "mechanism: ";
