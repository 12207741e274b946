//! speedscope's own importer reads from our files what is in the model.

use std::collections::BTreeMap;
use std::path::Path;

use wasmscope_profile::*;

use crate::{fixture, tools};

/// A frame as speedscope has it: own weight, total weight, lines, files.
#[derive(Default, Debug, PartialEq)]
struct Found {
    own: u64,
    total: u64,
    places: Vec<(Option<String>, u64)>,
}

fn import(file: &Path, unit: &str, total: u64) -> Option<BTreeMap<String, Found>> {
    let package = tools::find("node_modules/speedscope")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/speedscope.mjs");
    let json = tools::output("node", |command| {
        command.arg(script).arg(package).arg(file);
    });
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let profiles = json.as_array().unwrap();
    assert_eq!(profiles.len(), 1);
    assert_eq!(profiles[0]["unit"], unit);
    assert_eq!(profiles[0]["total"], total);
    let mut frames: BTreeMap<String, Found> = BTreeMap::new();
    for frame in profiles[0]["frames"].as_array().unwrap() {
        let found = frames
            .entry(frame["name"].as_str().unwrap().to_owned())
            .or_default();
        found.own += frame["own"].as_u64().unwrap();
        found.total += frame["total"].as_u64().unwrap();
        let file = frame["file"].as_str().map(str::to_owned);
        found
            .places
            .push((file, frame["line"].as_u64().unwrap_or(0)));
    }
    Some(frames)
}

#[test]
fn pprof_totals_names_and_lines_equal_the_models() {
    let profile = fixture::profile();
    let (_directory, file) = tools::saved(&profile, "a.pb.gz");
    let total = profile.total().weight.as_nanos() as u64;
    let Some(found) = import(&file, "nanoseconds", total) else {
        return;
    };
    // speedscope has no inlined frames: it takes a location's last line.
    let mut expected: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for sample in profile.samples() {
        let Some(stack) = sample.stack else { continue };
        let weight = sample.weight.as_nanos() as u64;
        let mut names: Vec<&str> = profile
            .stack_frames(stack)
            .filter(|frame| !frame.is_inlined())
            .map(|frame| profile.function(frame.function).name.as_str())
            .collect();
        expected.entry(names[0]).or_default().0 += weight;
        names.sort();
        names.dedup();
        for name in names {
            expected.entry(name).or_default().1 += weight;
        }
    }
    let totals: BTreeMap<&str, (u64, u64)> = found
        .iter()
        .map(|(name, found)| (name.as_str(), (found.own, found.total)))
        .collect();
    assert_eq!(totals, expected);
    // Each line that it shows is one where the model has the function.
    for (name, found) in found {
        for (file, line) in found.places {
            assert!(
                profile.locations().any(|(handle, _)| {
                    profile.location_frames(handle).any(|frame| {
                        let function = profile.function(frame.function);
                        function.name == name
                            && function.file == file
                            && u64::from(frame.line.unwrap_or(0)) == line
                    })
                }),
                "{name} is not at {file:?}:{line}"
            );
        }
    }
}

#[test]
fn folded_totals_and_names_equal_the_models() {
    let profile = fixture::profile();
    let (_directory, file) = tools::saved(&profile, "a.folded");
    let total = profile.total().weight.as_nanos() as u64;
    let Some(mut found) = import(&file, "none", total) else {
        return;
    };
    let no_stack = found.remove("[no stack]").unwrap();
    assert_eq!((no_stack.own, no_stack.total), (250_000, 250_000));
    let expected: BTreeMap<String, (u64, u64)> = profile
        .function_totals()
        .into_iter()
        .map(|it| {
            let name = &profile.function(it.function).name;
            // As the format's documentation says.
            let name = match name.as_str() {
                "percent%3B%25 100%" => "percent%253B%2525 100%".to_owned(),
                name => name
                    .replace(';', "%3B")
                    .replace('\r', "%0D")
                    .replace('\n', "%0A"),
            };
            let nanos = |total: Total| total.weight.as_nanos() as u64;
            (name, (nanos(it.own), nanos(it.total)))
        })
        .collect();
    let found: BTreeMap<String, (u64, u64)> = found
        .into_iter()
        .map(|(name, found)| (name, (found.own, found.total)))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_pprof_without_samples_is_read() {
    let (_directory, file) = tools::saved(&fixture::empty(), "a.pb.gz");
    if let Some(found) = import(&file, "nanoseconds", 0) {
        assert_eq!(found, BTreeMap::new());
    }
}
