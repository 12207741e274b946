//! Counts what is done for a component, so that tests can tell how that grows with the file.

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Counts a step. Does nothing outside tests.
#[inline]
pub(super) fn count() {
    #[cfg(test)]
    STEPS.with(|steps| steps.set(steps.get() + 1));
}

/// Returns the steps of this thread so far.
#[cfg(test)]
pub(super) fn so_far() -> u64 {
    STEPS.with(std::cell::Cell::get)
}
