//! The Firefox Profiler's own code reads from our files what is in the model.
//!
//! Its command-line program is the code of profiler.firefox.com without the pages:
//! it loads the file as the page does, with all upgrades to the newest version of the
//! format, and prints what the panels would show.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value as Json;
use wasmscope_profile::*;

use crate::{fixture, tools};

/// A loaded profile; unloaded when dropped.
struct Session {
    program: PathBuf,
    sessions: tempfile::TempDir,
}

impl Session {
    fn load(profile: &Profile, name: &str) -> Option<Self> {
        let program =
            tools::find("node_modules/@firefox-devtools/profiler-cli/dist/profiler-cli.js")?;
        let session = Self {
            program,
            sessions: tempfile::tempdir().unwrap(),
        };
        let (_directory, file) = tools::saved(profile, name);
        session.run(&["load", file.to_str().unwrap()]);
        Some(session)
    }

    fn run(&self, arguments: &[&str]) -> String {
        tools::output("node", |command| {
            command
                .arg(&self.program)
                .args(arguments)
                .env("PROFILER_CLI_SESSION_DIR", self.sessions.path());
        })
    }

    fn json(&self, arguments: &[&str]) -> Json {
        let text = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = std::process::Command::new("node")
            .arg(&self.program)
            .arg("stop")
            .env("PROFILER_CLI_SESSION_DIR", self.sessions.path())
            .output();
    }
}

fn array(json: &Json) -> &[Json] {
    json.as_array().unwrap()
}

/// Milliseconds to nanoseconds.
fn nanos(json: &Json) -> u64 {
    (json.as_f64().unwrap() * 1e6).round() as u64
}

fn samples_of(profile: &Profile, thread: usize) -> impl Iterator<Item = Sample> {
    profile
        .samples()
        .filter(move |sample| sample.thread.index() == thread)
}

/// Own and total nanoseconds of each name on one thread.
fn totals_by_name(profile: &Profile, thread: usize) -> BTreeMap<String, (u64, u64)> {
    let mut totals: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for sample in samples_of(profile, thread) {
        let weight = sample.weight.as_nanos() as u64;
        let stack = sample.stack.into_iter();
        let mut names: Vec<String> = stack
            .flat_map(|stack| profile.stack_frames(stack))
            .map(|frame| profile.function(frame.function).name.clone())
            .collect();
        if let Some(newest) = names.first() {
            totals.entry(newest.clone()).or_default().0 += weight;
        }
        names.sort();
        names.dedup();
        for name in names {
            totals.entry(name).or_default().1 += weight;
        }
    }
    totals
}

#[test]
fn functions_have_the_models_totals_on_each_thread() {
    let profile = fixture::profile();
    for name in ["a.json", "a.json.gz"] {
        let Some(session) = Session::load(&profile, name) else {
            return;
        };
        for (thread, model) in profile.threads() {
            let handle = format!("t-{}", thread.index());
            let json =
                session.json(&["thread", "functions", "--thread", &handle, "--include-idle"]);
            assert_eq!(json["friendlyThreadName"], model.name);
            assert_eq!(json["weightType"], "tracing-ms");
            let found: BTreeMap<String, (u64, u64)> = array(&json["functions"])
                .iter()
                .map(|function| {
                    let name = function["name"].as_str().unwrap().to_owned();
                    (
                        name,
                        (
                            nanos(&function["selfSamples"]),
                            nanos(&function["totalSamples"]),
                        ),
                    )
                })
                .collect();
            assert_eq!(found, totals_by_name(&profile, thread.index()));
        }
    }
}

/// Paths through the call tree, from the root, with own and total nanoseconds, and
/// whether the last frame was inlined everywhere.
type Paths = BTreeMap<String, (u64, u64, bool)>;

fn found_paths(node: &Json, path: &str, paths: &mut Paths) {
    for child in array(&node["children"]) {
        let path = format!("{path}/{}", child["name"].as_str().unwrap());
        let is_inlined = child["inlineStatus"] == "inlined";
        let (own, total) = (nanos(&child["selfSamples"]), nanos(&child["totalSamples"]));
        paths.insert(path.clone(), (own, total, is_inlined));
        found_paths(child, &path, paths);
    }
}

