//! The latency histogram: buckets, shares, and every kind of end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmscope_listen::fake::Guest;
use wasmscope_listen::listeners::Latency;
use wasmscope_listen::{Cause, Definition, FuncIndex};

const F: FuncIndex = FuncIndex(0);
const G: FuncIndex = FuncIndex(1);

/// Makes a listener with a clock that stands still until it is pushed.
fn latency() -> (Latency, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(1_000));
    let clock = now.clone();
    (Latency::with(move || clock.load(Ordering::Relaxed)), now)
}

fn functions() -> [Definition; 3] {
    [F, G, FuncIndex(2)].map(Definition::guest)
}

#[test]
fn durations_are_kept_to_a_hundredth() {
    let (latency, now) = latency();
    let mut guest = Guest::new(functions(), &latency);
    let durations: Vec<u64> = (0..60)
        .map(|bit| (1_u64 << bit) + (1_u64 << bit) / 3)
        .collect();
    for nanos in &durations {
        let ended = guest.call(F, &[], |_| {
            now.fetch_add(*nanos, Ordering::Relaxed);
            Ok(Vec::new())
        });
        assert!(ended.is_ok());
        now.store(1_000, Ordering::Relaxed);
    }
    let distributions = latency.distributions();
    assert_eq!(distributions.len(), 1, "only F was called");
    let (definition, distribution) = &distributions[0];
    assert_eq!(definition.index, F);
    assert_eq!(distribution.calls(), 60);
    let buckets: Vec<_> = distribution.buckets().collect();
    assert_eq!(buckets.len(), 60);
    for (bucket, nanos) in buckets.iter().zip(durations) {
        assert_eq!(bucket.calls, 1);
        let exact = Duration::from_nanos(nanos);
        assert!(
            bucket.from <= exact && exact <= bucket.to,
            "{bucket:?} {exact:?}"
        );
        assert!(
            (bucket.to - bucket.from) * 100 <= exact,
            "{bucket:?} is too wide"
        );
    }
}

#[test]
fn shares_of_calls_and_all_ends() {
    let (latency, now) = latency();
    let mut guest = Guest::new(functions(), &latency);
    for i in 1..=100 {
        let ended = guest.call(F, &[], |guest| {
            now.fetch_add(i, Ordering::Relaxed);
            match i % 3 {
                0 => Ok(Vec::new()),
                1 => Err(Cause::Unknown),
                _ => guest.tail_call(G, &[], |_| {
                    now.fetch_add(1_000_000, Ordering::Relaxed);
                    Ok(Vec::new())
                }),
            }
        });
        assert_eq!(ended.is_err(), i % 3 == 1);
    }
    let distributions = latency.distributions();
    let (f, g) = (&distributions[0].1, &distributions[1].1);
    assert_eq!((f.calls(), g.calls()), (100, 33));
    // A tail call's time is not its caller's. Up to 255 buckets are a nanosecond wide.
    assert_eq!(f.min(), Duration::from_nanos(1));
    assert_eq!(f.max(), Duration::from_nanos(100));
    assert_eq!(f.mean(), Duration::from_nanos(50));
    assert_eq!(f.quantile(0.5), Duration::from_nanos(50));
    assert_eq!(f.quantile(0.99), Duration::from_nanos(99));
    assert!(g.min() >= Duration::from_nanos(990_000));
}

#[test]
fn two_instances_of_a_module_share_a_histogram() {
    let (latency, _) = latency();
    for _ in 0..2 {
        let ended = Guest::new(functions(), &latency).call(G, &[], |_| Ok(Vec::new()));
        assert!(ended.is_ok());
    }
    let calls: Vec<_> = latency
        .distributions()
        .iter()
        .map(|(_, d)| d.calls())
        .collect();
    assert_eq!(calls, [2]);
}
