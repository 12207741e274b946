//! Components: every case of `tests/components`, and real ones, rewritten.

use std::num::NonZeroU16;
use std::ops::Range;
use std::path::Path;

use crate::operators::{Operators, compare};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use wasmscope_instrument::component::{
    Binding, Candidate, Component, Direction, RewrittenComponent, RewrittenModule,
};
use wasmscope_instrument::events::Events;
use wasmscope_instrument::{Dwarf, Error, Exceptions, Options, Rewritten};

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
    assert!(cases.len() > 7, "only {} cases", cases.len());
    cases
}

fn case(wanted: &str) -> Vec<u8> {
    let mut cases = cases().into_iter();
    let found = cases.find(|(name, _)| name == wanted);
    found.expect("it is there").1
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

/// Returns everything that can be rewritten with a probe on every function.
fn all() -> impl Iterator<Item = (String, Vec<u8>)> {
    let cases = cases().into_iter();
    let cases = cases.filter(|(name, _)| name != "passed_on");
    cases.chain(real())
}

fn validate(name: &str, wasm: &[u8]) {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    if let Err(error) = validator.validate_all(wasm) {
        panic!("{name}: {error}");
    }
}

fn options() -> [Options; 6] {
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
            show_globals: true,
            dwarf: Dwarf::Rewrite,
            ..options.clone()
        },
        Options {
            expose: true,
            exceptions: Exceptions::Always,
            ..options.clone()
        },
        Options {
            switches: true,
            exceptions: Exceptions::Always,
            ..options.clone()
        },
        Options {
            events: Some(Events::default()),
            ..options.clone()
        },
        Options {
            switches: true,
            events: Some(Events {
                pages: NonZeroU16::MAX,
            }),
            exceptions: Exceptions::Always,
            ..options
        },
    ]
}

/// Tells whether a component is so large that one way to rewrite it has to do.
fn is_large(wasm: &[u8]) -> bool {
    wasm.len() > 1 << 20
}

/// Returns where each core module of a component is, as another decoder finds it.
fn modules(wasm: &[u8]) -> Vec<Range<usize>> {
    let mut modules = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ModuleSection {
            unchecked_range, ..
        } = payload.expect("it is valid")
        {
            modules.push(unchecked_range);
        }
    }
    modules
}

/// Compares each core module of the original with what became of it.
fn compare_modules(
    name: &str,
    wasm: &[u8],
    component: &Component<'_>,
    rewritten: &RewrittenComponent,
) {
    let (before, after) = (modules(wasm), modules(&rewritten.wasm));
    assert_eq!(before.len(), component.modules().len(), "{name}");
    assert_eq!(after.len(), rewritten.modules.len(), "{name}");
    let mut seen = Vec::new();
    for (range, module) in after.into_iter().zip(&rewritten.modules) {
        let RewrittenModule::Original(module) = module else {
            continue;
        };
        seen.push(module.index);
        let nested = &component.modules()[module.index];
        assert_eq!(nested.offset, before[module.index].start, "{name}");
        let name = format!("{name}, module {}", module.index);
        let original = Operators::read_within(wasm, before[module.index].clone());
        let now = Operators::read_within(&rewritten.wasm, range);
        let rewritten = Rewritten {
            wasm: Vec::new(),
            probes: module.probes.clone(),
            skipped: module.skipped.clone(),
            map: module.map.clone(),
            debug: module.debug.clone(),
        };
        compare(&name, &original, &now, &rewritten, &nested.module);
    }
    assert_eq!(seen, (0..before.len()).collect::<Vec<_>>(), "{name}");
}

#[test]
fn with_a_probe_everywhere_every_component_stays_valid_and_keeps_its_operators() {
    for (name, wasm) in all() {
        let component = Component::parse(&wasm).unwrap();
        let ways = options();
        for options in if is_large(&wasm) { &ways[1..2] } else { &ways } {
            let rewritten = component.rewrite(options, &|_| true).unwrap();
            validate(&name, &rewritten.wasm);
            compare_modules(&name, &wasm, &component, &rewritten);
            for module in &rewritten.modules {
                if let RewrittenModule::Original(module) = module {
                    let functions = &component.modules()[module.index].module.functions();
                    assert_eq!(module.probes.len(), functions.len(), "{name}");
                    assert_eq!(module.skipped, [], "{name}");
                }
            }
        }
    }
}

