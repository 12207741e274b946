//! What becomes of a module's other sections: names, hints, exports, custom ones; what is
//! refused; and what engines have no room for.

use std::collections::BTreeMap;

use wasmparser::{ExternalKind, KnownCustom, Name, Operator, Parser, Payload};
use wasmscope_address::{FuncIndex, WasmOffset};
use wasmscope_instrument::{Error, Exceptions, Module, Options, Rewritten, Skipped};

use crate::guests::ways;
use crate::operators::{self, Operators};

fn parse(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

fn rewrite(wasm: &[u8], options: &Options) -> Rewritten {
    let module = Module::parse(wasm).expect("it is valid");
    let rewritten = module.rewrite(options, &|_| true).expect("it is small");
    // Fails when it is not valid.
    Operators::read(&rewritten.wasm);
    rewritten
}

/// Names by what they name: a kind, a function or 0, and an index.
type Names = BTreeMap<(&'static str, u32, u32), String>;

fn names(wasm: &[u8]) -> Names {
    let mut all = Names::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::CustomSection(section) = payload.expect("it is valid") else {
            continue;
        };
        let KnownCustom::Name(subsections) = section.as_known() else {
            continue;
        };
        for subsection in subsections {
            let (kind, map) = match subsection.expect("it can be read") {
                Name::Function(map) => ("function", map),
                Name::Type(map) => ("type", map),
                Name::Global(map) => ("global", map),
                Name::Local(map) => {
                    indirect(&mut all, "local", map);
                    continue;
                }
                Name::Label(map) => {
                    indirect(&mut all, "label", map);
                    continue;
                }
                _ => continue,
            };
            for naming in map {
                let naming = naming.expect("it can be read");
                all.insert((kind, 0, naming.index), naming.name.to_owned());
            }
        }
    }
    all
}

fn indirect(all: &mut Names, kind: &'static str, map: wasmparser::IndirectNameMap<'_>) {
    for function in map {
        let function = function.expect("it can be read");
        for naming in function.names {
            let naming = naming.expect("it can be read");
            all.insert((kind, function.index, naming.index), naming.name.to_owned());
        }
    }
}

/// Returns the offsets of the operators that open labels, by function.
fn labels(wasm: &[u8]) -> Vec<Vec<u32>> {
    let mut all = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::CodeSectionEntry(body) = payload.expect("it is valid") else {
            continue;
        };
        let operators = body.get_operators_reader().expect("it is valid");
        let operators = operators.into_iter_with_offsets();
        let openings = operators.map(|operator| operator.expect("it is valid"));
        let openings = openings.filter(|(operator, _)| {
            matches!(
                operator,
                Operator::Block { .. }
                    | Operator::Loop { .. }
                    | Operator::If { .. }
                    | Operator::TryTable { .. }
            )
        });
        all.push(openings.map(|(_, offset)| offset as u32).collect());
    }
    all
}

const NAMED: &str = r#"(module $m (type $t (func (param i32)))
    (import "h" "log" (func $log (type $t))) (import "h" "other" (func (type $t)))
    (global $g i32 (i32.const 0))
    (func $one (param $p i32) (local $l i64)
      (block $a (loop $b (br_if $a (local.get $p)) (return_call $log (local.get $p)))
        (if $c (local.get $p) (then (block $d (return_call $one (local.get $p)))))
        (loop $e)))
    (func $two (block $f)))"#;

#[test]
fn names_follow_what_they_name() {
    let wasm = parse(NAMED);
    let before = names(&wasm);
    assert_eq!(before.len(), 13, "{before:?}");
    for options in ways() {
        for only in [None, Some(2), Some(3)] {
            let module = Module::parse(&wasm).unwrap();
            let probe = |function: FuncIndex| only.is_none_or(|only| only == function.0);
            let rewritten = module.rewrite(&options, &probe).unwrap();
            let (old, new) = (labels(&wasm), labels(&rewritten.wasm));
            let map = &rewritten.map;
            let function = |index| map.rewritten_function(FuncIndex(index)).unwrap().0;
            let mut expected = Names::new();
            for ((kind, of, index), name) in before.clone() {
                let moved = match kind {
                    "function" => (kind, 0, function(index)),
                    "local" => (kind, function(of), index),
                    "label" => {
                        let defined = (of - 2) as usize;
                        let offset = WasmOffset(old[defined][index as usize]);
                        let offset = map.rewritten(offset).unwrap().0;
                        let at = new[defined].iter().position(|at| *at == offset);
                        (kind, function(of), at.unwrap() as u32)
                    }
                    _ => (kind, of, index),
                };
                expected.insert(moved, name);
            }
            if only.is_none() {
                // The shim of the only import that has a name.
                expected.insert(("function", 0, function(3) + 1), "log".to_owned());
            }
            assert_eq!(names(&rewritten.wasm), expected);
        }
    }
}

