//! Golden files: each format of the fixture, byte by byte.
//!
//! `BLESS=1 cargo test -p wasmscope-profile` writes them anew. pprof is kept as
//! text, so that a change can be read.

use std::path::PathBuf;

use wasmscope_profile::*;

use crate::dump::{first_difference, pprof_part};
use crate::fixture;

fn check(name: &str, found: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, found).unwrap();
        return;
    }
    let expected = std::fs::read(&path).unwrap_or_default();
    assert!(
        expected == found,
        "{name} is not what it was; if that is right, run BLESS=1 cargo test -p wasmscope-profile\n{}",
        first_difference(
            &String::from_utf8_lossy(&expected),
            &String::from_utf8_lossy(found)
        )
    );
}

fn written(profile: &Profile, format: Format) -> Vec<u8> {
    let mut bytes = Vec::new();
    profile.write(format, false, &mut bytes).unwrap();
    bytes
}

/// JSON with a key a line, so that a change can be read.
fn pretty(json: &[u8]) -> Vec<u8> {
    let value: serde_json::Value = serde_json::from_slice(json).unwrap();
    let mut bytes = serde_json::to_vec_pretty(&value).unwrap();
    bytes.push(b'\n');
    bytes
}

#[test]
fn firefox() {
    check(
        "fixture.json",
        &pretty(&written(&fixture::profile(), Format::Firefox)),
    );
    check(
        "empty.json",
        &pretty(&written(&fixture::empty(), Format::Firefox)),
    );
}

#[test]
fn pprof() {
    // Decoded by our own reader, which the round trips and `go tool pprof` check.
    let read =
        wasmscope_profile::pprof::read(&written(&fixture::profile(), Format::Pprof)).unwrap();
    let comments = read.meta().comments.join("\n");
    let text = format!("{}{comments}\n", pprof_part(&read));
    check("fixture.pb.txt", text.as_bytes());
}

#[test]
fn folded() {
    check(
        "fixture.folded",
        &written(&fixture::profile(), Format::Folded),
    );
    assert_eq!(written(&fixture::empty(), Format::Folded), b"");
}

#[test]
fn svg() {
    check("fixture.svg", &written(&fixture::profile(), Format::Svg));
    check("empty.svg", &written(&fixture::empty(), Format::Svg));
}
