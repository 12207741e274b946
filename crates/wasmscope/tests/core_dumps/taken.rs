//! Dumps of guests that trapped, beside those that the engine's own writer makes of the same
//! error, and beside what the store holds.

use crate::trapped::{config, engine, engines_dump, file, guest, run_command_in};
use std::borrow::Cow;
use wasmscope::core_dump::model::{CodeOffset, CoreDump, Memory};
use wasmscope::core_dump::{self, Dumper, Modules};
use wasmscope::{Error, Explainer, Guest};
use wasmtime::{Engine, Instance, Module, Store, Strategy};

/// Returns all that a memory holds.
pub(crate) fn contents(memory: &Memory<'_>) -> Vec<u8> {
    let mut bytes = vec![0; memory.ty().size().unwrap() as usize];
    assert!(memory.read(0, &mut bytes));
    bytes
}

/// Asserts that two dumps say the same of memories, globals and instances.
pub(crate) fn assert_same_contents(ours: &CoreDump<'_>, theirs: &CoreDump<'_>) {
    assert_eq!(ours.memories.len(), theirs.memories.len());
    for (ours, theirs) in ours.memories.iter().zip(&theirs.memories) {
        assert_eq!(ours.ty(), theirs.ty());
        assert!(contents(ours) == contents(theirs), "memories differ");
    }
    assert_eq!(ours.globals, theirs.globals);
    assert_eq!(ours.instances, theirs.instances);
}

const WAYS: [&str; 5] = ["unreachable", "oob", "divide", "signature", "stack"];

#[test]
fn the_engines_own_dump_says_the_same() {
    same_as_the_engines(&engine());
}

#[test]
fn so_it_does_whatever_compiles_the_guest_or_interprets_it() {
    same_as_the_engines(&Engine::new(config().strategy(Strategy::Winch)).unwrap());
    same_as_the_engines(&Engine::new(config().target("pulley64").unwrap()).unwrap());
    // Without the map there are no offsets, in either's dump.
    same_as_the_engines(&Engine::new(config().generate_address_map(false)).unwrap());
}

#[test]
fn with_a_copy_of_the_code_for_each_store_the_stack_is_what_the_engine_hands_out() {
    let mut config = config();
    config.guest_debug(true);
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(2));
    let engine = Engine::new(&config).unwrap();
    let args = ["trap", "1", "oob"];
    let (mut store, _, error) = run_command_in(&engine, &guest("trap.wasm"), &args);
    let theirs = engines_dump(&mut store, &error, "");
    let theirs = CoreDump::read(&theirs).unwrap();
    let dump = Dumper::new("", &Explainer::new())
        .dump(&mut store, &error)
        .unwrap();
    assert_eq!(dump.threads[0].frames, theirs.threads[0].frames);
    assert!(dump.threads[0].cut);
    assert_same_contents(&dump, &theirs);
}

fn same_as_the_engines(engine: &Engine) {
    let bytes = guest("trap.wasm");
    for way in WAYS {
        let (mut store, module, error) = run_command_in(engine, &bytes, &["trap", "1", way]);
        let explainer = Explainer::new();
        let known = Guest::module("dir/trap.wasm", &module).bytes(bytes.clone());
        let _known = explainer.register(known).unwrap();
        let theirs = engines_dump(&mut store, &error, "a process");
        let theirs = CoreDump::read(&theirs).unwrap();
        let dumper = Dumper::new("a process", &explainer);
        let dump = dumper.dump(&mut store, &error).unwrap();
        assert_eq!(dump.name, theirs.name);
        assert_eq!(dump.modules, ["dir/trap.wasm"]);
        assert_eq!(dump.threads, theirs.threads);
        assert!(!dump.threads[0].cut);
        assert_same_contents(&dump, &theirs);
        // Through a file, and back.
        let file = file(&dump);
        assert_eq!(CoreDump::read(&file).unwrap(), dump);
    }
}

#[test]
fn a_memory_is_what_the_store_holds_and_is_not_copied() {
    let bytes = guest("trap.wasm");
    let (mut store, module, error) = run_command_in(&engine(), &bytes, &["trap", "1", "oob"]);
    let explainer = Explainer::new();
    let _known = explainer
        .register(Guest::module("trap", &module).bytes(bytes))
        .unwrap();
    let theirs = engines_dump(&mut store, &error, "");
    drop(theirs);
    // The engine's own handle on the guest's memory, which is not the dump's.
    let taken = error.downcast_ref::<wasmtime::WasmCoreDump>().unwrap();
    let memory = taken.memories()[0];
    let (held, place) = (
        memory.data(&store).to_vec(),
        memory.data(&store).as_ptr_range(),
    );
    let dump = Dumper::new("", &explainer)
        .dump(&mut store, &error)
        .unwrap();
    assert!(contents(&dump.memories[0]) == held);
    assert!(!dump.memories[0].segments().is_empty());
    for segment in dump.memories[0].segments() {
        let Cow::Borrowed(bytes) = segment.bytes else {
            panic!("a copy")
        };
        let bytes = bytes.as_ptr_range();
        assert!(place.start <= bytes.start && bytes.end <= place.end);
    }
}

