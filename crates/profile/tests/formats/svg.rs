//! The flame graph, read as XML by a parser that is not ours.

use std::collections::BTreeMap;

use wasmscope_profile::*;

use crate::fixture;

fn image(profile: &Profile) -> String {
    let mut bytes = Vec::new();
    profile.write(Format::Svg, false, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The name as it must be in XML, which has no way to write some characters.
fn in_xml(name: &str) -> String {
    name.replace(['\0', '\u{1b}'], "\u{fffd}")
}

#[test]
fn tooltips_have_the_models_names_and_totals() {
    let profile = fixture::profile();
    let text = image(&profile);
    let document = roxmltree::Document::parse(&text).unwrap();
    let mut found: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    for frame in document
        .descendants()
        .filter(|it| it.attribute("class") == Some("f"))
    {
        let name = frame.attribute("data-n").unwrap();
        let title = frame.first_element_child().unwrap().text().unwrap();
        let figures = title
            .strip_prefix(name)
            .unwrap()
            .strip_prefix('\n')
            .unwrap();
        let (millis, rest) = figures.split_once(" ms, ").unwrap();
        let (samples, _) = rest.split_once(" samples").unwrap();
        let sum = found.entry(name.to_owned()).or_default();
        sum.0 += samples.parse::<u64>().unwrap();
        sum.1 += millis.parse::<f64>().unwrap();
    }
    let all = found.remove("all").unwrap();
    assert_eq!(all, (profile.total().count, 31.251));
    // Recursion shows once for each level.
    let fib = found.remove("fib").unwrap();
    assert_eq!(fib, (4 * 3, 4.0 * 3.0));
    for it in profile.function_totals() {
        let name = &profile.function(it.function).name;
        if name != "fib" {
            let (count, millis) = found.remove(&in_xml(name)).unwrap();
            assert_eq!(count, it.total.count, "{name}");
            assert!(
                (millis - it.total.weight.as_secs_f64() * 1e3).abs() < 1e-6,
                "{name}"
            );
        }
    }
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn frames_are_within_their_callers_and_as_wide_as_their_time() {
    let profile = fixture::profile();
    let text = image(&profile);
    let document = roxmltree::Document::parse(&text).unwrap();
    let mut rows: BTreeMap<u32, Vec<(f64, f64)>> = BTreeMap::new();
    for frame in document
        .descendants()
        .filter(|it| it.attribute("class") == Some("f"))
    {
        let depth = frame.attribute("data-d").unwrap().parse().unwrap();
        let rect = frame.children().find(|it| it.has_tag_name("rect")).unwrap();
        let number = |name| rect.attribute(name).unwrap().parse::<f64>().unwrap();
        let (x, width) = (number("x"), number("width"));
        let row = rows.entry(depth).or_default();
        if let Some((left, before)) = row.last() {
            assert!(x >= left + before - 0.02, "overlaps in row {depth}");
        }
        row.push((x, width));
    }
    assert_eq!(rows[&0], [(10.0, 1180.0)]);
    for (depth, row) in &rows {
        let Some(callers) = depth.checked_sub(1).map(|depth| &rows[&depth]) else {
            continue;
        };
        for (x, width) in row {
            let fits = callers
                .iter()
                .any(|(left, caller)| x + 0.02 >= *left && x + width <= left + caller + 0.02);
            assert!(fits, "row {depth} at {x}");
        }
    }
    let roots: f64 = rows[&1].iter().map(|(_, width)| width).sum();
    // One sample, of 250 microseconds, has no stack.
    assert!(
        (roots - 1180.0 * (31.251 - 0.25) / 31.251).abs() < 0.1,
        "{roots}"
    );
}

#[test]
fn no_name_gets_out_of_its_element() {
    let text = image(&fixture::profile());
    let document = roxmltree::Document::parse(&text).unwrap();
    let scripts = document
        .descendants()
        .filter(|it| it.has_tag_name("script"));
    assert_eq!(scripts.count(), 1);
    assert!(!text.contains("alert(\"1\")"));
}

#[test]
fn a_profile_without_weights_is_as_wide_as_its_counts() {
    let mut profile = Profile::new(fixture::meta());
    let thread = profile.add_thread(Thread::default());
    for (name, count) in [("a", 1), ("b", 3)] {
        let function = profile.add_function(Function {
            name: name.to_owned(),
            ..Function::default()
        });
        let location = profile.add_location(Location {
            mapping: None,
            address: None,
            lines: vec![Line {
                function,
                line: None,
                column: None,
            }],
        });
        let stack = Some(profile.add_stack(None, location));
        profile.add_sample(Sample {
            thread,
            time: std::time::Duration::ZERO,
            stack,
            count,
            weight: std::time::Duration::ZERO,
            cpu: None,
            labels: LabelsHandle::EMPTY,
        });
    }
    let text = image(&profile);
    assert!(text.contains("width=\"295.00\"") && text.contains("width=\"885.00\""));
}
