//! Dumps of modules that were rewritten for listeners are those of the originals.

use crate::taken::contents;
use crate::trapped::{config, file};
use wasmscope::core_dump::model::CoreDump;
use wasmscope::core_dump::{Dumper, Modules};
use wasmscope::listen::{BoxListener, Call, Definition};
use wasmscope::{Explainer, Guest, Listening};
use wasmtime::{Engine, Instance, Linker, Module, Store};

const GUEST: &str = "(module
    (memory 1) (data (i32.const 100) \"what was there\")
    (global $g (mut i32) (i32.const 3))
    (global (mut f64) (f64.const 2.5))
    (table funcref (elem $leaf $other))
    (type $t (func (param i32)))
    (func $other)
    (func $leaf (param i32)
        (i32.store (i32.const 8) (global.get $g))
        (drop (i32.load (local.get 0))))
    (func $down (export \"down\") (param i32)
        (local i64)
        (global.set $g (i32.add (global.get $g) (i32.const 1)))
        (if (local.get 0)
            (then (call $down (i32.sub (local.get 0) (i32.const 1))))
            (else (call_indirect (type $t) (i32.const -2) (i32.const 0))))
        (global.set $g (i32.const 0))))";

#[test]
fn a_dump_of_a_rewritten_module_is_the_originals() {
    let bytes = wat::parse_str(GUEST).unwrap();
    for (limit, depth) in [(1 << 20, 0), (1 << 20, 40), (20, 40), (1, 3), (20, 2000)] {
        let mut config = config();
        config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(limit));
        let engine = Engine::new(&config).unwrap();

        let mut store = Store::new(&engine, ());
        let module = Module::new(&engine, &bytes).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let down = instance
            .get_typed_func::<i32, ()>(&mut store, "down")
            .unwrap();
        let error = down.call(&mut store, depth).unwrap_err();
        let explainer = Explainer::new();
        let guest = Guest::module("guest.wasm", &module).bytes(bytes.clone());
        let _known = explainer.register(guest).unwrap();
        let dumper = Dumper::new("p", &explainer);
        let plain = file(&dumper.dump(&mut store, &error).unwrap());
        let plain = CoreDump::read(&plain).unwrap();
        assert_eq!(plain.threads[0].frames.len(), depth as usize + 2);

        let listening = Listening::new(|_: &Definition| Some(BoxListener::new(|_: &Call<'_>| {})));
        let listened = listening.compile(&engine, bytes.clone()).unwrap();
        let mut linker = Linker::new(&engine);
        listening.add_to_linker(&mut linker).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, listened.module()).unwrap();
        let down = instance
            .get_typed_func::<i32, ()>(&mut store, "down")
            .unwrap();
        let error = down.call(&mut store, depth).unwrap_err();
        let explainer = Explainer::new();
        let _known = explainer
            .register(Guest::listened("guest.wasm", &listened))
            .unwrap();
        let dump = Dumper::new("p", &explainer)
            .dump(&mut store, &error)
            .unwrap();
        assert_eq!(dump.threads, plain.threads, "depth {depth}, {limit} frames");
        assert_eq!(dump.modules, plain.modules);
        assert_eq!(dump.instances, plain.instances);
        assert_eq!(dump.globals, plain.globals);
        assert_eq!(dump.memories.len(), 1);
        assert!(contents(&dump.memories[0]) == contents(&plain.memories[0]));
    }
}

#[test]
fn a_hundred_thousand_frames() {
    const DEPTH: i32 = 100_000;
    let run = || {
        let mut config = config();
        config.max_wasm_stack(256 << 20).async_stack_size(257 << 20);
        let engine = Engine::new(&config).unwrap();
        let bytes = wat::parse_str(GUEST).unwrap();
        let listening = Listening::new(|_: &Definition| Some(BoxListener::new(|_: &Call<'_>| {})));
        let listened = listening.compile(&engine, bytes).unwrap();
        let mut linker = Linker::new(&engine);
        listening.add_to_linker(&mut linker).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, listened.module()).unwrap();
        let down = instance
            .get_typed_func::<i32, ()>(&mut store, "down")
            .unwrap();
        let error = down.call(&mut store, DEPTH).unwrap_err();
        let explainer = Explainer::new();
        let guest = Guest::listened("guest.wasm", &listened);
        let _known = explainer.register(guest).unwrap();
        let dump = Dumper::new("p", &explainer)
            .dump(&mut store, &error)
            .unwrap();
        let file = file(&dump);
        let read = CoreDump::read(&file).unwrap();
        let thread = &read.threads[0];
        assert_eq!(
            (thread.frames.len(), thread.cut),
            (DEPTH as usize + 2, false)
        );
        let mut modules = Modules::new();
        modules.add("guest.wasm", wat::parse_str(GUEST).unwrap());
        let frames = modules.frames(&read, thread);
        assert_eq!(&*frames[0].name, "leaf");
        // All but the two newest are at the same call.
        assert_eq!(&*frames[2].name, "down");
        assert!(frames[2].offset.is_some());
        assert!(frames[3..].iter().all(|frame| *frame == frames[2]));
    };
    let thread = std::thread::Builder::new().stack_size(512 << 20);
    thread.spawn(run).unwrap().join().unwrap();
}
