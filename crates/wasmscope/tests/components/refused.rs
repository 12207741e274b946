//! What a hostile component cannot do.

use crate::ledger::Ledger;
use wasmscope::Error;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

/// The name by which a process's hooks are imported, as an embedder could find it out.
fn import(engine: &Engine, listening: &wasmscope::Listening) -> String {
    let wat =
        "(component (core module $m (func (export \"f\"))) (core instance $i (instantiate $m))
      (func (export \"f\") (canon lift (core func $i \"f\"))))";
    let guest = listening.compile_component(engine, wat::parse_str(wat).expect("it is text"));
    let ty = guest
        .expect("it is a component")
        .component()
        .component_type();
    let mut names = ty.imports(engine).map(|(name, _)| name.to_owned());
    names.next().expect("it imports its hooks")
}

#[test]
fn a_component_that_imports_hooks_is_refused() {
    let engine = Engine::default();
    let ledger = Ledger::default();
    let listening = ledger.listening();
    let name = import(&engine, &listening);
    assert!(name.starts_with("wasmscope-x"), "{name}");
    for name in [name.as_str(), "wasmscope-x", "wasmscope-x0123"] {
        let wat = format!("(component (import \"{name}\" (instance (export \"unwind\" (func)))))");
        let bytes = wat::parse_str(&wat).expect("it is text");
        let error = listening.compile_component(&engine, bytes).expect_err(name);
        assert!(matches!(error, Error::Instrument(_)), "{error}");
        // The same in a nested one.
        let wat = format!(
            "(component (component (import \"{name}\" (instance (export \"unwind\" (func))))))"
        );
        let bytes = wat::parse_str(&wat).expect("it is text");
        listening.compile_component(&engine, bytes).expect_err(name);
    }
    // Nor can a core module within get at the hooks of modules.
    let wat = "(component (core module (import \"wasmscope\" \"unwind\" (func))))";
    let bytes = wat::parse_str(wat).expect("it is text");
    listening
        .compile_component(&engine, bytes)
        .expect_err("a reserved name");
}

#[test]
fn a_component_that_was_not_rewritten_calls_hooks_in_vain() {
    // It guesses the name right, which it cannot, and says what no rewritten one says.
    let engine = Engine::default();
    let ledger = Ledger::default();
    let listening = ledger.listening();
    let name = import(&engine, &listening);
    let wat = format!(
        r#"(component
      (import "{name}" (instance $h
        (export "attach" (func (param "key" u64) (param "instantiation" u32)
          (param "events" (list u8)) (result u32)))
        (export "before0" (func (param "instance" u32) (param "probe" u32)))
        (export "after0" (func)) (export "tail" (func)) (export "unwind" (func))
        (export "stage4" (func (param "v0" u64) (param "v1" u64) (param "v2" u64) (param "v3" u64)))
        (export "look" (func (param "key" u64) (param "first" (list u8)) (param "len" u64)))
        (export "share" (func (param "key" u64) (param "instance" u32) (param "memory" (list u8))))
        (export "deferred" (func (param "records" (list u8)) (param "lost" u64)))))
      (core module $libc (memory (export "memory") 1)
        (data (i32.const 0) "\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\ff\ff"))
      (core instance $libc (instantiate $libc))
      (alias core export $libc "memory" (core memory $memory))
      (core func $attach (canon lower (func $h "attach") (memory $memory)))
      (core func $before0 (canon lower (func $h "before0")))
      (core func $after0 (canon lower (func $h "after0")))
      (core func $tail (canon lower (func $h "tail")))
      (core func $unwind (canon lower (func $h "unwind")))
      (core func $stage (canon lower (func $h "stage4")))
      (core func $look (canon lower (func $h "look") (memory $memory)))
      (core func $share (canon lower (func $h "share") (memory $memory)))
      (core func $deferred (canon lower (func $h "deferred") (memory $memory)))
      (core module $m
        (import "libc" "memory" (memory 1))
        (import "h" "attach" (func $attach (param i64 i32 i32 i32) (result i32)))
        (import "h" "before0" (func $before0 (param i32 i32)))
        (import "h" "after0" (func $after0))
        (import "h" "tail" (func $tail))
        (import "h" "unwind" (func $unwind))
        (import "h" "stage4" (func $stage (param i64 i64 i64 i64)))
        (import "h" "look" (func $look (param i64 i32 i32 i64)))
        (import "h" "share" (func $share (param i64 i32 i32 i32)))
        (import "h" "deferred" (func $deferred (param i32 i32 i64)))
        (func (export "f") (local i32)
          (call $after0) (call $unwind) (call $tail) (call $look (i64.const 0) (i32.const 0) (i32.const 9) (i64.const -1))
          (call $deferred (i32.const 0) (i32.const 18) (i64.const 3))
          (call $before0 (i32.const 0) (i32.const 0))
          (drop (call $attach (i64.const 0) (i32.const 1000) (i32.const 0) (i32.const 9)))
          (drop (call $attach (i64.const 77) (i32.const 0) (i32.const 0) (i32.const 65536)))
          (drop (call $attach (i64.const 0) (i32.const 0) (i32.const 7) (i32.const 0)))
          ;; As if this were its memory of events: full of what is none.
          (drop (call $attach (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 65536)))
          (memory.fill (i32.const 0) (i32.const 0xfe) (i32.const 65536))
          (loop
            (call $before0 (local.get 0) (i32.const 0))
            (call $before0 (local.get 0) (i32.const 4000000000))
            (call $before0 (i32.sub (i32.const 0) (local.get 0)) (i32.const 0))
            (call $stage (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1))
            (call $look (i64.const 0) (i32.const 0) (i32.const 9) (i64.const -1))
            (call $share (i64.const 0) (local.get 0) (i32.const 0) (i32.const 8))
            (call $share (i64.extend_i32_u (local.get 0)) (i32.const 0) (i32.const 9) (i32.const 0))
            (call $deferred (i32.const 0) (i32.const 18) (i64.const -1))
            (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 9))))
          (call $after0) (call $unwind) (call $tail)))
      (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "h" (instance
        (export "attach" (func $attach)) (export "before0" (func $before0))
        (export "after0" (func $after0)) (export "tail" (func $tail))
        (export "unwind" (func $unwind)) (export "stage4" (func $stage))
        (export "look" (func $look)) (export "share" (func $share)) (export "deferred" (func $deferred))))))
      (func (export "f") (canon lift (core func $i "f"))))"#
    );
    let component = Component::new(&engine, wat).expect("it is a component");
    let mut linker = Linker::new(&engine);
    listening
        .add_to_component_linker(&mut linker)
        .expect("free");
    let mut store = wasmtime::Store::new(&engine, ());
    let instance = linker
        .instantiate(&mut store, &component)
        .expect("it links");
    let f = instance
        .get_typed_func::<(), ()>(&mut store, "f")
        .expect("it is there");
    listening
        .guard(&mut store, |store| f.call(store, ()))
        .expect("nothing fails");
    drop(store);
    ledger.settled();
}