#[test]
fn with_some_probes_what_has_none_stays_as_it_is() {
    for (name, wasm) in all() {
        let component = Component::parse(&wasm).unwrap();
        let steps = [2, 3];
        for step in if is_large(&wasm) { &steps[..1] } else { &steps } {
            let rewritten = component
                .rewrite(&options()[1], &|candidate| match candidate {
                    Candidate::Core { module, function } => {
                        module % step == 0 && function.0.is_multiple_of(3)
                    }
                    Candidate::Function(function) => function % step == 0,
                })
                .unwrap();
            validate(&name, &rewritten.wasm);
            compare_modules(&name, &wasm, &component, &rewritten);
            let ranges = modules(&rewritten.wasm);
            for (range, module) in ranges.into_iter().zip(&rewritten.modules) {
                if let RewrittenModule::Original(module) = module
                    && module.probes.is_empty()
                {
                    let before = modules(&wasm)[module.index].clone();
                    assert!(rewritten.wasm[range] == wasm[before], "{name}");
                }
            }
        }
    }
}

#[test]
fn core_modules_become_what_they_become_alone() {
    for (name, wasm) in all() {
        let component = Component::parse(&wasm).unwrap();
        let options = &options()[1];
        let rewritten = component.rewrite(options, &|_| true).unwrap();
        let ranges = modules(&rewritten.wasm);
        for (range, module) in ranges.into_iter().zip(&rewritten.modules) {
            if let RewrittenModule::Original(module) = module {
                let alone = &component.modules()[module.index].module;
                let alone = alone.rewrite(options, &|_| true).unwrap();
                let bytes = &rewritten.wasm[range];
                if alone.probes.is_empty() {
                    let before = modules(&wasm)[module.index].clone();
                    assert!(bytes == &wasm[before], "{name}");
                } else {
                    assert!(bytes == alone.wasm, "{name}");
                    assert_eq!(module.debug, alone.debug, "{name}");
                }
            }
        }
    }
}

#[test]
fn without_a_probe_every_component_stays_the_same_to_the_byte() {
    for (name, wasm) in cases().into_iter().chain(real()) {
        let component = Component::parse(&wasm).unwrap();
        let rewritten = component.rewrite(&Options::default(), &|_| false).unwrap();
        assert!(rewritten.wasm == wasm, "{name}");
        assert!(rewritten.instantiations.is_empty(), "{name}");
        compare_modules(&name, &wasm, &component, &rewritten);
    }
}

#[test]
fn the_output_does_not_depend_on_threads() {
    let pool = |threads| {
        let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
        builder.build().expect("threads start")
    };
    let (one, many) = (pool(1), pool(5));
    for (name, wasm) in all() {
        let rewrite = || {
            let component = Component::parse(&wasm).unwrap();
            component.rewrite(&options()[1], &|_| true).unwrap().wasm
        };
        assert!(one.install(rewrite) == many.install(rewrite), "{name}");
    }
}

#[test]
fn what_is_rewritten_cannot_be_rewritten_again() {
    for (name, wasm) in all() {
        let component = Component::parse(&wasm).unwrap();
        let rewritten = component.rewrite(&options()[0], &|_| true).unwrap();
        let again = Component::parse(&rewritten.wasm);
        assert!(matches!(again, Err(Error::Reserved { .. })), "{name}");
    }
}

/// What a component lifts and lowers: direction, interface, name.
fn functions(wasm: &[u8]) -> Vec<(Direction, Option<String>, Option<String>)> {
    let component = Component::parse(wasm).expect("it is valid");
    let functions = component.functions().iter();
    let functions = functions.map(|function| {
        let (interface, name) = (function.interface.clone(), function.name.clone());
        (function.direction, interface, name)
    });
    functions.collect()
}