#[test]
fn functions_say_what_a_host_decides_by() {
    let wasm = parse(NAMED);
    let module = Module::parse(&wasm).unwrap();
    let functions = module.functions();
    let names: Vec<_> = functions.iter().map(|function| function.name).collect();
    assert_eq!(names, [Some("log"), None, Some("one"), Some("two")]);
    assert_eq!(functions[1].import, Some(("h", "other")));
    assert_eq!(functions[2].param_names, [Some("p")]);
    assert_eq!(functions[2].flattened_params(), 1);
    assert!(functions[3].params().is_empty() && functions[3].body.is_some());
}

#[test]
fn branch_hints_follow_their_operators() {
    let wasm = parse(
        r#"(module (import "h" "f" (func $f))
            (func (call $f))
            (func (param i32)
              (call $f)
              (@metadata.code.branch_hint "\00") (if (local.get 0) (then (return)))
              (block (@metadata.code.branch_hint "\01") (br_if 0 (local.get 0)))))"#,
    );
    let before = hints(&wasm);
    assert_eq!(before.len(), 2);
    for options in ways() {
        let rewritten = rewrite(&wasm, &options);
        let moved = before.iter().map(|(offset, taken)| {
            let moved = rewritten.map.rewritten(WasmOffset(*offset)).unwrap();
            (moved.0, *taken)
        });
        assert_eq!(hints(&rewritten.wasm), moved.collect::<Vec<_>>());
    }
}

/// Returns the file offsets of the operators that have a branch hint, and the hints.
fn hints(wasm: &[u8]) -> Vec<(u32, bool)> {
    let (mut hints, mut imports, mut bodies) = (Vec::new(), 0, Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.expect("it is valid") {
            Payload::ImportSection(section) => imports += section.count(),
            Payload::CodeSectionEntry(body) => bodies.push(body.range().start as u32),
            Payload::CustomSection(section) => {
                if let KnownCustom::BranchHints(functions) = section.as_known() {
                    for function in functions {
                        let function = function.expect("it can be read");
                        for hint in function.hints {
                            let hint = hint.expect("it can be read");
                            hints.push((function.func, hint.func_offset, hint.taken));
                        }
                    }
                }
            }
            _ => {}
        }
    }
    let place = |(function, offset, taken)| (bodies[(function - imports) as usize] + offset, taken);
    hints.into_iter().map(place).collect()
}

#[test]
fn reserved_names_are_refused() {
    for (text, what, name) in [
        (
            r#"(import "wasmscope" "before0" (func))"#,
            "import from",
            "wasmscope",
        ),
        (
            r#"(import "wasmscope:x" "y" (global i32))"#,
            "import from",
            "wasmscope:x",
        ),
        (
            r#"(func (export "wasmscope:instance"))"#,
            "export",
            "wasmscope:instance",
        ),
    ] {
        let wasm = parse(&format!("(module {text})"));
        let error = Module::parse(&wasm).unwrap_err();
        let offset = match &error {
            Error::Reserved { offset, .. } => *offset,
            error => panic!("{error}"),
        };
        let (what, name) = (what, name.to_owned());
        assert_eq!(error, Error::Reserved { what, name, offset });
        assert!(offset > 8 && offset < wasm.len());
    }
    let wasm = parse(
        r#"(module (import "wasmscoped" "a" (func)) (import "a" "wasmscope" (func))
            (func (export "wasmscope")))"#,
    );
    rewrite(&wasm, &Options::default());
}

