//! Guarded exports: what stands in front of a function, and what does not.

use std::collections::BTreeMap;

use wasmparser::{Operator, Parser, Payload, ValType};
use wasmscope_address::FuncIndex;
use wasmscope_instrument::{Module, Options, Rewritten};

use crate::constructs::listing;
use crate::operators::Operators;

const SMALL: &str = r#"(module
    (import "h" "f" (func $import)) (global i64 (i64.const 0)) (table 1 funcref)
    (export "import" (func $import)) (export "a" (func $a)) (export "b" (func $b))
    (export "again" (func $a)) (start $c) (elem (i32.const 0) $a) (export "c" (func $c))
    (func $private)
    (func $a (param i32 i32 f64 (ref extern)) (result externref i32)
        (local.get 3) (local.get 0))
    (func $b (param i32) (result i32 i32) (call $a (local.get 0) (i32.const 1)
        (f64.const 2) (unreachable)) unreachable)
    (func $c (drop (ref.func $a)) (drop (ref.func $c))))"#;

fn rewrite(options: &Options, probe: impl Fn(FuncIndex) -> bool) -> Rewritten {
    let wasm = wat::parse_str(SMALL).expect("it is valid");
    let module = Module::parse(&wasm).expect("it is valid");
    let rewritten = module.rewrite(options, &probe).expect("it is small");
    // Fails when it is not valid.
    Operators::read(&rewritten.wasm);
    rewritten
}

fn guarded() -> Options {
    Options {
        suffix: ":s".to_owned(),
        guarded: true,
        ..Options::default()
    }
}

fn function_exports(wasm: &[u8]) -> BTreeMap<String, u32> {
    let mut exports = BTreeMap::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ExportSection(section) = payload.expect("it is valid") {
            for export in section {
                let export = export.expect("it is valid");
                if export.kind == wasmparser::ExternalKind::Func {
                    exports.insert(export.name.to_owned(), export.index);
                }
            }
        }
    }
    exports
}

#[test]
fn exports_lead_to_guards_and_nothing_else_does() {
    // One probe: `before0`, `after0` and `guard` are imported.
    let rewritten = rewrite(&guarded(), |function| function.0 == 1);
    let exports = function_exports(&rewritten.wasm);
    let expected = [
        ("a", 8),
        ("again", 8),
        ("b", 9),
        ("c", 10),
        ("import", 0),
        ("wasmscope:function:s", 4),
        ("wasmscope:inner:0:s", 11),
        ("wasmscope:inner:1:s", 12),
        ("wasmscope:inner:2:s", 13),
    ];
    let expected = expected.map(|(name, index)| (name.to_owned(), index));
    assert_eq!(exports, BTreeMap::from(expected));
    for added in 8..14 {
        assert_eq!(rewritten.map.original_function(FuncIndex(added)), None);
    }
    let mut declared = Vec::new();
    for payload in Parser::new(0).parse_all(&rewritten.wasm) {
        match payload.unwrap() {
            Payload::StartSection { func, .. } => assert_eq!(func, 7),
            Payload::ElementSection(section) => {
                for segment in section {
                    let wasmparser::ElementItems::Functions(functions) = segment.unwrap().items
                    else {
                        panic!("it has indices");
                    };
                    declared.push(
                        functions
                            .into_iter()
                            .map(Result::unwrap)
                            .collect::<Vec<_>>(),
                    );
                }
            }
            _ => {}
        }
    }
    // The table's, and what only an export declared.
    assert_eq!(declared, [[5], [7]]);
    assert_eq!(listing(&rewritten.wasm, 3)[0], "RefFunc");
}

#[test]
fn guards_are_what_the_interface_says() {
    let rewritten = rewrite(&guarded(), |function| function.0 == 1);
    let wasm = &rewritten.wasm;
    // Global 0 is the module's own, 1 the instance's number, 2 the key; then two numbers,
    // one more number, one reference.
    #[rustfmt::skip]
    assert_eq!(listing(wasm, 4), [
        "local.get 0", "global.set 3", "local.get 1", "global.set 4",
        "local.get 2", "global.set 5", "local.get 3", "global.set 6",
        "global.get 1", "i32.const 0", "call 3",
        "global.get 6", "global.get 3", "RefNull", "global.set 6", "End",
    ]);
    #[rustfmt::skip]
    assert_eq!(listing(wasm, 7), [
        "global.get 3", "global.get 4", "global.get 5", "global.get 6", "RefAsNonNull",
        "RefNull", "global.set 6", "call 5", "global.set 3", "global.set 6", "End",
    ]);
    #[rustfmt::skip]
    assert_eq!(listing(wasm, 5), [
        "local.get 0", "global.set 3", "global.get 1", "i32.const 1", "call 3",
        "global.get 3", "global.get 4", "End",
    ]);
    assert_eq!(
        listing(wasm, 9),
        ["call 7", "End"],
        "without values there is nothing to pass"
    );
    let mut globals = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::GlobalSection(section) = payload.unwrap() {
            for global in section.into_iter().skip(3) {
                let global = global.unwrap();
                assert!(global.ty.mutable);
                let first = global.init_expr.get_operators_reader().read().unwrap();
                let is_zero = matches!(
                    first,
                    Operator::I32Const { value: 0 }
                        | Operator::F64Const { .. }
                        | Operator::RefNull { .. }
                );
                assert!(is_zero, "{first:?}");
                globals.push(global.ty.content_type);
            }
        }
    }
    assert_eq!(
        globals,
        [ValType::I32, ValType::I32, ValType::F64, ValType::EXTERNREF]
    );
}

#[test]
fn without_probes_or_without_the_option_there_are_no_guards() {
    let original = wat::parse_str(SMALL).unwrap();
    assert!(rewrite(&guarded(), |_| false).wasm == original);
    let exports = function_exports(&rewrite(&Options::default(), |_| true).wasm);
    assert!(!exports.keys().any(|name| name.contains("inner")));
}
