//! Golden files: each format of the fixture, byte by byte.
//!
//! `BLESS=1 cargo test -p wasmscope-trace` writes them anew.

use crate::components;
use crate::fixture::{Bytes, builder, play};
use std::path::PathBuf;
use wasmscope_trace::{Builder, Format, Tracer};

fn check(name: &str, builder: Builder) -> String {
    check_played(name, builder, play)
}

fn check_played(name: &str, builder: Builder, play: impl FnOnce(&Tracer)) -> String {
    let bytes = Bytes::default();
    play(&builder.write_to(bytes.clone()));
    let found = bytes.text();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &found).unwrap();
        return found;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let mut lines = expected.lines().zip(found.lines());
    let differs = lines.find(|(expected, found)| expected != found);
    assert!(
        expected == found,
        "{name} is not what it was; if that is right, run BLESS=1 cargo test -p wasmscope-trace\n\
         {differs:#?}"
    );
    found
}

#[test]
fn text() {
    let found = check("fixture.txt", builder());
    let controls = |character: char| character.is_control() && character != '\n';
    assert!(!found.contains(controls), "a terminal would obey");
}

#[test]
fn coloured_text() {
    check("coloured.txt", builder().coloured(true).depth(2));
}

#[test]
fn json() {
    check("fixture.jsonl", builder().format(Format::Json));
}

#[test]
fn chrome() {
    check("fixture.json", builder().format(Format::Chrome));
}

#[test]
fn only_imports() {
    check(
        "imports.txt",
        builder().select(|definition| definition.is_host()),
    );
}

#[test]
fn components_as_text() {
    let found = check_played("components.txt", builder(), components::play);
    let controls = |character: char| character.is_control() && character != '\n';
    assert!(!found.contains(controls), "a terminal would obey");
}

#[test]
fn components_as_json() {
    let json = builder().format(Format::Json);
    let found = check_played("components.jsonl", json, components::play);
    for line in found.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(event.is_object());
    }
}

#[test]
fn components_as_chrome() {
    let chrome = builder().format(Format::Chrome);
    let found = check_played("components.json", chrome, components::play);
    let events: Vec<serde_json::Value> = serde_json::from_str(&found).unwrap();
    assert!(events.len() > 10);
}
