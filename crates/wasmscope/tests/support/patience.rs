//! Waiting for what must happen, however busy the machine is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longer than anything here takes: only what never happens gets there.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// A loop's own bound: it ends with a message rather than never.
pub(crate) struct Patience {
    begin: Instant,
    what: &'static str,
}

impl Patience {
    /// Begins to wait for `what`.
    pub(crate) fn for_what(what: &'static str) -> Self {
        let begin = Instant::now();
        Self { begin, what }
    }

    /// Panics when it has taken too long; to be called in each turn.
    pub(crate) fn check(&self) {
        assert!(
            self.begin.elapsed() < LONG,
            "after {LONG:?} there is still not: {}",
            self.what
        );
    }
}

/// Tells threads to stop however a test ends: a scope waits for them also when it panics.
#[allow(
    dead_code,
    reason = "not every test that includes this file has threads"
)]
pub(crate) struct Stop<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
