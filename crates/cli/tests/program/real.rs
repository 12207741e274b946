//! Real programs: CPython as a module and as a component, JavaScript, and esbuild. They are not
//! in the repository; `guests/fetch-real` brings them.

use crate::expected::{cases, check_profile, kept};
use crate::program::{Place, guest};
use std::io::Write;

/// Tells whether a program is not there, and then says so loudly.
pub(crate) fn is_missing(file: &str) -> bool {
    if guest(file).exists() {
        return false;
    }
    let text = format!("SKIPPED: guests/{file} is not there; run guests/fetch-real");
    assert!(
        std::env::var_os("WASMSCOPE_REQUIRE_REAL").is_none(),
        "{text}"
    );
    // Not by a macro: what those print is kept back while a test passes.
    std::io::stderr()
        .write_all(format!("{text}\n").as_bytes())
        .unwrap();
    true
}

/// Runs the cases of one program, or says loudly that it is not there.
fn check(file: &str, hot: &[&str]) {
    if is_missing(file) {
        return;
    }
    let cases: Vec<_> = cases("expected-real.txt")
        .into_iter()
        .filter(|case| case.file == file)
        .collect();
    assert!(!cases.is_empty());
    let mut samples = 0;
    for case in &cases {
        let place = Place::new();
        let ran = case.check(&place, "p.json.gz");
        assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
        let profile = place.firefox("p.json.gz");
        assert_eq!(check_profile(&place, "p.json.gz"), Some(kept(&ran)));
        let (due, kept, lost) = profile.accounting();
        assert!(
            due.abs_diff(kept + lost) <= 1,
            "{due} due, {kept} kept, {lost} lost"
        );
        for name in hot {
            profile.function(name);
        }
        samples += kept;
    }
    assert!(samples > 100, "{samples}");
}

#[test]
fn cpython() {
    check("real/python.wasm", &[]);
}

#[test]
fn cpython_as_a_component() {
    check("real/python-component.wasm", &["_PyEval_EvalFrameDefault"]);
}

#[test]
fn javascript_as_a_component() {
    check("real/js-component.wasm", &[]);
}

#[test]
fn esbuild() {
    check("real/esbuild.wasm", &[]);
}