#[test]
fn what_is_no_linked_module_is_refused() {
    assert_eq!(
        Module::parse(&parse("(component)")).unwrap_err(),
        Error::Component
    );
    for section in ["linking", "reloc.CODE"] {
        let wasm = parse(&format!(r#"(module (@custom "{section}" "\02"))"#));
        let (section, offset) = (section.to_owned(), 8);
        let expected = Error::Relocatable { section, offset };
        assert_eq!(Module::parse(&wasm).unwrap_err(), expected);
    }
    let invalid = |bytes: &[u8]| match Module::parse(bytes) {
        Err(Error::Invalid { offset, .. }) => offset,
        other => panic!("{other:?}"),
    };
    assert_eq!(invalid(b""), 0);
    assert_eq!(invalid(b"(module)"), 0);
    // A body that is invalid says where, the first one of several.
    let wasm = parse("(module (func) (func (drop)) (func (result i32)))");
    let offset = invalid(&wasm);
    assert_eq!(wasm[offset], 0x1a);
}

#[test]
fn custom_sections_stay_unless_they_became_false() {
    let wasm = parse(
        r#"(module (@custom "first" (before first) "1") (import "h" "f" (func))
            (@custom "producers" (after import) "2") (@custom "sourceMappingURL" "3")
            (@custom ".debug_line" "4") (@custom "external_debug_info" "5")
            (export "f" (func 0)) (@custom "last" (after last) "6"))"#,
    );
    let rewritten = rewrite(&wasm, &Options::default());
    let mut order = Vec::new();
    for payload in Parser::new(0).parse_all(&rewritten.wasm) {
        let payload = payload.unwrap();
        match &payload {
            Payload::CustomSection(section) => order.push(section.name().to_owned()),
            payload => order.extend(payload.as_section().map(|(id, _)| id.to_string())),
        }
    }
    let expected = ["first", "1", "2", "producers", "3", "6", "7", "10", "last"];
    assert_eq!(order, expected);
}

#[test]
fn exports_are_added_as_the_interface_says() {
    let wasm = parse(
        r#"(module (import "h" "m" (memory 1)) (memory (export "m") 1) (memory 1)
            (global (export "g") i32 (i32.const 1)) (global i64 (i64.const 2))
            (func (export "f")) (func) (func))"#,
    );
    let options = Options {
        suffix: ":s".to_owned(),
        key: u64::MAX - 1,
        exceptions: Exceptions::Never,
        switches: true,
        expose: true,
        ..Options::default()
    };
    let module = Module::parse(&wasm).unwrap();
    let rewritten = module
        .rewrite(&options, &|function| function.0 > 0)
        .unwrap();
    let mut exports = Vec::new();
    let mut globals = Vec::new();
    for payload in Parser::new(0).parse_all(&rewritten.wasm) {
        match payload.unwrap() {
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.unwrap();
                    exports.push((export.name.to_owned(), export.kind, export.index));
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global.unwrap();
                    let value = global.init_expr.get_operators_reader().read().unwrap();
                    globals.push((global.ty.mutable, format!("{value:?}")));
                }
            }
            _ => {}
        }
    }
    let (function, global) = (ExternalKind::Func, ExternalKind::Global);
    let expected = [
        ("m", ExternalKind::Memory, 1),
        ("g", global, 0),
        ("f", function, 2),
        ("wasmscope:instance:s", global, 2),
        ("wasmscope:key:s", global, 3),
        ("wasmscope:switches:0:s", global, 4),
        ("wasmscope:function:s", function, 3),
        ("wasmscope:memory:0:s", ExternalKind::Memory, 0),
        ("wasmscope:memory:1:s", ExternalKind::Memory, 1),
        ("wasmscope:memory:2:s", ExternalKind::Memory, 2),
        ("wasmscope:global:0:s", global, 0),
        ("wasmscope:global:1:s", global, 1),
    ];
    assert_eq!(
        exports,
        expected.map(|(name, kind, index)| (name.to_owned(), kind, index))
    );
    let added = [
        (true, format!("I32Const {{ value: {} }}", i32::MIN)),
        (false, "I64Const { value: -2 }".to_owned()),
        (true, "I32Const { value: -1 }".to_owned()),
    ];
    assert_eq!(globals[2..], added);
}

#[test]
fn functions_that_engines_have_no_room_for_are_skipped() {
    let text = |locals: usize, body: &str| {
        let locals = "i32 ".repeat(locals);
        format!("(module (func (result i32) (local {locals}) {body} i32.const 0) (func))")
    };
    // The results' local still fits, or does not.
    for (locals, skipped) in [(49_999, false), (50_000, true)] {
        let rewritten = rewrite(&parse(&text(locals, "")), &Options::default());
        let expected = (FuncIndex(0), Skipped::TooManyLocals);
        assert_eq!(
            rewritten.skipped,
            if skipped { vec![expected] } else { vec![] }
        );
        assert_eq!(rewritten.probes.len(), 2 - usize::from(skipped));
    }
    // A body of that many bytes, of which four are no `nop`.
    for (bytes, skipped) in [(7_654_000, false), (7_654_321, true)] {
        let wasm = parse(&text(0, &"nop ".repeat(bytes - 4)));
        let rewritten = rewrite(&wasm, &Options::default());
        let expected = (FuncIndex(0), Skipped::BodyTooLong);
        assert_eq!(
            rewritten.skipped,
            if skipped { vec![expected] } else { vec![] }
        );
        let last = rewritten.map.rewritten_function(FuncIndex(1)).unwrap();
        assert_eq!(operators::sections(&rewritten.wasm, |_| true).len(), 6);
        assert_eq!(rewritten.map.original_function(last), Some(FuncIndex(1)));
    }
}
