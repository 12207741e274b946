//! Small modules, one for each construct that rewriting has to know about.

use wasmparser::{Operator, Parser, Payload, TypeRef};
use wasmscope_address::FuncIndex;
use wasmscope_instrument::{Exceptions, Module, Options, Rewritten};

use crate::guests::ways;
use crate::operators::{Operators, compare};

/// A name and a module in text.
const MODULES: &[(&str, &str)] = &[
    ("nothing", "(module)"),
    (
        "returns at every depth, branches to the function's label",
        r#"(module (func (param i32) (result i32 i64)
            (block (loop (if (local.get 0) (then (return (i32.const 1) (i64.const 2))))
                (br_if 0 (local.get 0)) (br 1)))
            (br_table 0 0 (i32.const 3) (i64.const 4) (local.get 0)))
          (func (result i32 i32) (return (i32.const 1) (i32.const 2)))
          (func (block (br_if 1 (i32.const 0)) (return))))"#,
    ),
    (
        "more values than a hook takes, of every numeric type",
        r#"(module (import "h" "i" (func (param i32 i64 f32 f64 v128 v128) (result v128 i32 f64)))
          (func (export "f") (param v128 v128 v128 v128 i32) (result v128 v128 v128)
            local.get 0 local.get 1 return_call 2)
          (func (param v128 v128) (result v128 v128 v128) local.get 0 local.get 1 local.get 0))"#,
    ),
    (
        "references, nullable and not",
        r#"(module (type $s (struct (field i32))) (type $f (func (param i32)))
          (rec (type $a (sub (struct))) (type $b (sub $a (struct (field (ref null $a))))))
          (func (param externref (ref $s) (ref null $f) i31ref (ref any) exnref)
            (result (ref $s) funcref (ref null $b) (ref i31) (ref eq))
            local.get 1 ref.null func ref.null $b (ref.i31 (i32.const 1)) local.get 1)
          (func (param (ref $b)) (result (ref $a)) local.get 0))"#,
    ),
    (
        "tail calls of every kind",
        r#"(module (type $f (func (param i32) (result i32)))
          (import "h" "f" (func $import (type $f))) (table 1 funcref)
          (func (type $f) (if (local.get 0) (then (return_call $import (local.get 0))))
            (return_call_indirect (type $f) (local.get 0) (i32.const 0)))
          (func (param (ref $f)) (result i32)
            (block (block (return_call_ref $f (i32.const 1) (local.get 0))))
            unreachable))"#,
    ),
    (
        "exceptions",
        r#"(module (import "h" "t" (tag $u)) (tag $t (param i32))
          (func (result i32)
            (block $h (result i32 exnref)
              (try_table (result i32) (catch_ref $t $h) (throw $t (i32.const 1)))
              (return))
            (throw_ref))
          (func (try_table (catch_all 0) (throw $u)) (block (try_table (catch $u 1)))))"#,
    ),
    (
        "memories and tables of 64 bits, several memories, atomics, data",
        r#"(module (memory i64 1) (memory $b 1 1 shared) (memory (export "m") 1)
          (table i64 2 funcref) (data $d "abc") (global (mut i32) (i32.const 1))
          (func (i32.store (i64.const 0) (i32.atomic.rmw.add $b (i32.const 0) (i32.const 1)))
            (memory.init $d (i64.const 0) (i32.const 0) (i32.const 1)) (data.drop $d)))"#,
    ),
    (
        "a page size of its own",
        "(module (memory 5 (pagesize 1)) (func (drop (memory.size))))",
    ),
    (
        "wide arithmetic and relaxed SIMD",
        r#"(module (func (param i64 i64) (result i64 i64)
            (i64.mul_wide_u (local.get 0) (local.get 1)))
          (func (param v128) (result v128)
            (i32x4.relaxed_trunc_f32x4_s (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
              (local.get 0) (local.get 0)))))"#,
    ),
    (
        "stack switching",
        r#"(module (type $f (func)) (type $c (cont $f))
          (import "h" "f" (func $import)) (tag $t)
          (elem declare func $body $import)
          (func $body (suspend $t) (call $import))
          (func (param (ref $c)) (result (ref $c))
            (block $on (result (ref $c)) (resume $c (on $t $on) (local.get 0))
              (resume $c (cont.new $c (ref.func $import))) (return (cont.new $c (ref.func $body))))))"#,
    ),
    (
        "functions in globals, tables, segments, exports and the start; extended constants",
        r#"(module (import "h" "f" (func $f)) (import "h" "n" (global $n i32))
          (type $s (struct (field funcref) (field i32)))
          (global funcref (ref.func $f)) (global (ref func) (ref.func $g))
          (global (ref $s) (struct.new $s (ref.func $f) (i32.add (global.get $n) (i32.const 2))))
          (table $t 4 4 (ref func) (ref.func $f)) (table 4 funcref)
          (elem (table 1) (offset (i32.mul (i32.const 1) (global.get $n))) func $g $f $g)
          (elem (ref func) (ref.func $g) (ref.func $f)) (elem declare func $g)
          (export "f" (func $f)) (export "g" (func $g)) (export "g2" (func $g)) (start $f)
          (func $g (drop (ref.func $g)) (drop (ref.func $f)) (call $g)))"#,
    ),
    (
        "arrays, casts and calls of references",
        r#"(module (type $a (array (mut i32))) (type $f (func (param (ref $a)) (result i32)))
          (func (param (ref any) (ref $f)) (result i32)
            (block $no (result (ref any))
              (return (call_ref $f (br_on_cast_fail $no (ref any) (ref $a) (local.get 0))
                (local.get 1))))
            (drop) (array.len (array.new_fixed $a 2 (i32.const 1) (i32.const 2)))))"#,
    ),
    (
        "an import and its export only",
        r#"(module (import "h" "f" (func $f)) (export "f" (func $f)))"#,
    ),
    (
        "an import that only its export declares",
        r#"(module (import "h" "f" (func $f)) (import "h" "g" (func $g)) (export "f" (func $f))
            (table 1 funcref) (elem (i32.const 0) $g)
            (func (drop (ref.func $g)) (drop (ref.func $f))))"#,
    ),
    (
        "the same without segments",
        r#"(module (import "h" "f" (func $f)) (export "f" (func $f))
            (func (drop (ref.func $f))))"#,
    ),
    (
        "functions that only their export declares",
        r#"(module (export "f" (func $f)) (export "g" (func $g))
            (func $f (drop (ref.func $f)) (drop (ref.func $g))) (func $g (drop (ref.func $f))))"#,
    ),
    (
        "exports with values of every type, several times, in several orders",
        r#"(module (type $s (struct (field i32))) (type $f (func (param i32))) (tag)
          (rec (type $a (sub (struct))) (type $b (sub $a (struct (field (ref null $a))))))
          (type $k (func)) (type $c (cont $k)) (type $shared (shared (struct)))
          (func (export "numbers") (param i32 i64 f32 f64 v128 i32 i32)
            (result v128 v128 i32 f64 i64 f32)
            local.get 4 local.get 4 local.get 6 local.get 3 local.get 1 local.get 2)
          (func (export "nullable")
            (param funcref externref anyref eqref structref arrayref i31ref exnref)
            (param nullfuncref nullexternref nullref nullexnref (ref null $s) (ref null $f))
            (param (ref null $b) (ref null $c) (ref null (exact $a)) (ref null $shared))
            (param (ref null (shared any)) contref)
            (result (ref null $c) (ref null (exact $a)) (ref null $shared) exnref contref)
            local.get 15 local.get 16 local.get 17 local.get 7 local.get 19)
          (func (export "others")
            (param (ref func) (ref extern) (ref any) (ref eq) (ref struct) (ref array))
            (param (ref i31) (ref exn) (ref $s) (ref $s) (ref $f) (ref $a) (ref $b) (ref $c))
            (param (ref (exact $b)) (ref $shared) (ref null $s))
            (result (ref (exact $b)) (ref $c) (ref $s) (ref $s) (ref exn) (ref $shared))
            local.get 14 local.get 13 local.get 8 local.get 9 local.get 7 local.get 15))"#,
    ),
    (
        "unreachable code",
        "(module (func (result i32) (return (i32.const 1)) (return) (br 0)) (func unreachable))",
    ),
];

