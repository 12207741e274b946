//! Dumps of components: many core modules, and some that the engine makes.

use crate::taken::assert_same_contents;
use crate::trapped::{engine, engines_dump, file};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wasmscope::core_dump::model::CoreDump;
use wasmscope::core_dump::{Dumper, Modules};
use wasmscope::{Explainer, Guest};
use wasmtime::component::{Component, Linker};
use wasmtime::{Store, WasmBacktrace};

const TWO_MODULES: &str = "(component
    (core module $memory (memory (export \"m\") 1) (data (i32.const 5) \"held\")
        (global (export \"g\") (mut i32) (i32.const 11)))
    (core module $fails
        (import \"\" \"m\" (memory 1)) (import \"\" \"g\" (global (mut i32)))
        (func $inner (drop (i32.load (i32.const -4))))
        (func $run (export \"run\") (global.set 0 (i32.const 12)) call $inner))
    (core instance $m (instantiate $memory))
    (core instance $f (instantiate $fails (with \"\" (instance $m))))
    (func (export \"run\") (canon lift (core func $f \"run\"))))";

#[test]
fn core_modules_have_the_components_name_and_a_number() {
    let bytes = wat::parse_str(TWO_MODULES).unwrap();
    let engine = engine();
    let component = Component::new(&engine, &bytes).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Linker::new(&engine)
        .instantiate(&mut store, &component)
        .unwrap();
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    let error = run.call(&mut store, ()).unwrap_err();
    let theirs = engines_dump(&mut store, &error, "");
    let theirs = CoreDump::read(&theirs).unwrap();

    let explainer = Explainer::new();
    let guest = Guest::component("two.wasm", &component).bytes(bytes.clone());
    let _known = explainer.register(guest).unwrap();
    let dump = Dumper::new("", &explainer)
        .dump(&mut store, &error)
        .unwrap();
    assert_eq!(dump.threads[0].frames.len(), 2);
    assert_eq!(
        dump.module_name(&dump.threads[0].frames[0]),
        Some("two.wasm#1")
    );
    // Without functions there is nothing to tell it by but its own name.
    assert_eq!(dump.modules, ["memory", "two.wasm#1"]);
    assert_same_contents(
        &dump,
        &CoreDump {
            instances: dump.instances.clone(),
            ..theirs
        },
    );
    assert_eq!(dump.instances[1].memories, [Some(0)]);
    assert_eq!(dump.instances[1].globals, [Some(0)]);
    let file = file(&dump);
    let read = CoreDump::read(&file).unwrap();
    assert_eq!(read, dump);

    let mut modules = Modules::new();
    modules.add("some/two.wasm", bytes);
    let frames = modules.frames(&read, &read.threads[0]);
    let expected = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
    for (ours, theirs) in frames.iter().zip(expected) {
        assert_eq!(Some(&*ours.name), theirs.func_name());
        assert_eq!(ours.offset.map(|it| it.0 as usize), theirs.module_offset());
    }
}

#[test]
fn components_linked_to_components() {
    let text = "(component
        (component $inner
            (core module $m (func $f (export \"f\") unreachable))
            (core instance $i (instantiate $m))
            (func (export \"f\") (canon lift (core func $i \"f\"))))
        (component $outer
            (import \"f\" (func $f))
            (core module $n (import \"\" \"f\" (func $f)) (memory 1) (data (i32.const 9) \"x\")
                (func $g (export \"g\") call $f))
            (core func $lowered (canon lower (func $f)))
            (core instance $i (instantiate $n
                (with \"\" (instance (export \"f\" (func $lowered))))))
            (func (export \"g\") (canon lift (core func $i \"g\"))))
        (instance $i (instantiate $inner))
        (instance $o (instantiate $outer (with \"f\" (func $i \"f\"))))
        (func (export \"g\") (alias export $o \"g\")))";
    let bytes = wat::parse_str(text).unwrap();
    let engine = engine();
    let component = Component::new(&engine, &bytes).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Linker::new(&engine)
        .instantiate(&mut store, &component)
        .unwrap();
    let g = instance.get_typed_func::<(), ()>(&mut store, "g").unwrap();
    let error = g.call(&mut store, ()).unwrap_err();
    // When the engine's writer can do this, it can be asked.
    let asked = catch_unwind(AssertUnwindSafe(|| engines_dump(&mut store, &error, "")));
    assert!(asked.is_err());
    let explainer = Explainer::new();
    let guest = Guest::component("linked.wasm", &component).bytes(bytes.clone());
    let _known = explainer.register(guest).unwrap();
    let dump = Dumper::new("", &explainer)
        .dump(&mut store, &error)
        .unwrap();
    let file = file(&dump);
    let read = CoreDump::read(&file).unwrap();
    assert_eq!(read, dump);
    let mut modules = Modules::new();
    modules.add("linked.wasm", bytes);
    let frames = modules.frames(&read, &read.threads[0]);
    let expected = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
    assert_eq!(frames.len(), expected.len());
    let names: Vec<_> = frames.iter().map(|frame| &*frame.name).collect();
    assert_eq!((names[0], names[names.len() - 1]), ("f", "g"), "{names:?}");
    // Whose memory it is the engine cannot be asked here, but the binary says so.
    assert_eq!(read.memories.len(), 1);
    for instance in &read.instances {
        let is_outer_s = read.modules[instance.module as usize] == "linked.wasm#1";
        let expected: &[_] = if is_outer_s { &[Some(0)] } else { &[] };
        assert_eq!(instance.memories, expected);
    }
    let outer = &read.threads[0].frames[frames.len() - 1];
    assert_eq!(read.module_name(outer), Some("linked.wasm#1"));
    assert_eq!(read.instance(outer).unwrap().memories, [Some(0)]);
}