#[test]
fn stacks_are_whole_whatever_the_engine_hands_out() {
    let bytes = guest("trap.wasm");
    for way in WAYS {
        let (mut store, _, error) = run_command_in(&engine(), &bytes, &["trap", "1", way]);
        let whole = engines_dump(&mut store, &error, "");
        let whole = CoreDump::read(&whole).unwrap().threads.remove(0).frames;
        for limit in [1, 3, 20] {
            let mut config = config();
            config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(limit));
            let engine = Engine::new(&config).unwrap();
            let (mut store, module, error) = run_command_in(&engine, &bytes, &["trap", "1", way]);
            let theirs = engines_dump(&mut store, &error, "");
            let theirs = CoreDump::read(&theirs).unwrap();
            assert_eq!(theirs.threads[0].frames.len(), limit.min(whole.len()));
            let explainer = Explainer::new();
            let known = Guest::module("trap.wasm", &module).bytes(bytes.clone());
            let known = explainer.register(known).unwrap();
            let dumper = Dumper::new("", &explainer);
            let dump = dumper.dump(&mut store, &error).unwrap();
            assert_eq!(dump.threads[0].frames, whole);
            assert!(!dump.threads[0].cut);
            // Of a guest that nobody registered some offsets are not known; those that are,
            // are the same.
            drop(known);
            let dump = dumper.dump(&mut store, &error).unwrap();
            let frames = &dump.threads[0].frames;
            assert_eq!(frames.len(), whole.len());
            for (position, (ours, whole)) in frames.iter().zip(&whole).enumerate() {
                assert_eq!(ours.function, whole.function);
                let unknown = ours.code_offset == CodeOffset::UNKNOWN && position >= limit;
                assert!(unknown || ours.code_offset == whole.code_offset);
            }
        }
    }
}

#[test]
fn frames_have_their_lines_when_the_dump_is_read() {
    let bytes = guest("trap.wasm");
    let (mut store, module, error) = run_command_in(&engine(), &bytes, &["trap", "1", "divide"]);
    let explainer = Explainer::new();
    let guest = Guest::module("/build/trap.wasm", &module).bytes(bytes.clone());
    let _known = explainer.register(guest).unwrap();
    let dump = Dumper::new("", &explainer)
        .dump(&mut store, &error)
        .unwrap();
    let file = file(&dump);
    let read = CoreDump::read(&file).unwrap();
    let mut modules = Modules::new();
    modules.add("trap.wasm", bytes);
    let named = modules.frames(&read, &read.threads[0]);
    let failure = explainer.explain(&error);
    assert_eq!(named.len(), failure.frames().len());
    for (named, explained) in named.iter().zip(failure.frames()) {
        assert_eq!(named.name, explained.name);
        assert_eq!(named.function, explained.function);
        assert_eq!(named.offset, explained.offset);
        assert_eq!(named.source, explained.source);
        assert_eq!(named.module, explained.module);
    }
}

#[test]
fn an_error_without_a_dump_is_refused() {
    let mut config = config();
    config.coredump_on_trap(false);
    let engine = Engine::new(&config).unwrap();
    let (mut store, _, error) = run_command_in(&engine, &guest("trap.wasm"), &["trap", "1", "oob"]);
    let dumper = Dumper::new("", &Explainer::new());
    let refused = dumper.dump(&mut store, &error).unwrap_err();
    assert!(matches!(refused, Error::NoCoreDump));
    assert!(refused.to_string().contains("coredump_on_trap"));
    let refused = dumper.dump_now(&mut store).unwrap_err();
    assert!(matches!(refused, Error::NoCoreDump), "{refused}");
}

#[test]
fn a_dump_is_saved_whole_or_not_at_all() {
    let engine = engine();
    let module = Module::new(
        &engine,
        "(module (memory 1) (func (export \"f\") unreachable))",
    );
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module.unwrap(), &[]).unwrap();
    let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    let error = f.call(&mut store, ()).unwrap_err();
    let mut dump = Dumper::new("p", &Explainer::new())
        .dump(&mut store, &error)
        .unwrap();
    let folder = std::env::temp_dir().join(format!("wasmscope-dumps-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("a.core");
    core_dump::save(&dump, &path).unwrap();
    let saved = std::fs::read(&path).unwrap();
    assert_eq!(CoreDump::read(&saved).unwrap(), dump);
    // More than a file can hold: what was saved before stays.
    let page = vec![1; 1 << 28];
    let ty = wasmscope::core_dump::model::MemoryType {
        pages: 1 << 12,
        ..Default::default()
    };
    dump.memories = (0..17).map(|_| Memory::of(ty, &page)).collect();
    let error = core_dump::save(&dump, &path).unwrap_err();
    assert!(matches!(error, Error::SaveDump(_)));
    assert!(error.to_string().contains("a.core"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), saved);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    std::fs::remove_dir_all(folder).unwrap();
}