fn parse(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Returns every small module.
pub(crate) fn all() -> Vec<Vec<u8>> {
    MODULES.iter().map(|(_, text)| parse(text)).collect()
}

fn rewrite(wasm: &[u8], options: &Options) -> Rewritten {
    let module = Module::parse(wasm).expect("it is valid");
    let rewritten = module.rewrite(options, &|_| true).expect("it is small");
    let (before, after) = (Operators::read(wasm), Operators::read(&rewritten.wasm));
    compare("", &before, &after, &rewritten, &module);
    rewritten
}

#[test]
fn every_construct_stays_valid_and_keeps_its_operators() {
    for (name, text) in MODULES {
        let wasm = parse(text);
        let module = Module::parse(&wasm).unwrap_or_else(|error| panic!("{name}: {error}"));
        let original = Operators::read(&wasm);
        let all = module.functions().len() as u32;
        // Every choice of functions, where there are few.
        for chosen in 0..1_u32 << all.min(4) {
            for options in ways() {
                let probe = |function: FuncIndex| chosen >> (function.0 % 4) & 1 == 1;
                let rewritten = module.rewrite(&options, &probe).unwrap();
                assert_eq!(rewritten.skipped, [], "{name}");
                let now = Operators::read(&rewritten.wasm);
                compare(name, &original, &now, &rewritten, &module);
            }
        }
    }
}

/// Returns the operators of a function of a module, as text.
pub(crate) fn listing(wasm: &[u8], defined: usize) -> Vec<String> {
    let mut bodies =
        Parser::new(0)
            .parse_all(wasm)
            .filter_map(|payload| match payload.expect("it is valid") {
                Payload::CodeSectionEntry(body) => Some(body),
                _ => None,
            });
    let body = bodies.nth(defined).expect("it is there");
    let operators = body.get_operators_reader().expect("it is valid");
    operators
        .into_iter()
        .map(|operator| match operator.expect("it is valid") {
            Operator::Call { function_index } => format!("call {function_index}"),
            Operator::LocalGet { local_index } => format!("local.get {local_index}"),
            Operator::LocalSet { local_index } => format!("local.set {local_index}"),
            Operator::GlobalGet { global_index } => format!("global.get {global_index}"),
            Operator::GlobalSet { global_index } => format!("global.set {global_index}"),
            Operator::I32Const { value } => format!("i32.const {value}"),
            operator => format!("{operator:?}")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
        })
        .collect()
}

const SMALL: &str = r#"(module (import "h" "f" (func)) (global i32 (i32.const 0))
    (func (param f32 i64) (result i32) (local f64) (return (i32.const 5))))"#;