fn expected_paths(profile: &Profile, thread: usize) -> Paths {
    let mut paths = Paths::new();
    for sample in samples_of(profile, thread) {
        let Some(stack) = sample.stack else { continue };
        let mut frames: Vec<Frame> = profile.stack_frames(stack).collect();
        frames.reverse();
        let mut path = String::new();
        for (depth, frame) in frames.iter().enumerate() {
            path = format!("{path}/{}", profile.function(frame.function).name);
            let entry = paths.entry(path.clone()).or_insert((0, 0, true));
            let weight = sample.weight.as_nanos() as u64;
            entry.1 += weight;
            if depth + 1 == frames.len() {
                entry.0 += weight;
            }
            entry.2 &= frame.is_inlined();
        }
    }
    paths
}

#[test]
fn the_call_tree_is_the_models_with_inlined_frames() {
    let profile = fixture::profile();
    let Some(session) = Session::load(&profile, "a.json.gz") else {
        return;
    };
    for (thread, _) in profile.threads() {
        let handle = format!("t-{}", thread.index());
        let json = session.json(&[
            "thread",
            "samples-top-down",
            "--thread",
            &handle,
            "--include-idle",
            "--max-lines",
            "1000",
        ]);
        let mut found = Paths::new();
        found_paths(&json["regularCallTree"], "", &mut found);
        assert_eq!(found, expected_paths(&profile, thread.index()));
    }
}

#[test]
fn source_lines_have_the_models_totals() {
    let profile = fixture::profile();
    let Some(session) = Session::load(&profile, "a.json.gz") else {
        return;
    };
    let json = session.json(&["thread", "functions", "--thread", "t-0", "--include-idle"]);
    let mut with_lines = 0;
    for function in array(&json["functions"]) {
        let name = function["name"].as_str().unwrap();
        let handle = function["functionHandle"].as_str().unwrap();
        let mut expected: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let mut file = None;
        for sample in samples_of(&profile, 0) {
            let Some(stack) = sample.stack else { continue };
            let weight = sample.weight.as_nanos() as u64;
            let mut lines = Vec::new();
            for (depth, frame) in profile.stack_frames(stack).enumerate() {
                let function = profile.function(frame.function);
                let (true, Some(line)) = (function.name == name, frame.line) else {
                    continue;
                };
                file.clone_from(&function.file);
                lines.push(u64::from(line));
                if depth == 0 {
                    expected.entry(u64::from(line)).or_default().0 += weight;
                }
            }
            lines.sort();
            lines.dedup();
            for line in lines {
                expected.entry(line).or_default().1 += weight;
            }
        }
        if expected.is_empty() {
            continue;
        }
        with_lines += 1;
        let json = session.json(&["function", "annotate", handle, "--context", "0"]);
        let source = &json["srcAnnotation"];
        assert_eq!(source["filename"].as_str(), file.as_deref());
        let found: BTreeMap<u64, (u64, u64)> = array(&source["lines"])
            .iter()
            .map(|line| {
                let weights = (nanos(&line["selfSamples"]), nanos(&line["totalSamples"]));
                (line["lineNumber"].as_u64().unwrap(), weights)
            })
            .collect();
        assert_eq!(found, expected, "lines of {name}");
    }
    assert_eq!(with_lines, 4, "main, render, blit and fib");
}

