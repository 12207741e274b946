//! `go tool pprof` reads from our files what is in the model.

use std::collections::BTreeMap;
use std::path::Path;

use wasmscope_profile::*;

use crate::dump::assert_same;
use crate::{fixture, tools};

fn pprof(go: &Path, arguments: &[&str], file: &Path) -> String {
    tools::output(go, |command| {
        command
            .args(["tool", "pprof", "-symbolize=none"])
            .args(arguments)
            .arg(file);
    })
}

/// Totals by name in the rows of `-top`: own, cumulative.
fn rows_of_top(text: &str, unit: &str) -> BTreeMap<String, (u64, u64)> {
    let mut rows: Vec<(u64, u64, String)> = Vec::new();
    let (_, table) = text.split_once("cum%\n").unwrap();
    for line in table.split('\n') {
        let parsed = (|| {
            let mut rest = line.trim_start();
            let mut columns = Vec::new();
            for _ in 0..5 {
                let (column, after) = rest.split_once(' ')?;
                columns.push(column);
                // The name is two spaces after the last column.
                rest = if columns.len() == 5 {
                    after.strip_prefix(' ')?
                } else {
                    after.trim_start()
                };
            }
            let number = |column: &str| column.strip_suffix(unit).unwrap_or(column).parse().ok();
            Some((number(columns[0])?, number(columns[3])?, rest.to_owned()))
        })();
        match (parsed, rows.last_mut()) {
            (Some(row), _) => rows.push(row),
            // A name with a line break in it.
            (None, Some(row)) => {
                row.2.push('\n');
                row.2.push_str(line);
            }
            (None, None) => panic!("not a row: {line:?}"),
        }
    }
    let mut totals = BTreeMap::new();
    for (own, cumulative, name) in rows {
        let name = name.strip_suffix('\n').unwrap_or(&name);
        let name = name.strip_suffix(" (inline)").unwrap_or(name);
        let name = name.strip_suffix(" (partial-inline)").unwrap_or(name);
        let twice = totals.insert(name.to_owned(), (own, cumulative));
        assert!(twice.is_none(), "{name} has two rows");
    }
    totals
}

#[test]
fn totals_and_names_equal_the_models() {
    let Some(go) = tools::find("bin/go") else {
        return;
    };
    let profile = fixture::profile();
    for name in ["a.pb.gz", "a.pb"] {
        let (_directory, file) = tools::saved(&profile, name);
        let options = ["-top", "-nodefraction=0", "-nodecount=0"];
        for (index, unit) in [("samples", ""), ("wall", "ns")] {
            let index = format!("-sample_index={index}");
            let unit_option = if unit.is_empty() {
                "-unit=auto"
            } else {
                "-unit=ns"
            };
            let text = pprof(&go, &[&options[..], &[&index, unit_option]].concat(), &file);
            let found = rows_of_top(&text, unit);
            let expected: BTreeMap<String, (u64, u64)> = profile
                .function_totals()
                .into_iter()
                .map(|it| {
                    let value = |total: Total| match unit {
                        "" => total.count,
                        _ => total.weight.as_nanos() as u64,
                    };
                    let name = profile.function(it.function).name.clone();
                    (name, (value(it.own), value(it.total)))
                })
                .collect();
            assert_eq!(found, expected);
            let total = match unit {
                "" => profile.total().count.to_string(),
                _ => format!("{}ns", profile.total().weight.as_nanos()),
            };
            assert!(text.contains(&format!("of {total} total")), "{text}");
        }
    }
}

/// The parts of `-raw`: what stands before, samples, locations, mappings. An entry
/// of the last two is its number and its text, with line breaks in it.
struct Raw {
    head: String,
    samples: Vec<String>,
    locations: BTreeMap<u64, String>,
    mappings: BTreeMap<u64, String>,
}

