//! Components: every case of `tests/components`, and real ones, rewritten.

use std::path::Path;

use wasmparser::{Validator, WasmFeatures};
use wasmscope_instrument::component::Component;
use wasmscope_instrument::{Dwarf, Exceptions, Options};

/// Returns the names and bytes of the cases.
pub(crate) fn cases() -> Vec<(String, Vec<u8>)> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/components");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the cases are there") {
        let path = entry.expect("the cases are there").path();
        let name = path.file_stem().expect("it has a name");
        let wasm = wat::parse_file(&path).expect("it is in the text format");
        cases.push((name.to_string_lossy().into_owned(), wasm));
    }
    cases.sort();
    cases
}

/// Returns real components: those of the repository, and those that were fetched.
fn real() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests"));
    let mut files = vec!["component.wasm", "component-add.wat"];
    let fetched = ["real/python-component.wasm", "real/js-component.wasm"];
    files.extend(
        fetched
            .into_iter()
            .filter(|file| directory.join(file).exists()),
    );
    let read = |file: &str| {
        let wasm = wat::parse_file(directory.join(file)).expect("it is valid");
        (file.to_owned(), wasm)
    };
    files.into_iter().map(read).collect()
}

pub(crate) fn validate(name: &str, wasm: &[u8]) {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    if let Err(error) = validator.validate_all(wasm) {
        panic!("{name}: {error}");
    }
}

fn options() -> [Options; 3] {
    let options = Options {
        suffix: ":0a1b".to_owned(),
        key: 7,
        ..Options::default()
    };
    [
        Options {
            exceptions: Exceptions::Never,
            ..options.clone()
        },
        Options {
            expose: true,
            dwarf: Dwarf::Rewrite,
            ..options.clone()
        },
        Options {
            expose: true,
            exceptions: Exceptions::Always,
            ..options
        },
    ]
}

#[test]
fn with_a_probe_everywhere_every_component_stays_valid() {
    for (name, wasm) in cases().into_iter().chain(real()) {
        let component = Component::parse(&wasm).unwrap();
        for options in options() {
            let rewritten = component.rewrite(&options, &|_| true).unwrap();
            validate(&name, &rewritten.wasm);
        }
    }
}

#[test]
fn without_a_probe_every_component_stays_the_same_to_the_byte() {
    for (name, wasm) in cases().into_iter().chain(real()) {
        let component = Component::parse(&wasm).unwrap();
        let rewritten = component.rewrite(&Options::default(), &|_| false).unwrap();
        assert!(rewritten.wasm == wasm, "{name}");
    }
}