#[test]
fn markers_counters_and_information_are_the_models() {
    let profile = fixture::profile();
    let Some(session) = Session::load(&profile, "a.json.gz") else {
        return;
    };

    let mut found = Vec::new();
    for thread in ["t-0", "t-1"] {
        let json = session.json(&["thread", "markers", "--list", "--thread", thread]);
        for kind in array(&json["byType"]) {
            let name = kind["markerName"].as_str().unwrap();
            for marker in array(&kind["topMarkers"]) {
                let start = nanos(&marker["start"]);
                let duration = marker["duration"].as_f64().unwrap_or(0.0);
                let end = start + (duration * 1e6).round() as u64;
                found.push((
                    thread,
                    name.to_owned(),
                    start,
                    end,
                    marker["hasStack"] == true,
                ));
            }
        }
    }
    let host_calls = profile.markers().map(|marker| {
        let thread = ["t-0", "t-1"][marker.thread.index()];
        let (start, end) = (marker.start.as_nanos() as u64, marker.end.as_nanos() as u64);
        (
            thread,
            marker.name.to_owned(),
            start,
            end,
            marker.stack.is_some(),
        )
    });
    let mut expected: Vec<_> = host_calls.collect();
    // One for the thread that knows its accounting, one for each run of labels.
    expected.push(("t-0", "Sampling".to_owned(), 0, 90_000_000, false));
    expected.push(("t-0", "Labels".to_owned(), 2_000_000, 8_500_000, false));
    expected.push(("t-1", "Labels".to_owned(), 14_750_000, 21_750_000, false));
    found.sort();
    expected.sort();
    assert_eq!(found, expected);

    let counter = session.json(&["counter", "info", "c-0"]);
    assert_eq!(counter["name"], "app.wasm memory");
    assert_eq!(counter["sampleCount"], 3);
    assert_eq!(counter["mainThreadHandle"], "t-0");
    assert_eq!(counter["stats"][0]["value"], 0x40000 - 0x10000);

    let meta = session.json(&["profile", "meta"]);
    assert_eq!(meta["interval"], 1.0);
    assert_eq!(meta["product"], profile.meta().product);
    assert_eq!(meta["startTime"], 1_700_000_000_250.0);
    let information: BTreeMap<&str, &str> = array(&meta["extra"][0]["entries"])
        .iter()
        .map(|entry| {
            (
                entry["label"].as_str().unwrap(),
                entry["value"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(information["Clock"], "wall");
    assert_eq!(information["Mechanism"], "perf_event task-clock");
    assert_eq!(information["Interval asked for"], "1 ms");
    let samples = "40 due, 37 kept, 3 lost, in 40 ms sampled";
    assert_eq!(information["All threads"], samples);

    let info = session.run(&["thread", "info", "--thread", "t-1"]);
    assert!(
        info.contains("Name: worker <2>") && info.contains("TID: 4712"),
        "{info}"
    );
}

#[test]
fn a_profile_without_samples_is_read() {
    if let Some(session) = Session::load(&fixture::empty(), "a.json") {
        let json = session.json(&["thread", "functions", "--thread", "t-0"]);
        assert!(array(&json["functions"]).is_empty());
    }
}

#[test]
fn profiles_without_times_weights_or_interval_are_shown() {
    use wasmscope_profile::folded::{self, Unit};
    let start = std::time::SystemTime::UNIX_EPOCH;
    for (unit, kind) in [
        (Unit::Nanoseconds, "tracing-ms"),
        (Unit::Samples, "samples"),
    ] {
        let text = b"a;b 3000000\na;c 5000000\n";
        let profile = folded::read(text, unit, Meta::new("folded", start)).unwrap();
        let Some(session) = Session::load(&profile, "a.json") else {
            return;
        };
        let json = session.json(&["thread", "functions", "--thread", "t-0", "--include-idle"]);
        assert_eq!(json["weightType"], kind);
        let found: BTreeMap<&str, f64> = array(&json["functions"])
            .iter()
            .map(|it| {
                (
                    it["name"].as_str().unwrap(),
                    it["totalSamples"].as_f64().unwrap(),
                )
            })
            .collect();
        let one = if kind == "samples" { 1e6 } else { 1.0 };
        let expected = [("a", 8.0 * one), ("b", 3.0 * one), ("c", 5.0 * one)];
        assert_eq!(found, BTreeMap::from(expected));
    }
}

#[test]
fn a_sample_at_the_very_end_is_shown() {
    let mut profile = fixture::empty();
    let (thread, _) = profile.threads().next().unwrap();
    let function = profile.add_function(Function {
        name: "last".to_owned(),
        ..Function::default()
    });
    let lines = vec![Line {
        function,
        line: None,
        column: None,
    }];
    let location = profile.add_location(Location {
        mapping: None,
        address: None,
        lines,
    });
    let stack = Some(profile.add_stack(None, location));
    profile.add_sample(Sample {
        thread,
        time: profile.meta().duration,
        stack,
        count: 1,
        weight: std::time::Duration::from_millis(1),
        cpu: None,
        labels: LabelsHandle::EMPTY,
    });
    if let Some(session) = Session::load(&profile, "a.json") {
        let json = session.json(&["thread", "functions", "--thread", "t-0", "--include-idle"]);
        assert_eq!(json["functions"][0]["name"], "last");
        assert_eq!(json["functions"][0]["selfSamples"], 1);
    }
}
