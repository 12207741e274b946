//! Dumps of stores that have not failed.

use crate::trapped::{config, engine};
use std::sync::{Arc, Mutex};
use wasmscope::core_dump::Dumper;
use wasmscope::core_dump::model::{CodeOffset, Constant, CoreDump};
use wasmscope::{Error, Explainer};
use wasmtime::{Caller, Engine, Linker, Module, Store, WasmBacktrace};

const GUEST: &str = "(module $guest
    (import \"\" \"host\" (func $host))
    (memory 1) (global $g (mut i32) (i32.const 1))
    (func $inner (i32.store (i32.const 0) (i32.const 0x64636261)) call $host)
    (func $outer (export \"outer\")
        (global.set $g (i32.const 2)) call $inner (global.set $g (i32.const 3))))";

type Seen = Arc<Mutex<Vec<(Vec<u8>, Vec<(u32, u32)>)>>>;

/// Returns the function and code offset of each frame of a dump.
fn frames(dump: &CoreDump<'_>) -> Vec<(u32, u32)> {
    let frames = dump.threads[0].frames.iter();
    frames.map(|it| (it.function.0, it.code_offset.0)).collect()
}

fn engines_frames(caller: &Caller<'_, ()>) -> Vec<(u32, u32)> {
    let backtrace = WasmBacktrace::force_capture(caller);
    let frames = backtrace.frames().iter();
    let frame = |it: &wasmtime::FrameInfo| (it.func_index(), it.func_offset().unwrap() as u32);
    frames.map(frame).collect()
}

fn check(dump: &CoreDump<'_>, global: i32) {
    assert_eq!(dump.name, "live");
    assert_eq!(dump.modules, ["guest"]);
    assert_eq!(dump.instances.len(), 1);
    assert_eq!(dump.globals[0].value, Constant::I32(global));
}

#[test]
fn from_a_host_function_and_from_outside() {
    let engine = engine();
    let module = Module::new(&engine, GUEST).unwrap();
    let dumper = Dumper::new("live", &Explainer::new());
    let seen = Seen::default();
    let mut linker = Linker::new(&engine);
    let (taker, record) = (dumper.clone(), Arc::clone(&seen));
    let host = move |mut caller: Caller<'_, ()>| {
        let expected = engines_frames(&caller);
        let dump = taker.dump_now(&mut caller).unwrap();
        check(&dump, 2);
        assert_eq!(frames(&dump), expected);
        let mut bytes = [0; 4];
        assert!(dump.memories[0].read(0, &mut bytes));
        record.lock().unwrap().push((bytes.to_vec(), expected));
    };
    linker.func_wrap("", "host", host).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let outer = instance
        .get_typed_func::<(), ()>(&mut store, "outer")
        .unwrap();
    for round in 0..3 {
        outer.call(&mut store, ()).unwrap();
        // The guest went on, and is not disturbed.
        let dump = dumper.dump_now(&mut store).unwrap();
        check(&dump, 3);
        assert!(dump.threads[0].frames.is_empty());
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), round + 1);
        assert_eq!((&*seen[round].0, seen[round].1.len()), (&b"abcd"[..], 2));
        assert!(seen[round].1.iter().all(|it| it.1 != CodeOffset::UNKNOWN.0));
    }
}

#[tokio::test]
async fn on_a_fiber() {
    let engine = Engine::new(&config()).unwrap();
    let module = Module::new(&engine, GUEST).unwrap();
    let dumper = Dumper::new("live", &Explainer::new());
    let seen = Seen::default();
    let mut linker = Linker::new(&engine);
    let (taker, record) = (dumper.clone(), Arc::clone(&seen));
    linker
        .func_wrap_async("", "host", move |mut caller: Caller<'_, ()>, (): ()| {
            let (taker, record) = (taker.clone(), Arc::clone(&record));
            Box::new(async move {
                let expected = engines_frames(&caller);
                let refused = taker.dump_now(&mut caller).unwrap_err();
                assert!(matches!(refused, Error::DumpNow(_)), "{refused}");
                let dump = taker.dump_now_async(&mut caller).await.unwrap();
                check(&dump, 2);
                record.lock().unwrap().push((Vec::new(), expected));
                record.lock().unwrap().push((Vec::new(), frames(&dump)));
            })
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate_async(&mut store, &module).await.unwrap();
    let outer = instance
        .get_typed_func::<(), ()>(&mut store, "outer")
        .unwrap();
    outer.call_async(&mut store, ()).await.unwrap();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(seen[0].1, seen[1].1);
    assert_eq!(seen[0].1.len(), 2);
    let dump = dumper.dump_now_async(&mut store).await.unwrap();
    check(&dump, 3);
}