fn hooks(wasm: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ImportSection(section) = payload.expect("it is valid") {
            for import in section.into_imports() {
                let import = import.expect("it is valid");
                assert!(matches!(import.ty, TypeRef::Func(_) | TypeRef::Global(_)));
                if import.module == "wasmscope" {
                    names.push(import.name.to_owned());
                }
            }
        }
    }
    names
}

#[test]
fn a_probe_is_what_the_interface_says() {
    let wasm = parse(SMALL);
    let module = Module::parse(&wasm).unwrap();
    let options = Options {
        suffix: "!".to_owned(),
        ..Options::default()
    };
    let rewritten = module
        .rewrite(&options, &|function| function.0 == 1)
        .unwrap();
    assert_eq!(hooks(&rewritten.wasm), ["before2!", "after1!"]);
    #[rustfmt::skip]
    assert_eq!(listing(&rewritten.wasm, 0), [
        "global.get 1", "i32.const 0", "I32Add",
        "local.get 0", "I32ReinterpretF32", "I64ExtendI32U", "local.get 1", "call 1",
        "Block", "i32.const 5", "Br", "End",
        "local.set 3", "local.get 3", "I64ExtendI32U", "call 2", "local.get 3", "End",
    ]);
}

#[test]
fn a_probe_with_everything_is_what_the_interface_says() {
    let wasm = parse(SMALL);
    let options = Options {
        exceptions: Exceptions::Always,
        switches: true,
        ..Options::default()
    };
    let rewritten = rewrite(&wasm, &options);
    let names = ["before0", "before2", "after0", "after1", "unwind"];
    assert_eq!(hooks(&rewritten.wasm), names);
    #[rustfmt::skip]
    assert_eq!(listing(&rewritten.wasm, 0), [
        "global.get 3", "i32.const 2", "I32And", "If",
        "global.get 1", "i32.const 1", "I32Add",
        "local.get 0", "I32ReinterpretF32", "I64ExtendI32U", "local.get 1", "call 2",
        "i32.const 1", "local.set 3", "End",
        "Block", "TryTable", "i32.const 5", "Br", "End",
        "local.set 4",
        "local.get 3", "If", "local.get 4", "I64ExtendI32U", "call 4", "End",
        "local.get 4", "Return", "End",
        "local.get 3", "If", "call 5", "End", "ThrowRef", "End",
    ]);
    #[rustfmt::skip]
    assert_eq!(listing(&rewritten.wasm, 1), [
        "global.get 3", "i32.const 1", "I32And", "If",
        "global.get 1", "i32.const 0", "I32Add", "call 1", "i32.const 1", "local.set 0", "End",
        "Block", "TryTable", "call 0", "End",
        "local.get 0", "If", "call 3", "End", "Return", "End",
        "local.get 0", "If", "call 5", "End", "ThrowRef", "End",
    ]);
}

