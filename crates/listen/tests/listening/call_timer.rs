//! The call timer against an independent account of the same calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmscope_listen::fake::{Ended, Guest};
use wasmscope_listen::listeners::{CallTimer, Times};
use wasmscope_listen::{Cause, Definition, FuncIndex};

/// Calls, own nanoseconds, total nanoseconds.
type Sums = (u64, u64, u64);

fn functions(count: u32) -> Vec<Definition> {
    let named = |i| Definition::guest(FuncIndex(i)).named(format!("f{i}"));
    (0..count).map(named).collect()
}

/// Makes a timer with a clock that stands still until it is pushed.
fn timer(max_contexts: usize) -> (CallTimer, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(5_000));
    let clock = now.clone();
    let timer = CallTimer::with(move || clock.load(Ordering::Relaxed), max_contexts);
    (timer, now)
}

/// Plays random calls, and keeps its own account of where time went: every push of the
/// clock is put down to the path that is open then.
struct Play {
    now: Arc<AtomicU64>,
    random: u64,
    functions: u32,
    path: Vec<u32>,
    own: BTreeMap<Vec<u32>, u64>,
    calls: BTreeMap<Vec<u32>, u64>,
}

impl Play {
    fn new(now: Arc<AtomicU64>, seed: u64, functions: u32) -> Self {
        Self {
            now,
            random: seed,
            functions,
            path: Vec::new(),
            own: BTreeMap::new(),
            calls: BTreeMap::new(),
        }
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.random >> 33) % u64::from(bound)) as u32
    }

    fn spend(&mut self) {
        let nanos = u64::from(self.below(1_000));
        self.now.fetch_add(nanos, Ordering::Relaxed);
        *self.own.entry(self.path.clone()).or_default() += nanos;
    }

    fn call(&mut self, guest: &mut Guest) -> Ended {
        let function = self.below(self.functions);
        self.path.push(function);
        let ended = guest.call(FuncIndex(function), &[], |guest| self.body(guest));
        self.path.pop();
        ended
    }

    fn body(&mut self, guest: &mut Guest) -> Ended {
        *self.calls.entry(self.path.clone()).or_default() += 1;
        self.spend();
        for _ in 0..self.below(4) {
            if self.path.len() < 8 {
                // One in two exceptions is caught.
                let ended = self.call(guest);
                if self.below(2) == 0 {
                    ended?;
                }
            }
            self.spend();
        }
        match self.below(8) {
            0 => Err(Cause::Exception),
            1 => {
                let function = self.below(self.functions);
                self.path.pop();
                self.path.push(function);
                guest.tail_call(FuncIndex(function), &[], |guest| self.body(guest))
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Returns each path's sums: its total is its own and that of all paths below it.
    fn by_path(&self) -> BTreeMap<Vec<u32>, Sums> {
        let own = |path: &Vec<u32>| self.own.get(path).copied().unwrap_or(0);
        let sums = self.calls.iter().map(|(path, calls)| {
            let below = self.own.keys().filter(|other| other.starts_with(path));
            (path.clone(), (*calls, own(path), below.map(own).sum()))
        });
        sums.collect()
    }

    /// Returns each function's sums: its total is the own time of each path it is on.
    fn by_function(&self) -> BTreeMap<u32, Sums> {
        let functions = (0..self.functions).map(|function| {
            let last = |path: &&Vec<u32>| path.last() == Some(&function);
            let calls = self
                .calls
                .iter()
                .filter(|(path, _)| last(path))
                .map(|(_, n)| n);
            let own = self
                .own
                .iter()
                .filter(|(path, _)| last(path))
                .map(|(_, n)| n);
            let on = self.own.iter().filter(|(path, _)| path.contains(&function));
            let total = on.map(|(_, n)| n);
            (function, (calls.sum(), own.sum(), total.sum()))
        });
        functions.collect()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a test's clock")
}

fn by_path(times: &Times) -> BTreeMap<Vec<u32>, Sums> {
    let mut paths: Vec<Vec<u32>> = Vec::new();
    let mut sums = BTreeMap::new();
    for context in &times.contexts {
        let mut path = context
            .parent
            .map_or_else(Vec::new, |parent| paths[parent].clone());
        path.push(times.functions[context.function].definition.index.0);
        paths.push(path.clone());
        let entry = (context.calls, nanos(context.own), nanos(context.total));
        assert_eq!(sums.insert(path, entry), None, "one context for each path");
    }
    sums
}

fn by_function(times: &Times) -> BTreeMap<u32, Sums> {
    let functions = times.functions.iter().map(|time| {
        let sums = (time.calls, nanos(time.own), nanos(time.total));
        (time.definition.index.0, sums)
    });
    functions.collect()
}

#[test]
fn every_nanosecond_is_where_it_was_spent() {
    let mut calls = 0;
    for seed in 0..50 {
        let (timer, now) = timer(usize::MAX);
        let mut guest = Guest::new(functions(4), &timer);
        let mut play = Play::new(now, seed, 4);
        for _ in 0..5 {
            // Ends as it likes.
            let _ = play.call(&mut guest);
        }
        let times = timer.times();
        assert_eq!(by_path(&times), play.by_path(), "seed {seed}");
        assert_eq!(by_function(&times), play.by_function(), "seed {seed}");
        assert_eq!(times.folded, 0);
        calls += play.calls.values().sum::<u64>();
    }
    assert!(calls > 10_000, "{calls} calls");
}

#[test]
fn two_timers_on_the_same_functions_do_not_mix() {
    let (first, now) = timer(usize::MAX);
    let clock = now.clone();
    // Its nanoseconds are twice as many.
    let second = CallTimer::with(move || 2 * clock.load(Ordering::Relaxed), usize::MAX);
    let mut guest = Guest::new(functions(3), &(first.clone(), second.clone()));
    let mut play = Play::new(now, 7, 3);
    for _ in 0..20 {
        let _ = play.call(&mut guest);
    }
    let once = by_path(&first.times());
    let twice = by_path(&second.times());
    assert_eq!(once, play.by_path());
    let doubled = once
        .into_iter()
        .map(|(path, (n, own, total))| (path, (n, 2 * own, 2 * total)));
    assert_eq!(twice, doubled.collect());
}

#[test]
fn folded_calls_are_counted_and_their_time_is_their_callers() {
    for max in [0, 1, 5, 20] {
        let (timer, now) = timer(max);
        let mut guest = Guest::new(functions(3), &timer);
        let mut play = Play::new(now, 3, 3);
        for _ in 0..20 {
            let _ = play.call(&mut guest);
        }
        let times = timer.times();
        assert_eq!(times.contexts.len(), max);
        let kept = by_path(&times);
        let all: u64 = play.calls.values().sum();
        assert_eq!(
            kept.values().map(|sums| sums.0).sum::<u64>() + times.folded,
            all
        );
        // Calls and totals of what is kept are as without a limit; what was folded is the
        // own time of the nearest path that was kept.
        let mut expected: BTreeMap<_, Sums> = play.by_path();
        expected.retain(|path, _| kept.contains_key(path));
        for sums in expected.values_mut() {
            sums.1 = 0;
        }
        for (path, own) in &play.own {
            let kept = (1..=path.len())
                .rev()
                .find(|n| expected.contains_key(&path[..*n]));
            if let Some(n) = kept {
                expected.get_mut(&path[..n]).expect("found").1 += own;
            }
        }
        assert_eq!(kept, expected, "at most {max} contexts");
    }
}

#[test]
fn deep_recursion_is_timed_once() {
    fn recurse(guest: &mut Guest, now: &AtomicU64, left: u32) -> Ended {
        guest.call(FuncIndex(0), &[], |guest| {
            now.fetch_add(1, Ordering::Relaxed);
            match left {
                0 => Ok(Vec::new()),
                _ => recurse(guest, now, left - 1),
            }
        })
    }
    let (timer, now) = timer(usize::MAX);
    let mut guest = Guest::new(functions(1), &timer);
    assert!(recurse(&mut guest, &now, 999).is_ok());
    assert_eq!(by_function(&timer.times())[&0], (1000, 1000, 1000));
}

#[test]
fn execution_stacks_that_interleave_do_not_mix() {
    let (timer, now) = timer(usize::MAX);
    let spend = |nanos| now.fetch_add(nanos, Ordering::Relaxed);
    let mut main = Guest::new(functions(2), &timer);
    let mut fiber = Guest::new(functions(2), &timer);
    // While f0 of one stack is open, f1 runs on another.
    let ended = main.call(FuncIndex(0), &[], |_| {
        spend(1);
        fiber.call(FuncIndex(1), &[], |_| {
            spend(10);
            Ok(Vec::new())
        })
    });
    assert!(ended.is_ok());
    let expected = [(vec![0], (1, 11, 11)), (vec![1], (1, 10, 10))];
    assert_eq!(by_path(&timer.times()), BTreeMap::from(expected));
}

#[test]
fn threads_add_up() {
    thread_local! {
        /// Each thread has its own time.
        static NOW: Arc<AtomicU64> = Arc::default();
    }
    let timer = CallTimer::with(|| NOW.with(|now| now.load(Ordering::Relaxed)), usize::MAX);
    let threads = [1, 2, 3, 4].map(|seed| {
        let timer = timer.clone();
        std::thread::spawn(move || {
            let mut guest = Guest::new(functions(3), &timer);
            let mut play = Play::new(NOW.with(Arc::clone), seed, 3);
            for _ in 0..20 {
                let _ = play.call(&mut guest);
            }
            play.by_path()
        })
    });
    let mut expected = BTreeMap::<_, Sums>::new();
    for thread in threads {
        for (path, sums) in thread.join().expect("no thread panics") {
            let all = expected.entry(path).or_default();
            *all = (all.0 + sums.0, all.1 + sums.1, all.2 + sums.2);
        }
    }
    assert_eq!(by_path(&timer.times()), expected);
}
