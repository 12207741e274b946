//! What the sampler knows of one attached thread.
//!
//! Written by that thread's signal handler, read by everyone else, and therefore
//! all atomics; the one exception is the host unwinder's cache, which only the
//! handler touches.

#![expect(unsafe_code, reason = "gettid is a C function")]

use super::cpu_clock::cpu_nanos_of;
use super::published::ReaderSlot;
use super::ring::Ring;
use super::stack_memory::StackBounds;
use super::timer::Origin;
use crate::{Accounting, Clock, Mechanism, ThreadId, ThreadReport, monotonic_nanos};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Returns the kernel's number of the calling thread.
///
/// # Signal safety
///
/// One system call.
pub(crate) fn current_tid() -> libc::pid_t {
    // SAFETY: has no preconditions.
    unsafe { libc::gettid() }
}

/// The state of one thread. Shared by the thread's guard, its handler and the drain thread.
#[derive(Debug)]
pub(crate) struct ThreadState {
    pub(crate) id: ThreadId,
    pub(crate) tid: libc::pid_t,
    pub(crate) name: String,
    pub(crate) interval: u64,
    pub(crate) stack: StackBounds,
    pub(crate) ring: Ring,
    pub(crate) slot: ReaderSlot,
    pub(crate) timing: OnceLock<Timing>,
    pub(crate) counts: Counts,
    pub(crate) detached: OnceLock<Detached>,
}

/// What is known once the timer is armed.
#[derive(Debug)]
pub(crate) struct Timing {
    pub(crate) origin: Origin,
    pub(crate) mechanism: Mechanism,
    pub(crate) attached: u64,
    /// The sampled clock when the timer was armed.
    pub(crate) started: u64,
}

/// The last word on a thread that was detached.
#[derive(Debug)]
pub(crate) struct Detached {
    at: u64,
    sampled: u64,
}

/// The handler's own counts. Only one handler at a time runs on a thread, so plain
/// loads and stores suffice.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) kept: AtomicU64,
    pub(crate) lost: AtomicU64,
    /// Lost ticks whose time the next kept sample carries.
    pub(crate) carried: AtomicU64,
    /// The thread's CPU clock at the last kept sample.
    pub(crate) last_cpu: AtomicU64,
    /// Nanoseconds of the sampled clock spent in the handler.
    pub(crate) spent: AtomicU64,
    /// Of these, what was taken off the ticks of kept samples.
    pub(crate) taken_off: AtomicU64,
    /// Nanoseconds on the wall that the last handler took.
    pub(crate) last_took: AtomicU64,
    /// Until when, in nanoseconds of `CLOCK_MONOTONIC`, ticks are lost on purpose.
    pub(crate) rest_until: AtomicU64,
}

impl Counts {
    /// Adds to a count that only the handler writes.
    pub(crate) fn add(count: &AtomicU64, more: u64) {
        count.store(
            count.load(Ordering::Relaxed).wrapping_add(more),
            Ordering::Relaxed,
        );
    }

    fn accounted(&self) -> u64 {
        self.kept.load(Ordering::Relaxed) + self.lost.load(Ordering::Relaxed)
    }
}

impl ThreadState {
    /// Returns how many ticks the sampled clock, at `now`, has passed since `timing`
    /// began. On the CPU clock the reading may run ahead of or behind the timer's by
    /// a little, so a tick counts from half an interval before it is due.
    pub(crate) fn ticks_at(&self, timing: &Timing, now: u64) -> u64 {
        now.wrapping_sub(timing.started)
            .wrapping_add(self.interval / 2)
            .checked_div(self.interval)
            .unwrap_or(0)
    }

    /// Counts what was still pending when the timer was disarmed as lost.
    pub(crate) fn finish(&self) {
        // A timer that was never armed has sampled nothing.
        let sampled = self
            .timing
            .get()
            .map_or(0, |timing| self.sampled_now(timing));
        let due = sampled / self.interval;
        let missing = due.saturating_sub(self.counts.accounted());
        Counts::add(&self.counts.lost, missing);
        Counts::add(&self.counts.carried, missing);
        let _ = self.detached.set(Detached {
            at: monotonic_nanos(),
            sampled,
        });
    }

    fn sampled_now(&self, timing: &Timing) -> u64 {
        let now = match timing.mechanism.clock() {
            Clock::Wall => monotonic_nanos(),
            // A thread that is gone without having been detached stands still.
            Clock::Cpu => cpu_nanos_of(self.tid).unwrap_or(timing.started),
        };
        now.saturating_sub(timing.started)
    }

    pub(crate) fn report(&self) -> Option<ThreadReport> {
        let timing = self.timing.get()?;
        let detached = self.detached.get();
        let sampled = detached.map_or_else(|| self.sampled_now(timing), |done| done.sampled);
        Some(ThreadReport {
            id: self.id,
            tid: self.tid as u32,
            name: self.name.clone(),
            mechanism: timing.mechanism,
            attached: timing.attached,
            detached: detached.map(|done| done.at),
            accounting: Accounting {
                due: sampled / self.interval,
                kept: self.counts.kept.load(Ordering::Relaxed),
                lost: self.counts.lost.load(Ordering::Relaxed),
                sampled: Duration::from_nanos(sampled),
            },
            unweighed: self.counts.carried.load(Ordering::Relaxed),
            in_handler: Duration::from_nanos(self.counts.spent.load(Ordering::Relaxed)),
        })
    }
}
