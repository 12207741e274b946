//! The body of the fuzz target: arbitrary bytes, rewritten in several ways.
//!
//! Run by a fuzzer, and by a bounded test over damaged real files.

use wasmparser::{Parser, Payload, Validator, WasmFeatures};
use wasmscope_address::{FuncIndex, WasmOffset};

use crate::component::deferred::Records;
use crate::component::{Candidate, Component};
use crate::events::Events;
use crate::{Dwarf, Error, Exceptions, Module, Options, Rewritten};

/// Offsets asked about in each file.
const OFFSETS: usize = 64;

/// Rewrites `data`, which need not be a module.
///
/// # Panics
///
/// When an invalid module is accepted, a valid one becomes invalid, or a map does not
/// answer the same both ways.
pub fn fuzz_instrument(data: &[u8]) {
    let valid = is_valid(data);
    let module = match Module::parse(data) {
        Ok(module) => module,
        Err(Error::Invalid { offset, reason }) => {
            assert!(!valid, "{reason} at {offset:#x}");
            assert!(offset <= data.len(), "{offset:#x} is past the end");
            return;
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(valid, "an invalid module was accepted");
    let kept = Some(Events::default());
    for (events, exceptions, switches, expose, guarded, dwarf, step) in [
        (
            None,
            Exceptions::Auto,
            false,
            false,
            false,
            Dwarf::Rewrite,
            1,
        ),
        (None, Exceptions::Always, true, true, true, Dwarf::Strip, 1),
        (None, Exceptions::Never, true, false, true, Dwarf::Strip, 3),
        (kept, Exceptions::Auto, false, false, false, Dwarf::Strip, 1),
        (kept, Exceptions::Always, true, true, true, Dwarf::Strip, 2),
    ] {
        let options = Options {
            events,
            exceptions,
            switches,
            expose,
            guarded,
            dwarf,
            ..Options::default()
        };
        let probe = |function: FuncIndex| function.0.is_multiple_of(step);
        match module.rewrite(&options, &probe) {
            Ok(rewritten) => check(&module, &rewritten, data.len()),
            Err(error) => assert!(matches!(error, Error::TooMany { .. }), "{error}"),
        }
    }
}

fn is_valid(wasm: &[u8]) -> bool {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    validator.validate_all(wasm).is_ok()
}

/// Tells whether everything that is nested in a component ends before it does, which the
/// validator does not ask.
fn is_whole(wasm: &[u8]) -> bool {
    Parser::new(0).parse_all(wasm).all(|payload| match payload {
        Ok(
            Payload::ModuleSection {
                unchecked_range: nested,
                ..
            }
            | Payload::ComponentSection {
                unchecked_range: nested,
                ..
            },
        ) => nested.end <= wasm.len(),
        _ => true,
    })
}

fn check(module: &Module<'_>, rewritten: &Rewritten, len: usize) {
    let Rewritten { wasm, map, .. } = rewritten;
    assert!(is_valid(wasm), "a valid module became invalid");
    if !rewritten.probes.is_empty() {
        let again = Module::parse(wasm);
        assert!(matches!(again, Err(Error::Reserved { .. })));
    }
    for offset in (0..len).step_by((len / OFFSETS).max(1)) {
        let offset = WasmOffset(offset as u32);
        if let Some(moved) = map.rewritten(offset) {
            assert_eq!(map.original(moved), Some(offset));
        }
    }
    for function in module.functions() {
        let moved = map.rewritten_function(function.index);
        let back = moved.and_then(|moved| map.original_function(moved));
        assert_eq!(back, Some(function.index));
    }
    let past = FuncIndex(module.functions().len() as u32);
    assert_eq!(map.rewritten_function(past), None);
}

/// Rewrites `data` as a component, which it need not be.
///
/// # Panics
///
/// When an invalid component is accepted, a valid one becomes invalid, or a map does not
/// answer the same both ways.
pub fn fuzz_component(data: &[u8]) {
    let valid = is_valid(data) && is_whole(data);
    let component = match Component::parse(data) {
        Ok(component) => component,
        Err(Error::Invalid { offset, reason }) => {
            assert!(!valid, "{reason} at {offset:#x}");
            assert!(offset <= data.len(), "{offset:#x} is past the end");
            return;
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(valid, "an invalid component was accepted");
    let kept = Some(Events::default());
    for (expose, switches, events, step, functions) in [
        (true, false, None, 1, 1),
        (false, true, None, 2, 3),
        (true, true, None, usize::MAX, 1),
        (false, false, kept, 1, 1),
        (false, true, kept, 2, 2),
    ] {
        let options = Options {
            expose,
            show_globals: expose,
            switches,
            events,
            ..Options::default()
        };
        let probed = |candidate| match candidate {
            Candidate::Core { module, function } => {
                (module + function.0 as usize).is_multiple_of(step)
            }
            Candidate::Function(function) => function.is_multiple_of(functions),
        };
        let rewritten = match component.rewrite(&options, &probed) {
            Ok(rewritten) => rewritten,
            Err(error) => {
                let expected = matches!(error, Error::TooMany { .. } | Error::NotYet { .. });
                assert!(expected, "{error}");
                continue;
            }
        };
        assert!(
            is_valid(&rewritten.wasm),
            "a valid component became invalid"
        );
        for offset in (0..data.len()).step_by((data.len() / OFFSETS).max(1)) {
            let offset = WasmOffset(offset as u32);
            if let Some(moved) = rewritten.rewritten(offset) {
                assert_eq!(rewritten.original(moved), Some(offset));
            }
        }
    }
}

/// Reads `data` as deferred events.
///
/// # Panics
///
/// When a record has more values than a hook.
pub fn fuzz_deferred(data: &[u8]) {
    for record in Records::new(data).flatten() {
        assert!(record.values().len() <= crate::hooks::GROUP);
    }
}