#[test]
fn functions_are_known_by_their_interface_and_name() {
    let named = |direction, interface: Option<&str>, name: &str| {
        let interface = interface.map(str::to_owned);
        (direction, interface, Some(name.to_owned()))
    };
    assert_eq!(
        functions(&case("strings")),
        [
            named(Direction::Import, Some("demo:host/log@1.0.0"), "say"),
            named(Direction::Export, Some("demo:host/greeter@1.0.0"), "greet"),
            named(Direction::Export, None, "freed"),
        ]
    );
    assert_eq!(
        functions(&case("nested")),
        [
            named(Direction::Import, None, "say"),
            named(Direction::Export, Some("demo:kept/words"), "put"),
            named(Direction::Import, Some("first"), "put"),
            named(Direction::Import, Some("second"), "put"),
            named(Direction::Export, None, "run"),
        ]
    );
    // What tools write: each exported interface is an instance of a component of its own.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/component.wasm");
    let functions = functions(&std::fs::read(path).unwrap());
    let runs = named(Direction::Export, Some("wasi:cli/run@0.2.12"), "run");
    assert!(functions.contains(&runs), "{functions:?}");
    for (direction, interface, name) in &functions {
        assert!(name.is_some(), "{functions:?}");
        let wasi = interface
            .as_ref()
            .is_some_and(|name| name.starts_with("wasi:"));
        assert!(wasi || *direction == Direction::Export, "{functions:?}");
    }
}

/// What tools put between a module and what its component lowers is seen through, and what is
/// found goes by the name that the module imports it by.
#[test]
fn what_modules_import_is_followed_to_what_is_lowered() {
    for (name, wasm) in real() {
        let component = Component::parse(&wasm).unwrap();
        let mut lowered = 0;
        for (index, nested) in component.modules().iter().enumerate() {
            let functions = nested.module.functions().iter();
            for function in functions.take_while(|function| function.import.is_some()) {
                let (from, import) = function.import.unwrap();
                let what = format!("{name}, module {index}: {from} {import}");
                for binding in component.bindings(index, function.index) {
                    // Only tools' own functions go through tables that others may write.
                    assert!(binding != Binding::Unknown || !from.contains(':'), "{what}");
                    let Binding::Lowered(number) = binding else {
                        let mut known = component.functions().iter();
                        let is_one = known.any(|function| {
                            function.interface.as_deref() == Some(from)
                                && function.name.as_deref() == Some(import)
                        });
                        assert!(!is_one, "{what}");
                        continue;
                    };
                    let function = &component.functions()[number];
                    assert_eq!(function.direction, Direction::Import, "{what}");
                    // Adapters and fixups have names of their own.
                    if let Some(interface) = &function.interface
                        && from.contains(':')
                    {
                        // Versions that agree are one.
                        let unversioned = |name: &str| name.split('@').next().map(str::to_owned);
                        assert_eq!(unversioned(interface), unversioned(from), "{what}");
                        assert_eq!(function.name.as_deref(), Some(import), "{what}");
                        lowered += 1;
                    }
                }
            }
        }
        assert!(lowered > 0 || !name.ends_with(".wasm"), "{name}");
    }
}

#[test]
fn what_is_passed_on_cannot_have_probes_yet() {
    let wasm = case("passed_on");
    let component = Component::parse(&wasm).unwrap();
    let rewrite = |wanted: usize| {
        component.rewrite(&Options::default(), &|candidate| match candidate {
            Candidate::Core { module, .. } => module == wanted,
            Candidate::Function(_) => true,
        })
    };
    for (wanted, name) in [(0, "leaves"), (1, "inner")] {
        let error = rewrite(wanted).unwrap_err().to_string();
        assert!(error.contains(&format!("{name:?}")), "{error}");
        assert!(error.ends_with("not supported yet"), "{error}");
    }
    let rewritten = rewrite(2).unwrap();
    validate("passed_on", &rewritten.wasm);
    compare_modules("passed_on", &wasm, &component, &rewritten);
}

