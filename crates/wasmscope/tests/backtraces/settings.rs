//! Engines, compilers and components.

use std::sync::{Arc, Mutex};
use wasmscope::{Error, FrameKind, Guest, Walker};
use wasmtime::component::{Component, Linker as ComponentLinker};
use wasmtime::{Caller, Config, Engine, Linker, Module, Store, Strategy, WasmBacktrace};

const TEXT: &str = "(module
    (import \"host\" \"look\" (func $look))
    (func $down (param i32)
        (if (i32.eqz (local.get 0))
            (then (call $look))
            (else (call $down (i32.sub (local.get 0) (i32.const 1))))))
    (func $run (export \"run\") (call $down (i32.const 30))))";

/// Functions and offsets, as either side tells them.
type Places = Vec<(u32, Option<usize>)>;

fn ours(walker: &Walker, backtrace: &wasmscope::Backtrace) -> Places {
    let frames = walker.name(backtrace);
    let guests = frames.iter().filter(|frame| frame.kind == FrameKind::Guest);
    guests
        .map(|frame| {
            let offset = frame.offset.map(|offset| offset.0 as usize);
            (frame.function.unwrap().0, offset)
        })
        .collect()
}

fn theirs(backtrace: &WasmBacktrace) -> Places {
    let frames = backtrace.frames().iter();
    frames
        .map(|frame| (frame.func_index(), frame.module_offset()))
        .collect()
}

/// Unlimited, so that all frames can be compared.
fn config() -> Config {
    let mut config = Config::new();
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(1_000));
    config
}

fn is_the_engines(config: &Config) {
    let engine = Engine::new(config).unwrap();
    let bytes = wat::parse_str(TEXT).unwrap();
    let module = Module::new(&engine, &bytes).unwrap();
    let walker = Walker::new().unwrap();
    let guest = Guest::module("guest", &module).bytes(bytes);
    let _guest = walker.register(guest).unwrap();
    let looked = Arc::new(Mutex::new(0));
    let looks = Arc::clone(&looked);
    let mut linker = Linker::new(&engine);
    let look = move |mut caller: Caller<'_, ()>| {
        let engines = theirs(&WasmBacktrace::force_capture(&caller));
        assert_eq!(engines.len(), 32);
        assert_eq!(ours(&walker, &walker.capture()), engines);
        assert_eq!(ours(&walker, &walker.capture_store(&mut caller)), engines);
        *looks.lock().unwrap() += 1;
    };
    linker.func_wrap("host", "look", look).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    run.call(&mut store, ()).unwrap();
    assert_eq!(*looked.lock().unwrap(), 1);
}

#[test]
fn compilers_and_settings_make_no_difference() {
    is_the_engines(config().strategy(Strategy::Cranelift));
    is_the_engines(config().strategy(Strategy::Winch));
    is_the_engines(config().wasm_exceptions(false));
    is_the_engines(config().generate_address_map(false));
    is_the_engines(config().epoch_interruption(false).consume_fuel(false));
    is_the_engines(config().cranelift_opt_level(wasmtime::OptLevel::None));
    is_the_engines(config().wasm_memory64(true).signals_based_traps(false));
}

#[test]
fn what_cannot_be_walked_is_refused() {
    let walker = Walker::new().unwrap();
    let engine = Engine::new(config().guest_debug(true)).unwrap();
    let module = Module::new(&engine, TEXT).unwrap();
    let refused = walker.register(Guest::module("guest", &module));
    assert!(matches!(refused, Err(Error::GuestDebug { .. })));
    let engine = Engine::new(config().target("pulley64").unwrap()).unwrap();
    let module = Module::new(&engine, TEXT).unwrap();
    let refused = walker.register(Guest::module("guest", &module));
    assert!(matches!(refused, Err(Error::Pulley { .. })));
}

/// Calls go from one core instance to another, and out through a lowered function.
#[test]
fn components_are_walked_across_core_instances() {
    let text = "(component
        (import \"look\" (func $look))
        (core func $lowered (canon lower (func $look)))
        (core module $inner
            (import \"host\" \"look\" (func $look))
            (func $down (export \"down\") (param i32)
                (if (i32.eqz (local.get 0))
                    (then (call $look))
                    (else (call $down (i32.sub (local.get 0) (i32.const 1)))))))
        (core module $outer
            (import \"inner\" \"down\" (func $down (param i32)))
            (func $begin (call $down (i32.const 3)))
            (func (export \"run\") (call $begin)))
        (core instance $i (instantiate $inner
            (with \"host\" (instance (export \"look\" (func $lowered))))))
        (core instance $o (instantiate $outer (with \"inner\" (instance $i))))
        (func (export \"run\") (canon lift (core func $o \"run\"))))";
    let bytes = wat::parse_str(text).unwrap();
    let engine = Engine::new(&config()).unwrap();
    let component = Component::new(&engine, &bytes).unwrap();
    let walker = Walker::new().unwrap();
    let guest = Guest::component("parts", &component).bytes(bytes);
    let _guest = walker.register(guest).unwrap();
    let looked = Arc::new(Mutex::new(0));
    let looks = Arc::clone(&looked);
    let mut linker = ComponentLinker::new(&engine);
    let look = move |mut store: wasmtime::StoreContextMut<'_, u64>, (): ()| {
        let engines = theirs(&WasmBacktrace::force_capture(&store));
        assert_eq!(engines.len(), 6);
        let backtrace = walker.capture();
        assert_eq!(ours(&walker, &backtrace), engines);
        let named = walker.name(&backtrace);
        let names: Vec<_> = named.iter().map(|frame| &*frame.name).collect();
        assert_eq!(names[1..6], ["down", "down", "down", "down", "begin"]);
        assert_eq!(ours(&walker, &walker.capture_store(&mut store)), engines);
        *looks.lock().unwrap() += 1;
        Ok(())
    };
    linker.root().func_wrap("look", look).unwrap();
    let mut store = Store::new(&engine, 0);
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    run.call(&mut store, ()).unwrap();
    assert_eq!(*looked.lock().unwrap(), 1);
}
