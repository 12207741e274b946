//! Which watched task a thread polls.

use std::cell::Cell;

thread_local! {
    static POLLED: Cell<u64> = const { Cell::new(0) };
}

/// Returns the number of the task that the calling thread polls, or 0.
pub(crate) fn polled_now() -> u64 {
    POLLED.try_with(Cell::get).unwrap_or(0)
}

/// Runs `poll` as the work of a task, and of nobody else's afterwards.
pub(crate) fn polling<R>(task: u64, poll: impl FnOnce() -> R) -> R {
    struct Restore(u64);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = POLLED.try_with(|polled| polled.set(self.0));
        }
    }
    let _restore = Restore(POLLED.try_with(|polled| polled.replace(task)).unwrap_or(0));
    poll()
}
