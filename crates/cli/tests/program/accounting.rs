//! What the profile says about its samples adds up.

use crate::expected::kept;
use crate::program::Place;

#[test]
fn kept_and_lost_are_what_was_due() {
    for clock in ["wall", "cpu"] {
        for rate in [97, 1000, 5000] {
            let place = Place::new();
            let ran = place.run(&format!("--clock {clock} --rate {rate} @loops.wasm 20"));
            let (due, kept_there, lost) = place.firefox("loops.profile.json.gz").accounting();
            assert!(due > 0);
            assert!(
                due.abs_diff(kept_there + lost) <= 1,
                "{clock} at {rate}: {due} due, {kept_there} kept, {lost} lost"
            );
            assert_eq!(kept(&ran), kept_there);
            let line = format!("of {clock} time, sampled {rate} times a second by ");
            assert!(ran.stderr.contains(&line), "{}", ran.stderr);
            let counts = format!("{due} samples due, {kept_there} kept, {lost} lost");
            assert!(ran.stderr.contains(&counts), "{}", ran.stderr);
        }
    }
}

#[test]
fn the_profile_names_clock_and_mechanism() {
    for (clock, mechanisms) in [
        ("wall", ["timer_create(CLOCK_MONOTONIC)"].as_slice()),
        (
            "cpu",
            &["perf_event_open(", "timer_create(CLOCK_MONOTONIC), weighed"],
        ),
    ] {
        let place = Place::new();
        let ran = place.run(&format!("--clock {clock} @fib.wasm 5"));
        let json = place.firefox("fib.profile.json.gz").json.to_string();
        let named = |text: &str| mechanisms.iter().any(|mechanism| text.contains(mechanism));
        assert!(named(&json) && named(&ran.stderr), "{}", ran.stderr);
    }
}

#[test]
fn the_size_of_the_memory_is_a_counter() {
    let place = Place::new();
    place.run("--invoke run @memory.wat 5");
    let profile = place.firefox("memory.profile.json.gz");
    let counter = &profile.json["counters"][0];
    assert_eq!(counter["name"], "memory.wat");
    assert_eq!(counter["category"], "Memory");
    let changes = counter["samples"]["count"].as_array().unwrap();
    assert!(changes.len() > 2, "it grows: {counter}");
    let mut size = 0.0;
    let sizes = changes.iter().map(|change| {
        size += change.as_f64().unwrap();
        size
    });
    let sizes: Vec<f64> = sizes.collect();
    assert!(sizes.iter().all(|size| size % 65536.0 == 0.0), "{sizes:?}");
    assert!(sizes.iter().any(|&size| size > 65536.0), "{sizes:?}");
    assert_eq!(sizes.last(), Some(&0.0), "the store is gone at the end");
}
