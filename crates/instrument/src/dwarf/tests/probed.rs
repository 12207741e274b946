//! The same of the modules that the rewriter makes, rather than a synthetic one.

use wasmscope_address::WasmOffset;

use super::*;
use crate::dwarf::Outcome;
use crate::{Dwarf as Debug, Exceptions, Module, Options};

/// Reads what happened to each instruction of the original, and which ones are new.
fn probed(old: &[u8], new: &[u8], map: &crate::Map) -> Stretched {
    let (old_start, new_start) = map.code_start();
    let operators = |contents: &[u8], start: WasmOffset| {
        let reader = CodeSectionReader::new(BinaryReader::new(contents, start.0 as usize));
        let bodies = reader.expect("a code section").into_iter();
        let bodies = bodies.map(|body| body.expect("a body"));
        let operators = bodies.map(|body| {
            let reader = body.get_operators_reader().expect("operators");
            let offsets = reader.into_iter_with_offsets();
            offsets
                .map(|operator| operator.expect("an operator").1 as u32)
                .collect::<Vec<_>>()
        });
        operators.collect::<Vec<_>>()
    };
    let instructions = operators(old, old_start).into_iter().flatten().map(|old| {
        let new = map.rewritten(WasmOffset(old)).expect("it is somewhere");
        (u64::from(old - old_start.0), u64::from(new.0 - new_start.0))
    });
    let bodies = map
        .bodies()
        .map(|(old, _)| u64::from(old.start.0 - old_start.0)..u64::from(old.end.0 - old_start.0));
    // Shims come behind the functions of the original.
    let added = operators(new, new_start).into_iter().zip(bodies);
    let added = added.flat_map(|(operators, body)| {
        let added = operators
            .into_iter()
            .filter(|new| map.original(WasmOffset(*new)).is_none());
        added.map(move |new| (u64::from(new - new_start.0), body.clone()))
    });
    Stretched {
        contents: new.to_vec(),
        instructions: instructions.collect(),
        added: added.collect(),
    }
}

fn check(wasm: &[u8], options: &Options) -> Seen {
    let module = Module::parse(wasm).expect("valid");
    let rewritten = module.rewrite(options, &|_| true).expect("rewritten");
    let left_out = Vec::new();
    assert_eq!(rewritten.debug, Outcome::Rewritten { left_out });
    let (old, new) = (Sections::of(wasm), Sections::of(&rewritten.wasm));
    let stretched = probed(old.code, new.code, &rewritten.map);
    let new = new
        .custom
        .iter()
        .map(|(name, bytes)| (*name, (*bytes).into()));
    compare(&old.custom, &new.collect::<Vec<_>>(), &stretched)
}

#[test]
fn modules_say_the_same() {
    let options = |switches, exceptions| Options {
        switches,
        exceptions,
        dwarf: Debug::Rewrite,
        ..Options::default()
    };
    for name in [
        "fib", "table", "trap", "shapes", "reactor", "inline", "report",
    ] {
        let wasm = guest(&format!("{name}.wasm"));
        for options in [
            options(false, Exceptions::Never),
            options(true, Exceptions::Always),
        ] {
            let seen = check(&wasm, &options);
            assert!(seen.lines > 100 && seen.locations > 5, "{name}: {seen:?}");
            assert!(seen.added > 20, "{name}: {seen:?}");
        }
    }
    for (name, wasm) in FIXTURES {
        let seen = check(wasm, &options(true, Exceptions::Never));
        assert!(seen.lines > 80 && seen.inlined > 40, "{name}: {seen:?}");
    }
}

#[test]
fn a_module_is_rewritten_without_what_cannot_be() {
    let mut wasm = guest("reactor.wasm");
    let count = |wasm: &[u8]| {
        let custom = Sections::of(wasm).custom;
        custom
            .iter()
            .filter(|(name, _)| super::super::is_debug(name))
            .count()
    };
    let options = Options {
        dwarf: Debug::Rewrite,
        ..Options::default()
    };
    // A second `.debug_line`.
    let mut section = vec![0, 12, 11];
    section.extend_from_slice(b".debug_line");
    wasm.extend_from_slice(&section);
    let module = Module::parse(&wasm).expect("valid");
    let rewritten = module.rewrite(&options, &|_| true).expect("rewritten");
    assert!(matches!(
        rewritten.debug,
        Outcome::LeftOut(Reason::Damaged { .. })
    ));
    assert_eq!(count(&rewritten.wasm), 0);
    let stripped = module.rewrite(&Options::default(), &|_| true);
    let stripped = stripped.expect("rewritten");
    assert_eq!(
        (stripped.debug, count(&stripped.wasm)),
        (Outcome::Absent, 0)
    );
}
