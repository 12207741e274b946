//! Sums per function and category.

use std::time::Duration;

use wasmscope_profile::*;

use crate::fixture;

fn totals_of(profile: &Profile, name: &str) -> (u64, u64, u64, u64) {
    let totals = profile
        .function_totals()
        .into_iter()
        .find(|it| profile.function(it.function).name == name)
        .unwrap();
    let micros = |total: Total| total.weight.as_micros() as u64;
    (
        totals.own.count,
        micros(totals.own),
        totals.total.count,
        micros(totals.total),
    )
}

#[test]
fn inlined_functions_count_and_recursion_counts_once() {
    let profile = fixture::profile();
    // Only ever inlined.
    assert_eq!(totals_of(&profile, "app::blit"), (6, 6000, 6, 6000));
    // Itself, inlined between two others, and as a caller of WASI.
    assert_eq!(totals_of(&profile, "app::render"), (3, 2501, 10, 10_001));
    // Four times on one stack.
    assert_eq!(totals_of(&profile, "fib"), (3, 3000, 3, 3000));
    // Always a caller: 1+1+5+1+3 samples of the first thread and so on.
    let (own, _, total, _) = totals_of(&profile, "run_guest");
    assert_eq!((own, total), (0, 13));
}

#[test]
fn the_hottest_come_first_and_sum_up_to_all_with_a_stack() {
    let profile = fixture::profile();
    let all = profile.hottest(usize::MAX);
    let names: Vec<&str> = all
        .iter()
        .map(|it| profile.function(it.function).name.as_str())
        .collect();
    assert_eq!(&names[..2], ["plugin!wasm-function[7]", "app::blit"]);
    assert!(all.is_sorted_by(|a, b| a.own >= b.own));
    let own: u64 = all.iter().map(|it| it.own.count).sum();
    assert_eq!(own, profile.total().count - 1, "one sample has no stack");
    assert_eq!(profile.hottest(3), all[..3]);
    assert!(fixture::empty().hottest(5).is_empty());
}

#[test]
fn categories_sum_up_to_everything() {
    let profile = fixture::profile();
    let mut sum = Total::default();
    for total in profile.category_totals().into_values() {
        sum += total;
    }
    assert_eq!(sum, profile.total());
    let wasi = profile.category_totals()[&Category::Wasi];
    assert_eq!((wasi.count, wasi.weight), (1, Duration::from_micros(1500)));
}

#[test]
fn accounting_adds_up_over_threads_that_have_it() {
    let samples = fixture::profile().accounting().unwrap();
    assert_eq!((samples.due, samples.kept, samples.lost), (40, 37, 3));
    assert_eq!(fixture::empty().accounting(), None);
}
