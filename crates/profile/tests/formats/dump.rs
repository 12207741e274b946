//! A profile as text, for comparing: only what pprof can hold, samples added up.

use std::collections::BTreeMap;
use std::fmt::Write;

use wasmscope_profile::*;

/// Writes down everything that pprof can hold, independent of tables' order.
pub(crate) fn pprof_part(profile: &Profile) -> String {
    let meta = profile.meta();
    let mut text = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?}\n",
        meta.product, meta.start, meta.duration, meta.interval, meta.clock, meta.mechanism
    );
    for (_, mapping) in profile.mappings() {
        writeln!(text, "{mapping:?}").unwrap();
    }
    let mut samples: BTreeMap<String, (u64, u128)> = BTreeMap::new();
    for sample in profile.samples() {
        let thread = profile.thread(sample.thread);
        let mut key = format!("{} {:?} {:?}", thread.id, thread.name, thread.process);
        write!(key, " {:?}", profile.labels(sample.labels)).unwrap();
        let stack = sample.stack.into_iter();
        for frame in stack.flat_map(|stack| profile.stack_frames(stack)) {
            let Location {
                mapping, address, ..
            } = profile.location(frame.location);
            let Function {
                name,
                system_name,
                file,
                start_line,
                category,
                mapping: of_function,
            } = profile.function(frame.function);
            write!(
                key,
                "\n  {mapping:?} {address:x?} {name:?} {system_name:?} {file:?} {start_line:?} \
                 {category:?} {of_function:?} {:?} {:?} {}",
                frame.line, frame.column, frame.inline_depth
            )
            .unwrap();
        }
        let sum = samples.entry(key).or_default();
        sum.0 += sample.count;
        sum.1 += sample.weight.as_nanos();
    }
    for (key, (count, weight)) in samples {
        writeln!(text, "{count} samples {weight} ns {key}").unwrap();
    }
    text
}

/// Compares two texts and shows the first line in which they differ.
pub(crate) fn assert_same(found: &str, expected: &str) {
    if found != expected {
        panic!("{}", first_difference(expected, found));
    }
}

/// Returns the first line in which two texts differ.
pub(crate) fn first_difference(expected: &str, found: &str) -> String {
    let lines = expected.lines().zip(found.lines()).enumerate();
    for (number, (expected, found)) in lines {
        if expected != found {
            return format!("line {}:\n- {expected}\n+ {found}", number + 1);
        }
    }
    "one is longer than the other".to_owned()
}
