//! Stores with many modules, instances, memories and globals of every kind.

use crate::taken::{assert_same_contents, contents};
use crate::trapped::{config, engines_dump, file};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wasmscope::core_dump::Dumper;
use wasmscope::core_dump::model::Memory as Held;
use wasmscope::core_dump::model::{Constant, CoreDump, HeapType, Instance, Thread, ValueType};
use wasmscope::{Explainer, Guest};
use wasmtime::{
    Engine, Error, Extern, Global, GlobalType, Linker, Memory, MemoryType, Module, Mutability,
    SharedMemory, Store, Val, ValType,
};

fn engine() -> Engine {
    let mut config = config();
    config
        .wasm_gc(true)
        .wasm_exceptions(true)
        .wasm_function_references(true);
    config.wasm_custom_page_sizes(true);
    config.shared_memory(true);
    Engine::new(&config).unwrap()
}

/// Calls an export, which traps.
fn trap(store: &mut Store<()>, instance: &wasmtime::Instance, name: &str) -> Error {
    let f = instance
        .get_typed_func::<(), ()>(&mut *store, name)
        .unwrap();
    f.call(store, ()).unwrap_err()
}

#[test]
fn what_each_instance_has_is_what_the_engine_says() {
    let engine = engine();
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    let ty = GlobalType::new(ValType::I64, Mutability::Var);
    let unused = Global::new(&mut store, ty.clone(), Val::I64(1)).unwrap();
    let given = Global::new(&mut store, ty, Val::I64(-5)).unwrap();
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(3))).unwrap();
    memory.write(&mut store, 65_530, b"end").unwrap();
    linker.define(&store, "host", "global", given).unwrap();
    linker.define(&store, "host", "memory", memory).unwrap();
    let inner = "(module $inner
        (import \"host\" \"memory\" (memory 1))
        (memory (export \"own\") i64 2)
        (data (memory 1) (i64.const 70000) \"inner\")
        (global (export \"g\") (mut f32) (f32.const nan:0x200001))
        (global v128 (v128.const i64x2 1 -2))
        (global externref (ref.null extern))
        (global funcref (ref.func 0))
        (global (ref i31) (ref.i31 (i32.const 3)))
        (func (export \"fail\") unreachable))";
    let outer = "(module $outer
        (import \"inner\" \"g\" (global (mut f32)))
        (import \"host\" \"global\" (global (mut i64)))
        (import \"inner\" \"own\" (memory i64 2))
        (import \"inner\" \"fail\" (func $fail))
        (memory 1)
        (global i32 (i32.const 77))
        (func (export \"run\") (global.set 1 (i64.const 99)) call $fail))";
    let inner = Module::new(&engine, inner).unwrap();
    let outer_module = Module::new(&engine, outer).unwrap();
    // Twice the one module: frames of it could be either's.
    let first = linker.instantiate(&mut store, &inner).unwrap();
    linker.instance(&mut store, "inner", first).unwrap();
    let outer = linker.instantiate(&mut store, &outer_module).unwrap();
    let _second = linker.instantiate(&mut store, &inner).unwrap();
    let error = trap(&mut store, &outer, "run");

    let explainer = Explainer::new();
    let _known = explainer
        .register(Guest::module("other name", &outer_module))
        .unwrap();
    let theirs = engines_dump(&mut store, &error, "");
    let theirs = CoreDump::read(&theirs).unwrap();
    assert!(matches!(unused.get(&mut store), Val::I64(1)));
    let mut dump = Dumper::new("", &explainer)
        .dump(&mut store, &error)
        .unwrap();
    assert_eq!(dump.modules, ["inner", "other name"]);
    // The engine guesses: the last instance. Here there is one that stands for any.
    let frames = &dump.threads[0].frames;
    assert_eq!(frames[0].instance, Some(3));
    assert_eq!(
        dump.instances[3],
        Instance {
            module: 0,
            ..Instance::default()
        }
    );
    assert_eq!(dump.module_name(&frames[0]), Some("inner"));
    assert_eq!(dump.module_name(&frames[1]), Some("other name"));
    for (ours, theirs) in frames.iter().zip(&theirs.threads[0].frames) {
        assert_eq!(
            (ours.function, ours.code_offset),
            (theirs.function, theirs.code_offset)
        );
    }
    assert_eq!(CoreDump::read(&file(&dump)).unwrap(), dump);
    dump.instances.pop();
    // The engine numbers modules in another order.
    let mut theirs = theirs;
    for instance in &mut theirs.instances {
        let name = &theirs.modules[instance.module as usize];
        instance.module = u32::from(name == "outer");
    }
    assert_same_contents(&dump, &theirs);
    // And what the guest has is there.
    let outer = &dump.instances[1];
    let held = |index| dump.global(outer, index).unwrap().value;
    assert_eq!(held(0), Constant::F32(0x7fa0_0001));
    assert_eq!(held(1), Constant::I64(99));
    assert_eq!(held(2), Constant::I32(77));
    assert_eq!(
        contents(dump.memory(outer, 0).unwrap())[70_000..70_005],
        *b"inner"
    );
    let host = dump.memory(&dump.instances[0], 0).unwrap();
    assert_eq!(contents(host)[65_530..65_533], *b"end");
}

#[test]
fn small_pages_are_kept_to_the_last_byte() {
    // The engine's writer keeps whole blocks of 4,096 bytes only, and no page size.
    let engine = engine();
    let mut store = Store::new(&engine, ());
    let module = Module::new(
        &engine,
        "(module (memory 5000 5000 (pagesize 1)) (data (i32.const 4998) \"zz\")
            (func (export \"f\") unreachable))",
    )
    .unwrap();
    let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
    let error = trap(&mut store, &instance, "f");
    let dump = Dumper::new("", &Explainer::new())
        .dump(&mut store, &error)
        .unwrap();
    assert_eq!(dump.memories[0].ty().size(), Some(5000));
    assert_eq!(contents(&dump.memories[0])[4997..], *b"\0zz");
    let file = file(&dump);
    assert_eq!(CoreDump::read(&file).unwrap(), dump);
}

#[test]
fn shared_memories_are_missing_and_not_confused_with_others() {
    let engine = engine();
    let mut store = Store::new(&engine, ());
    let module = Module::new(
        &engine,
        "(module (import \"\" \"a\" (memory 1 2 shared)) (memory 3)
            (data (memory 1) (i32.const 1) \"mine\") (func (export \"f\") unreachable))",
    )
    .unwrap();
    let shared = SharedMemory::new(&engine, MemoryType::shared(1, 2)).unwrap();
    let imports = [Extern::SharedMemory(shared)];
    let instance = wasmtime::Instance::new(&mut store, &module, &imports).unwrap();
    let error = trap(&mut store, &instance, "f");
    let dump = Dumper::new("", &Explainer::new())
        .dump(&mut store, &error)
        .unwrap();
    assert_eq!(dump.instances[0].memories, [None, Some(0)]);
    assert_eq!(contents(&dump.memories[0])[..5], *b"\0mine");
    assert_eq!(CoreDump::read(&file(&dump)).unwrap(), dump);

    // One that is defined: which of the two it is the engine does not tell.
    let module = Module::new(
        &engine,
        "(module (memory 3) (memory 1 1 shared) (func (export \"f\") unreachable))",
    );
    let mut store = Store::new(&engine, ());
    let instance = wasmtime::Instance::new(&mut store, &module.unwrap(), &[]).unwrap();
    let error = trap(&mut store, &instance, "f");
    let dump = Dumper::new("", &Explainer::new())
        .dump(&mut store, &error)
        .unwrap();
    assert_eq!(dump.instances[0].memories, [None, None]);
    assert_eq!(dump.memories.len(), 1);
}

/// As modules with threads have it: every instance imports the same memory, and exports it.
#[test]
fn shared_memories_that_are_exported() {
    let engine = engine();
    let shared = SharedMemory::new(&engine, MemoryType::shared(2, 5)).unwrap();
    let alone = "(module (import \"\" \"a\" (memory 1 9 shared)) (export \"memory\" (memory 0))
        (func (export \"f\") (i32.store8 (i32.const 70000) (i32.const 42)) unreachable))";
    let beside = "(module (import \"\" \"a\" (memory 1 9 shared)) (memory 3)
        (data (memory 1) (i32.const 1) \"mine\")
        (export \"m\" (memory 0)) (export \"n\" (memory 0)) (func (export \"f\") unreachable))";
    // The engine cannot be asked for what instances of this own.
    let unknown = "(module (import \"\" \"a\" (memory 1 9 shared)) (export \"m\" (memory 0))
        (global exnref (ref.null exn)) (func (export \"f\") unreachable))";
    // It could be either.
    let two = "(module (import \"\" \"a\" (memory 1 9 shared)) (memory (export \"o\") 1 1 shared)
        (export \"m\" (memory 0)) (func (export \"f\") unreachable))";
    for (text, memories, count) in [
        (alone, &[Some(0)][..], 1),
        (beside, &[Some(2), Some(0)], 3),
        (unknown, &[Some(0)], 1),
        (two, &[None, None], 2),
    ] {
        let module = Module::new(&engine, text).unwrap();
        let mut store = Store::new(&engine, ());
        let mut instantiate = || {
            let imports = [Extern::SharedMemory(shared.clone())];
            wasmtime::Instance::new(&mut store, &module, &imports).unwrap()
        };
        let instance = instantiate();
        let is_one = text == unknown || text == two;
        if !is_one {
            // Another thread's, in the same store.
            let _ = instantiate();
        }
        let error = trap(&mut store, &instance, "f");
        let dumper = Dumper::new("", &Explainer::new());
        let dump = dumper.dump(&mut store, &error).unwrap();
        assert_eq!(dump.instances[0].memories, memories, "{text}");
        if text == alone {
            assert_eq!(dump.instances[1].memories, memories);
        }
        assert_eq!(dump.memories.len(), count, "{text}");
        let is_shared = |memory: &&Held<'_>| memory.ty().shared && memory.ty().pages == 2;
        let held = dump.memories.iter().find(is_shared).unwrap();
        assert_eq!(
            (held.ty().maximum, held.ty().size()),
            (Some(5), Some(131_072))
        );
        // What a guest wrote, and nothing else.
        let mut written = vec![0; 131_072];
        written[70_000] = 42;
        assert!(contents(held) == written, "{text}");
        assert_eq!(CoreDump::read(&file(&dump)).unwrap(), dump);
    }
}

/// A dump is taken while other threads write.
#[test]
fn shared_memories_that_others_write() {
    let engine = engine();
    let shared = SharedMemory::new(&engine, MemoryType::shared(1, 1)).unwrap();
    let text = "(module (import \"\" \"a\" (memory 1 1 shared)) (export \"memory\" (memory 0))
        (func (export \"count\") (local i32)
          (loop $again
            (i32.atomic.store8 (i32.const 9) (local.get 0))
            (local.set 0 (i32.add (local.get 0) (i32.const 1)))
            (br_if $again (i32.eqz (i32.atomic.load8_u (i32.const 8))))))
        (func (export \"stop\") (i32.atomic.store8 (i32.const 8) (i32.const 1)))
        (func (export \"f\") unreachable))";
    let module = Module::new(&engine, text).unwrap();
    let instantiate = || {
        let mut store = Store::new(&engine, ());
        let imports = [Extern::SharedMemory(shared.clone())];
        let instance = wasmtime::Instance::new(&mut store, &module, &imports).unwrap();
        (store, instance)
    };
    std::thread::scope(|scope| {
        let counting = scope.spawn(|| {
            let (mut store, instance) = instantiate();
            let count = instance.get_typed_func::<(), ()>(&mut store, "count");
            count.unwrap().call(&mut store, ()).unwrap();
        });
        let (mut store, instance) = instantiate();
        let error = trap(&mut store, &instance, "f");
        let dumper = Dumper::new("", &Explainer::new());
        let mut seen = std::collections::HashSet::new();
        // Until different counts were seen.
        while seen.len() < 3 {
            let dump = dumper.dump(&mut store, &error).unwrap();
            let held = contents(&dump.memories[0]);
            let others = held.iter().enumerate().filter(|(at, _)| *at != 9);
            assert!(others.into_iter().all(|(_, byte)| *byte == 0));
            seen.insert(held[9]);
        }
        let stop = instance.get_typed_func::<(), ()>(&mut store, "stop");
        stop.unwrap().call(&mut store, ()).unwrap();
        counting.join().unwrap();
    });
}

#[test]
fn globals_that_the_engines_writer_does_not_know() {
    let engine = engine();
    let mut store = Store::new(&engine, ());
    let module = Module::new(
        &engine,
        "(module (global exnref (ref.null exn)) (global i32 (i32.const 4))
            (func (export \"f\") unreachable))",
    )
    .unwrap();
    let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
    let error = trap(&mut store, &instance, "f");
    // When the engine's writer can do this, it can be asked.
    let asked = catch_unwind(AssertUnwindSafe(|| engines_dump(&mut store, &error, "")));
    assert!(asked.is_err());
    let explainer = Explainer::new();
    let hidden = explainer
        .register(Guest::module("h", &module).hidden())
        .unwrap();
    let dump = Dumper::new("", &explainer)
        .dump(&mut store, &error)
        .unwrap();
    assert_eq!(
        dump,
        CoreDump {
            threads: vec![Thread {
                name: "main".into(),
                ..Thread::default()
            }],
            ..CoreDump::default()
        }
    );
    drop(hidden);
    let dump = Dumper::new("", &Explainer::new())
        .dump(&mut store, &error)
        .unwrap();
    assert_eq!(dump.globals[1].value, Constant::I32(4));
    let ValueType::Reference(ty) = dump.globals[0].ty else {
        panic!("{:?}", dump.globals)
    };
    assert_eq!(
        (ty.heap, dump.globals[0].value),
        (HeapType::Exn, Constant::Reference)
    );
    assert_eq!(dump.instances[0].globals, []);
    assert_eq!(CoreDump::read(&file(&dump)).unwrap(), dump);
}

/// Stores of many instances, some of which have a global that the engine's writer does not know:
/// beside what it says of the same store with another global in that place.
#[test]
fn whose_memories_and_globals_are_is_counted_out() {
    let engine = engine();
    let mut state = 0x853c_49e6_748f_ea9b_u64;
    let mut below = |end: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % end
    };
    let mut known = 0;
    for round in 0..60 {
        let texts: Vec<_> = (0..1 + below(4))
            .map(|number| {
                let mut body = String::new();
                let imports = number > 0 && below(3) == 0;
                if imports {
                    body += "(import \"0\" \"m\" (memory 1)) (import \"0\" \"g\" (global i32))";
                }
                for count in 0..below(3) + u64::from(number == 0) {
                    body += &format!("(memory {})", count + 1);
                }
                for count in 0..below(4) + u64::from(number == 0) {
                    body += &format!("(global i32 (i32.const {count}))");
                    body += if below(3) == 0 { "$UNKNOWN" } else { "" };
                }
                if number == 0 {
                    body += "(export \"m\" (memory 0)) (export \"g\" (global 0))";
                }
                (
                    imports,
                    format!("(module $n{number} {body} (func (export \"f\") unreachable))"),
                )
            })
            .collect();
        let order: Vec<u64> = (0..below(6)).map(|_| below(texts.len() as u64)).collect();
        let host_has_one = below(4) == 0;
        let dump = |unknown: &str, ours: bool| {
            let mut store = Store::new(&engine, ());
            let mut linker = Linker::new(&engine);
            let explainer = Explainer::new();
            let (mut modules, mut guests) = (Vec::new(), Vec::new());
            for (number, (_, text)) in texts.iter().enumerate() {
                let bytes = wat::parse_str(text.replace("$UNKNOWN", unknown)).unwrap();
                let module = Module::new(&engine, &bytes).unwrap();
                let guest = Guest::module(format!("n{number}"), &module).bytes(bytes);
                guests.push(explainer.register(guest).unwrap());
                modules.push(module);
            }
            let first = linker.instantiate(&mut store, &modules[0]).unwrap();
            linker.instance(&mut store, "0", first).unwrap();
            if host_has_one {
                Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
            }
            for number in &order {
                let module = &modules[*number as usize];
                linker.instantiate(&mut store, module).unwrap();
            }
            let error = trap(&mut store, &first, "f");
            let file = match ours {
                true => {
                    let dumper = Dumper::new("", &explainer);
                    file(&dumper.dump(&mut store, &error).unwrap())
                }
                false => engines_dump(&mut store, &error, ""),
            };
            let dump = CoreDump::read(&file).unwrap();
            let instances = dump.instances.iter().take(1 + order.len());
            let owned = instances.map(|it| (it.memories.clone(), it.globals.clone()));
            owned.collect::<Vec<_>>()
        };
        let plain = "(global i64 (i64.const 5))";
        let expected = dump(plain, false);
        assert_eq!(dump(plain, true), expected, "{round}");
        let unknown = "(global exnref (ref.null exn))";
        let is_unknown = texts.iter().any(|(_, text)| text.contains("$UNKNOWN"));
        let is_made = is_unknown
            && (texts[0].1.contains("$UNKNOWN")
                || order
                    .iter()
                    .any(|number| texts[*number as usize].1.contains("$UNKNOWN")));
        if !is_made {
            continue;
        }
        let numbers = [0].into_iter().chain(order.iter().copied());
        let expected: Vec<_> = numbers
            .zip(expected)
            .map(|(number, (mut memories, mut globals))| {
                if host_has_one {
                    // Nobody can tell where the host's own is in the order.
                    return (Vec::new(), Vec::new());
                }
                if texts[number as usize].0 {
                    (memories[0], globals[0]) = (None, None);
                }
                (memories, globals)
            })
            .collect();
        assert_eq!(dump(unknown, true), expected, "{round}");
        known += usize::from(!host_has_one);
    }
    assert!(known > 10, "{known}");
}

#[test]
fn hidden_guests_leave_nothing() {
    let engine = engine();
    let mut store = Store::new(&engine, ());
    let secret = Module::new(
        &engine,
        "(module $secret (import \"\" \"f\" (func)) (memory 1) (data (i32.const 0) \"secret\")
            (global i32 (i32.const 5)) (func (export \"g\") call 0))",
    )
    .unwrap();
    let open = Module::new(&engine, "(module $open (func (export \"f\") unreachable))").unwrap();
    let f = wasmtime::Instance::new(&mut store, &open, &[]).unwrap();
    let f = f.get_export(&mut store, "f").unwrap();
    let instance = wasmtime::Instance::new(&mut store, &secret, &[f]).unwrap();
    let error = trap(&mut store, &instance, "g");
    let explainer = Explainer::new();
    let _known = explainer
        .register(Guest::module("s", &secret).hidden())
        .unwrap();
    let dump = Dumper::new("", &explainer)
        .dump(&mut store, &error)
        .unwrap();
    assert_eq!(dump.modules, ["open"]);
    assert_eq!(
        (
            dump.instances.len(),
            dump.memories.len(),
            dump.globals.len()
        ),
        (1, 0, 0)
    );
    assert_eq!(dump.threads[0].frames.len(), 1);
    let file = file(&dump);
    assert!(!file.windows(6).any(|bytes| bytes == b"secret"));
}
