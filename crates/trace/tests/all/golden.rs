//! Golden files: each format of the fixture, byte by byte.
//!
//! `BLESS=1 cargo test -p wasmscope-trace` writes them anew.

use crate::fixture::{Bytes, builder, play};
use std::path::PathBuf;
use wasmscope_trace::{Builder, Format};

fn check(name: &str, builder: Builder) -> String {
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