#[test]
fn more_instances_than_engines_accept_are_an_error() {
    // Each function is lifted by itself, behind an instance that is needed for the next.
    let mut text = "(component (core module $m (func (export \"f\")))".to_owned();
    for n in 0..300 {
        text += &format!("(core instance $i{n} (instantiate $m))");
        text += &format!("(func (export \"f{n}\") (canon lift (core func $i{n} \"f\")))");
    }
    text += ")";
    let wasm = wat::parse_str(text).unwrap();
    let component = Component::parse(&wasm).unwrap();
    let error = component.rewrite(&options()[0], &|_| true).unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooMany {
                what: "instances",
                count: 1001..,
                ..
            }
        ),
        "{error}"
    );
    let few = |candidate| candidate == Candidate::Function(7);
    let rewritten = component.rewrite(&options()[0], &few).unwrap();
    validate("300 instances", &rewritten.wasm);
}

#[test]
fn guards_are_not_for_components() {
    let wasm = case("strings");
    let component = Component::parse(&wasm).unwrap();
    let options = Options {
        guarded: true,
        ..Options::default()
    };
    let error = component.rewrite(&options, &|_| true).unwrap_err();
    assert!(matches!(error, Error::NotYet { .. }), "{error}");
}

#[test]
fn reserved_names_and_other_files_are_errors() {
    for (text, expected) in [
        (
            r#"(component (import "wasmscope-x01" (instance)))"#,
            r#"its import of "wasmscope-x01" at offset"#,
        ),
        (
            r#"(component (component (import "wasmscope-x" (func))))"#,
            r#"its import of "wasmscope-x" at offset"#,
        ),
        (
            r#"(component (instance $i) (export "wasmscope-xa" (instance $i)))"#,
            r#"its export "wasmscope-xa" at offset"#,
        ),
        (
            r#"(component (core module (import "wasmscope" "tail" (func))))"#,
            r#"its import from "wasmscope" at offset"#,
        ),
        ("(module)", "it is a core module"),
    ] {
        let wasm = wat::parse_str(text).unwrap();
        let error = Component::parse(&wasm).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let wasm = wat::parse_str("(component)").unwrap();
    let error = wasmscope_instrument::Module::parse(&wasm).unwrap_err();
    assert_eq!(error, Error::Component);
}

#[test]
fn errors_in_a_nested_module_say_where_they_are_in_the_component() {
    let wasm =
        wat::parse_str(r#"(component (core module (func (result i32) (i32.const 305419896))))"#)
            .unwrap();
    // The operator becomes one that needs a value.
    let at = wasm.windows(2).position(|bytes| bytes == [0x41, 0xf8]);
    let at = at.expect("it is there");
    let mut damaged = wasm.clone();
    damaged[at..at + 6].copy_from_slice(&[0x45, 0x01, 0x01, 0x01, 0x01, 0x01]);
    let error = Component::parse(&damaged).unwrap_err();
    assert!(
        matches!(error, Error::Invalid { offset, .. } if offset == at),
        "{error}, not at {at:#x}"
    );
}

#[test]
fn functions_of_more_than_numbers_cannot_have_probes_yet() {
    let wasm = wat::parse_str(
        r#"(component
            (core module $m
                (func (export "g")))
            (core instance $i (instantiate $m))
            (func (export "g") (canon lift (core func $i "g") gc)))"#,
    )
    .unwrap();
    let component = Component::parse(&wasm).unwrap();
    let rewrite = |functions: bool| {
        component.rewrite(&options()[0], &|candidate| match candidate {
            Candidate::Core { .. } => true,
            Candidate::Function(_) => functions,
        })
    };
    let error = rewrite(true).unwrap_err().to_string();
    assert!(error.contains("the function g"), "{error}");
    validate("gc", &rewrite(false).unwrap().wasm);
}