fn entries(text: &str) -> BTreeMap<u64, String> {
    let mut entries: Vec<(u64, String)> = Vec::new();
    for line in text.split('\n') {
        let numbered = line.split_once(": ").and_then(|(number, rest)| {
            rest.starts_with("0x")
                .then(|| Some((number.trim().parse().ok()?, rest.to_owned())))?
        });
        match (numbered, entries.last_mut()) {
            (Some(entry), _) => entries.push(entry),
            (None, Some(entry)) => entry.1 = format!("{}\n{line}", entry.1),
            (None, None) => panic!("not an entry: {line:?}"),
        }
    }
    entries.into_iter().collect()
}

fn parse_raw(text: &str) -> Raw {
    let (head, rest) = text.split_once("Samples:\n").unwrap();
    let (samples, rest) = rest.split_once("\nLocations\n").unwrap();
    let (locations, mappings) = rest.rsplit_once("\nMappings\n").unwrap();
    let mut parsed: Vec<String> = Vec::new();
    let (types, samples) = samples.split_once('\n').unwrap();
    assert_eq!(types.trim_end(), "samples/count wall/nanoseconds[dflt]");
    for line in samples.split('\n') {
        if line.starts_with("                ") {
            let tags = parsed.last_mut().unwrap();
            tags.push('\n');
            tags.push_str(line.trim());
        } else {
            parsed.push(line.trim().to_owned());
        }
    }
    Raw {
        head: head.to_owned(),
        samples: parsed,
        locations: entries(locations),
        mappings: entries(mappings.trim_end_matches('\n')),
    }
}

/// A location as `-raw` prints it, after its address and mapping.
fn location_text(profile: &Profile, location: LocationHandle) -> String {
    let lines: Vec<String> = profile
        .location_frames(location)
        .map(|frame| {
            let function = profile.function(frame.function);
            let system = function.system_name.as_deref().unwrap_or_default();
            format!(
                "{} {}:{}:{} s={}({system})",
                function.name,
                function.file.as_deref().unwrap_or_default(),
                frame.line.unwrap_or(0),
                frame.column.unwrap_or(0),
                function.start_line.unwrap_or(0),
            )
        })
        .collect();
    lines.join("\n             ")
}

fn address_text(profile: &Profile, location: LocationHandle) -> String {
    let location = profile.location(location);
    let name = location
        .mapping
        .map(|mapping| profile.mapping(mapping))
        .map_or("", |it| it.file.as_deref().unwrap_or(&it.name));
    format!("{name}+{:#x}", location.address.unwrap_or(0))
}

fn tags_text(profile: &Profile, sample: &Sample) -> String {
    let thread = profile.thread(sample.thread);
    let mut texts = vec![format!("thread:[{}]", thread.name)];
    if !thread.process.is_empty() {
        texts.push(format!("process:[{}]", thread.process));
    }
    let mut numbers = vec![format!("thread_id:[{}]", thread.id)];
    for label in profile.labels(sample.labels) {
        let key = &label.key;
        match &label.value {
            Value::Text(text) => texts.push(format!("{key}:[{text}]")),
            Value::Number(number, None) => numbers.push(format!("{key}:[{number}]")),
            Value::Number(number, Some(unit)) => numbers.push(format!("{key}:[{number} {unit}]")),
        }
    }
    texts.sort();
    numbers.sort();
    format!("{}\n{}", texts.join(" "), numbers.join(" "))
}

