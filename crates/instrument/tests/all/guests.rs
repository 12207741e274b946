//! Every guest of the repository, rewritten in every way: what comes out is valid, holds
//! the same operators where the map says they are, and is the same each time.

use crate::operators::{self, Operators, compare};
use wasmscope_instrument::events::Events;
use wasmscope_instrument::{Exceptions, Module, Options};

/// Ways of rewriting that differ in the code that they insert.
pub(crate) fn ways() -> [Options; 8] {
    let way = |exceptions, switches, expose| Options {
        suffix: ":test".to_owned(),
        key: 7,
        exceptions,
        switches,
        expose,
        ..Options::default()
    };
    [
        way(Exceptions::Never, false, false),
        way(Exceptions::Auto, true, false),
        way(Exceptions::Always, false, true),
        way(Exceptions::Always, true, true),
        Options {
            events: Some(Events::default()),
            ..way(Exceptions::Auto, false, false)
        },
        Options {
            events: Some(Events::default()),
            ..way(Exceptions::Always, true, true)
        },
        Options {
            guarded: true,
            ..way(Exceptions::Auto, false, false)
        },
        Options {
            guarded: true,
            events: Some(Events::default()),
            ..way(Exceptions::Always, true, true)
        },
    ]
}

/// Returns the guests' names and bytes; components are not for this crate.
fn guests() -> Vec<(String, Vec<u8>)> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests");
    let mut guests = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the guests are there") {
        let path = entry.expect("the guests are there").path();
        let name = path
            .file_name()
            .expect("it has a name")
            .to_string_lossy()
            .into_owned();
        if !name.starts_with("component") && (name.ends_with(".wasm") || name.ends_with(".wat")) {
            guests.push((name, wat::parse_file(&path).expect("guests are valid")));
        }
    }
    guests.sort();
    assert!(guests.len() > 20, "only {} guests", guests.len());
    guests
}

#[test]
fn every_guest_stays_valid_and_keeps_its_operators() {
    for (name, wasm) in guests() {
        let module = Module::parse(&wasm).unwrap();
        let original = Operators::read(&wasm);
        for options in ways() {
            let rewritten = module.rewrite(&options, &|_| true).unwrap();
            assert_eq!(rewritten.skipped, [], "{name}");
            assert_eq!(rewritten.probes.len(), module.functions().len(), "{name}");
            compare(
                &name,
                &original,
                &Operators::read(&rewritten.wasm),
                &rewritten,
                &module,
            );
        }
    }
}

#[test]
fn functions_without_a_probe_keep_every_operator() {
    for (name, wasm) in guests() {
        let module = Module::parse(&wasm).unwrap();
        let original = Operators::read(&wasm);
        // Every third function has a probe.
        let rewritten = module
            .rewrite(&Options::default(), &|function| function.0 % 3 == 0)
            .unwrap();
        let now = Operators::read(&rewritten.wasm);
        compare(&name, &original, &now, &rewritten, &module);
        for function in module.functions() {
            let moved = rewritten.map.rewritten_function(function.index).unwrap();
            assert_eq!(rewritten.map.original_function(moved), Some(function.index));
            if function.index.0 % 3 == 0 || function.import.is_some() {
                continue;
            }
            let (before, after) = (original.function(function.index), now.function(moved));
            assert_eq!(
                before.len(),
                after.len(),
                "{name}: function {}",
                function.index
            );
            for ((_, before), (_, after)) in before.iter().zip(after) {
                let expected = operators::expected(*before, &original, &now, &rewritten, &module);
                assert_eq!(expected, *after, "{name}");
            }
        }
    }
}

#[test]
fn a_module_without_probes_stays_the_same_to_the_byte() {
    for (name, wasm) in guests() {
        let module = Module::parse(&wasm).unwrap();
        let rewritten = module.rewrite(&Options::default(), &|_| false).unwrap();
        let (before, after) = (Operators::read(&wasm), Operators::read(&rewritten.wasm));
        compare(&name, &before, &after, &rewritten, &module);
        let stripped = |name: &str| name.starts_with(".debug_");
        assert!(
            operators::sections(&wasm, stripped) == operators::sections(&rewritten.wasm, stripped),
            "{name}"
        );
    }
}

#[test]
fn the_output_does_not_depend_on_threads() {
    let pool = |threads| {
        let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
        builder.build().expect("threads start")
    };
    let (one, many) = (pool(1), pool(5));
    for (name, wasm) in guests() {
        let rewrite = || {
            let module = Module::parse(&wasm).unwrap();
            module.rewrite(&Options::default(), &|_| true).unwrap().wasm
        };
        assert!(one.install(rewrite) == many.install(rewrite), "{name}");
    }
}

#[test]
fn the_output_is_at_most_half_larger() {
    for (name, wasm) in guests() {
        // A few functions weigh less than what all have in common.
        if wasm.len() < 1 << 16 {
            continue;
        }
        let module = Module::parse(&wasm).unwrap();
        let kept = operators::sections(&wasm, |name| name.starts_with(".debug_"));
        let before: usize = kept.iter().map(|(_, contents)| contents.len()).sum();
        let after = module
            .rewrite(&Options::default(), &|_| true)
            .unwrap()
            .wasm
            .len();
        assert!(after * 2 <= before * 3, "{name}: {before} became {after}");
    }
}
