//! When a thread may be asked again.
//!
//! A thread goes from one signal handler into the next, without running an instruction
//! between, for as long as another signal is pending. Askers that are quick, or many, would
//! let it do nothing else. So between two answers of one thread lies a multiple of what the
//! first took.

use crate::monotonic_nanos;
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// A thread answers for at most one in so many nanoseconds of its time.
const SHARE: u64 = 4;

/// What delivering a signal costs besides the handler, at most, in nanoseconds.
const DELIVERY: u64 = 20_000;

/// Threads are let rest for no longer, in nanoseconds: one long answer may have been put off
/// the processor meanwhile.
const LONGEST: u64 = 50_000_000;

/// Threads that are remembered before those are looked for that are rested.
const MANY: usize = 256;

/// The time, in nanoseconds of `CLOCK_MONOTONIC`, from which each thread may be asked.
static NEXT: OnceLock<Mutex<HashMap<u32, u64>>> = OnceLock::new();

fn next<R>(change: impl FnOnce(&mut HashMap<u32, u64>) -> R) -> R {
    let next = NEXT.get_or_init(Mutex::default);
    change(&mut next.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Waits until the thread may be asked; whoever comes next waits longer.
pub(super) fn wait(tid: u32) {
    let now = monotonic_nanos();
    let turn = next(|next| {
        if next.len() > MANY {
            next.retain(|_, from| *from > now);
        }
        let turn = next.get(&tid).copied().unwrap_or(now).max(now);
        next.insert(tid, turn.saturating_add(SHARE * DELIVERY));
        turn
    });
    let left = turn.saturating_sub(now);
    if left > 0 {
        std::thread::sleep(Duration::from_nanos(left));
    }
}

/// Notes that the thread took so many nanoseconds to answer.
pub(super) fn answered(tid: u32, took: u64) {
    let rest = took.saturating_mul(SHARE - 1).min(LONGEST);
    let from = monotonic_nanos().saturating_add(rest);
    next(|next| {
        let known = next.entry(tid).or_insert(from);
        *known = (*known).max(from);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_apart() {
        // No thread has this number.
        let tid = u32::MAX;
        let begin = monotonic_nanos();
        for _ in 0..10 {
            wait(tid);
        }
        assert!(monotonic_nanos() - begin >= 9 * SHARE * DELIVERY);
        answered(tid, 1_000_000);
        let begin = monotonic_nanos();
        wait(tid);
        assert!(monotonic_nanos() - begin >= 2_900_000);
    }
}
