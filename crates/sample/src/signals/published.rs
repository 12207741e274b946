//! A value that signal handlers read while other threads replace it.
//!
//! Read-copy-update with one slot per reader: a handler marks its slot odd, loads
//! the pointer, uses the value, and marks the slot even again. A writer swaps the
//! pointer and then waits until every slot that was odd has moved on, after which
//! nobody can hold the old value. Readers never wait; a writer waits for at most
//! one handler on each thread.

#![expect(
    unsafe_code,
    reason = "hands out references behind an atomic pointer; the waiting protocol keeps them alive"
)]

use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering, fence};

/// One reader's mark: even when it reads nothing.
#[derive(Debug, Default)]
pub(crate) struct ReaderSlot(AtomicU64);

impl ReaderSlot {
    fn enter(&self) {
        let count = self.0.load(Ordering::Relaxed);
        self.0.store(count.wrapping_add(1), Ordering::Relaxed);
        // Orders the mark before the load of the pointer, against the writer's
        // swap before its load of the mark: one of the two sees the other.
        fence(Ordering::SeqCst);
    }

    fn leave(&self) {
        let count = self.0.load(Ordering::Relaxed);
        self.0.store(count.wrapping_add(1), Ordering::Release);
    }

    /// Waits until a read that was going on when this was called has ended.
    pub(crate) fn wait(&self) {
        let seen = self.0.load(Ordering::Acquire);
        if seen.is_multiple_of(2) {
            return;
        }
        while self.0.load(Ordering::Acquire) == seen {
            std::thread::yield_now();
        }
    }
}

/// The replaceable value.
#[derive(Debug)]
pub(crate) struct Published<T> {
    current: AtomicPtr<T>,
}

impl<T: Send + Sync> Published<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            current: AtomicPtr::new(Box::into_raw(Box::new(value))),
        }
    }

    /// Runs `read` on the value that is current now.
    ///
    /// `slot` must be the calling thread's own, not in use by a read further out on
    /// the same stack, and among the slots that [`replace`](Self::replace) is given.
    ///
    /// # Signal safety
    ///
    /// Adds neither allocation nor lock nor panic to `read`'s own.
    #[inline]
    pub(crate) fn read<R>(&self, slot: &ReaderSlot, read: impl FnOnce(&T) -> R) -> R {
        slot.enter();
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: the pointer came from `Box::into_raw` and is freed only by
        // `replace`, after it waited for every slot that was odd, as ours is, and
        // by `drop`, which has the only reference.
        let result = read(unsafe { &*current });
        slot.leave();
        result
    }

    /// Puts `value` in place, waits until no reader can hold the old one, and
    /// returns that. Callers must not run two replacements at a time.
    ///
    /// `slots` must list every slot that [`read`](Self::read) may be called with.
    pub(crate) fn replace<'s>(
        &self,
        value: T,
        slots: impl Iterator<Item = &'s ReaderSlot>,
    ) -> Box<T> {
        let new = Box::into_raw(Box::new(value));
        let old = self.current.swap(new, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        slots.for_each(ReaderSlot::wait);
        // SAFETY: `old` came from `Box::into_raw`, is no longer reachable through
        // `current`, and all readers that could have loaded it have left.
        unsafe { Box::from_raw(old) }
    }
}

impl<T> Drop for Published<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `Box::into_raw`, and `&mut self` means that
        // no reader is left.
        drop(unsafe { Box::from_raw(*self.current.get_mut()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    /// Poisons itself on drop, so that a read after free is seen as such.
    struct Canary(AtomicU64);

    impl Drop for Canary {
        fn drop(&mut self) {
            self.0.store(0xdead, Ordering::SeqCst);
        }
    }

    #[test]
    fn readers_never_see_a_dropped_value() {
        let published = Published::new(Canary(AtomicU64::new(1)));
        let slots = [ReaderSlot::default(), ReaderSlot::default()];
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for slot in &slots {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        published.read(slot, |canary| {
                            for _ in 0..16 {
                                assert_eq!(canary.0.load(Ordering::SeqCst), 1);
                            }
                        });
                    }
                });
            }
            for _ in 0..20_000 {
                drop(published.replace(Canary(AtomicU64::new(1)), slots.iter()));
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