#[test]
fn stacks_lines_labels_and_addresses_equal_the_models() {
    let Some(go) = tools::find("bin/go") else {
        return;
    };
    let profile = fixture::profile();
    let (_directory, file) = tools::saved(&profile, "a.pb.gz");
    let raw = parse_raw(&pprof(&go, &["-raw"], &file));

    // Where each mapping starts, and what it is called without our tag.
    let mappings: BTreeMap<u64, (u64, String)> = raw
        .mappings
        .iter()
        .map(|(id, text)| {
            let (range, name) = text.split_once(' ').unwrap();
            let start = range.trim_start_matches("0x").split('/').next().unwrap();
            let name = name.split(" [").next().unwrap();
            let name = name.split(' ').next().unwrap();
            let name = if name.starts_with('[') { "" } else { name };
            (
                *id,
                (u64::from_str_radix(start, 16).unwrap(), name.to_owned()),
            )
        })
        .collect();
    let mut found = Vec::new();
    for sample in &raw.samples {
        let (values, tags) = sample.split_once('\n').unwrap();
        let (values, locations) = values.split_once(':').unwrap();
        let values: Vec<&str> = values.split_whitespace().collect();
        let mut text = format!("{} {}", values[0], values[1]);
        for id in locations.split_whitespace() {
            let location = &raw.locations[&id.parse().unwrap()];
            let (address, location) = location.split_once(" M=").unwrap();
            let (mapping, location) = location.split_once(' ').unwrap();
            let (start, name) = &mappings[&mapping.parse().unwrap()];
            let address = u64::from_str_radix(&address[2..], 16).unwrap();
            text += &format!("\n{name}+{:#x} {location}", address - start);
        }
        found.push(format!("{text}\n{tags}"));
    }
    found.sort();

    let mut sums: BTreeMap<String, (u64, u128)> = BTreeMap::new();
    for sample in profile.samples() {
        let mut text = String::new();
        let stack = sample.stack.into_iter();
        for location in stack.flat_map(|stack| profile.stack_locations(stack)) {
            let address = address_text(&profile, location);
            text += &format!("\n{address} {}", location_text(&profile, location));
        }
        text += &format!("\n{}", tags_text(&profile, &sample));
        let sum = sums.entry(text).or_default();
        sum.0 += sample.count;
        sum.1 += sample.weight.as_nanos();
    }
    let mut expected: Vec<String> = sums
        .into_iter()
        .map(|(text, (count, weight))| format!("{count} {weight}{text}"))
        .collect();
    expected.sort();
    assert_same(&found.join("\n\n"), &expected.join("\n\n"));

    for (part, line) in [
        ("time", "Time: 2023-11-14 22:13:20.25 +0000 UTC\n"),
        ("period type", "PeriodType: wall nanoseconds\n"),
        ("period", "Period: 1000000\n"),
        ("product", "Comment: product: app \"é\" <b>.wasm\n"),
        ("mechanism", "Comment: mechanism: perf_event task-clock\n"),
        (
            "accounting",
            "40 due, 37 kept, 3 lost, in 40000000 ns sampled\n",
        ),
    ] {
        assert!(raw.head.contains(line), "no {part} in {}", raw.head);
    }
}

#[test]
fn source_lines_have_their_totals() {
    let Some(go) = tools::find("bin/go") else {
        return;
    };
    let (_directory, file) = tools::saved(&fixture::profile(), "a.pb.gz");
    let text = pprof(
        &go,
        &[
            "-top",
            "-lines",
            "-nodefraction=0",
            "-nodecount=0",
            "-unit=ns",
        ],
        &file,
    );
    let rows = rows_of_top(&text, "ns");
    assert_eq!(rows["app::blit src/blit.rs:22"], (6_000_000, 6_000_000));
    assert_eq!(rows["app::render src/render.rs:14"], (0, 6_000_000));
    assert_eq!(rows["app::render src/render.rs:12"], (2_501_000, 4_001_000));
    assert_eq!(rows["fib src/fib.c:8"], (3_000_000, 3_000_000));
}

#[test]
fn a_profile_without_samples_is_read() {
    let Some(go) = tools::find("bin/go") else {
        return;
    };
    let (_directory, file) = tools::saved(&fixture::empty(), "a.pb.gz");
    let raw = pprof(&go, &["-raw"], &file);
    assert!(
        raw.contains("samples/count wall/nanoseconds[dflt]"),
        "{raw}"
    );
}