#[test]
fn exceptions_are_heard_of_where_the_module_has_them() {
    for (text, heard) in [
        ("(module (func))", false),
        ("(module (tag) (func))", true),
        (
            "(module (func) (func (param exnref) (throw_ref (local.get 0))))",
            true,
        ),
        ("(module (func (try_table (catch_all 0))))", true),
    ] {
        let rewritten = rewrite(&parse(text), &Options::default());
        let unwind = hooks(&rewritten.wasm).contains(&"unwind".to_owned());
        assert_eq!(unwind, heard, "{text}");
    }
}

#[test]
fn references_to_imports_of_open_types_stay_raw() {
    for (ty, shim) in [
        ("(func)", true),
        ("(sub (func))", false),
        ("(sub final $o (func))", false),
    ] {
        let text = format!(
            r#"(module (rec (type $o (sub (func)))) (type $t {ty})
                (import "h" "f" (func $f (type $t)))
                (export "f" (func $f))
                (func (drop (ref.func $f)) (call $f)))"#
        );
        let wasm = parse(&text);
        let module = Module::parse(&wasm).unwrap();
        let rewritten = module.rewrite(&Options::default(), &|f| f.0 == 0).unwrap();
        let now = Operators::read(&rewritten.wasm);
        let moved = rewritten.map.rewritten_function(FuncIndex(1)).unwrap();
        let expected = |shim: bool| if shim { moved.0 + 1 } else { 0 };
        let functions: Vec<_> = now
            .function(moved)
            .iter()
            .filter_map(|(_, op)| match op {
                crate::operators::Op::Function(_, index) => Some(*index),
                _ => None,
            })
            .collect();
        assert_eq!(functions, [expected(shim), expected(true)], "{ty}");
        assert_eq!(
            rewritten.map.original_function(FuncIndex(moved.0 + 1)),
            Some(FuncIndex(0))
        );
    }
}
