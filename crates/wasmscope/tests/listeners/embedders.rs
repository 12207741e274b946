//! What embedders bring: engines, allocators, data, limits, hooks of their own.

use crate::balance::Balance;
use crate::heard::{Guest, Heard};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use wasmscope::listen::BoxListener;
use wasmscope::{Error, Listening};
use wasmtime::{
    CallHook, Caller, Config, Engine, Inlining, InstanceAllocationStrategy, Linker,
    PoolingAllocationConfig, Store, StoreLimits, StoreLimitsBuilder, Strategy, Trap,
};

const TEXT: &str = "(module
   (import \"host\" \"call\" (func $call (param i32) (result i32)))
   (memory (export \"memory\") 1)
   (func $leaf (param i32) (result i32) (call $call (local.get 0)))
   (func $fails (export \"fails\") (drop (call $leaf (i32.const 1))) unreachable)
   (func $spins (export \"spins\") (loop (drop (call $leaf (i32.const 3))) (br 0)))
   (func $grows (export \"grows\") (drop (memory.grow (i32.const 10))))
   (func $run (export \"run\") (drop (call $leaf (i32.const 2)))))";

const RUN: [&str; 6] = [
    "> run[]",
    "> leaf[2]",
    "> call[2]",
    "< call[2]",
    "< leaf[2]",
    "< run[]",
];
const FAILS: [&str; 5] = [
    "> fails[]",
    "> leaf[1]",
    "> call[1]",
    "< call[1]",
    "< leaf[1]",
];

fn call(linker: &mut Linker<()>) {
    linker.func_wrap("host", "call", |x: u32| x).expect("free");
}

#[test]
fn engines_of_all_kinds() {
    let mut winch = Config::new();
    winch.strategy(Strategy::Winch);
    let mut optimised = Config::new();
    optimised.cranelift_opt_level(wasmtime::OptLevel::SpeedAndSize);
    let mut pooling = Config::new();
    pooling.allocation_strategy(InstanceAllocationStrategy::Pooling(
        PoolingAllocationConfig::default(),
    ));
    let mut plain = Config::new();
    plain
        .wasm_exceptions(false)
        .wasm_gc(false)
        .wasm_function_references(false);
    let mut traps = Config::new();
    traps.signals_based_traps(false);
    for (name, config) in [
        ("winch", winch),
        ("optimised", optimised),
        ("pooling", pooling),
        ("plain", plain),
        ("traps", traps),
    ] {
        let engine = Engine::new(&config).expect(name);
        let heard = Heard::default();
        let builder = heard.listening().switches(true);
        let mut guest = Guest::on(&engine, builder, TEXT, call);
        for _ in 0..2 {
            guest.call("run").expect("it runs");
            assert_eq!(heard.take(), RUN, "{name}");
            guest.guarded("fails").expect_err("it traps");
            let trap = "! fails: trap: wasm trap: wasm `unreachable` instruction executed";
            let expected = [&FAILS[..], &[trap]].concat();
            assert_eq!(heard.take(), expected, "{name}");
            guest.call("fails").expect_err("it traps");
            assert_eq!(heard.take(), FAILS, "{name}");
            guest.call("run").expect("it runs");
            assert_eq!(
                heard.take(),
                [&["! fails: unknown"], &RUN[..]].concat(),
                "{name}"
            );
        }
    }
}

#[test]
fn an_interpreter_is_refused() {
    let mut config = Config::new();
    config.target("pulley64").expect("it is built in");
    let engine = Engine::new(&config).expect("it can be had");
    let bytes = wat::parse_str(TEXT).expect("it is right");
    let refused = Heard::default().listening().build().compile(&engine, bytes);
    let refused = refused.expect_err("its frames cannot be seen");
    assert!(matches!(refused, Error::Interpreted { .. }), "{refused}");
    assert!(refused.to_string().contains("Pulley"));
}

#[test]
fn an_engine_that_debugs_is_refused() {
    let engine = Engine::new(Config::new().guest_debug(true)).expect("it can be had");
    let bytes = wat::parse_str(TEXT).expect("it is right");
    let refused = Heard::default().listening().build().compile(&engine, bytes);
    let refused = refused.expect_err("its code is copied");
    assert!(matches!(refused, Error::GuestDebug { .. }), "{refused}");
}

#[test]
fn an_engine_that_inlines_calls_is_refused() {
    let on = |inlining| {
        let engine = Engine::new(Config::new().compiler_inlining(inlining));
        engine.expect("it can be had")
    };
    let named = format!("(module $it {}", &TEXT["(module".len()..]);
    for inlining in [
        Inlining::Yes,
        Inlining::InterModule,
        Inlining::InterModuleAndIntraGc,
    ] {
        let bytes = wat::parse_str(&named).expect("it is right");
        let listening = Heard::default().listening().build();
        let refused = listening.compile(&on(inlining), bytes);
        let refused = refused.expect_err("calls have no frames");
        let said = refused.to_string();
        assert!(
            matches!(refused, Error::Inlining { guest, inlining: found }
                if guest == "it" && found == inlining),
            "{said}"
        );
        assert!(said.contains("compiler_inlining"), "{said}");
    }
    // A guest's own calls are left as they are.
    for inlining in [Inlining::No, Inlining::Intrinsics] {
        let heard = Heard::default();
        let mut guest = Guest::on(&on(inlining), heard.listening(), TEXT, call);
        guest.call("run").expect("it runs");
        assert_eq!(heard.take(), RUN, "{inlining}");
    }
    assert_eq!(Engine::default().get_compiler_inlining(), Inlining::No);
}

/// Runs a guest in two stores with data of a type, in turns.
fn with_data<T: 'static>(data: impl Fn() -> T) {
    let heard = Balance::default();
    let listening = heard.listening().build();
    let engine = Engine::default();
    let bytes = wat::parse_str(TEXT).expect("it is right");
    let listened = listening.compile(&engine, bytes).expect("it is compiled");
    let mut linker: Linker<T> = Linker::new(&engine);
    listening.add_to_linker(&mut linker).expect("free");
    linker.func_wrap("host", "call", |x: u32| x).expect("free");
    let ready = linker.instantiate_pre(listened.module()).expect("it links");
    let mut stores: Vec<_> = (0..3)
        .map(|_| {
            let mut store = Store::new(&engine, data());
            let instance = ready.instantiate(&mut store).expect("it is made");
            (store, instance)
        })
        .collect();
    for turn in 0..4 {
        for (store, instance) in &mut stores {
            let name = if turn % 2 == 0 { "run" } else { "fails" };
            let function = instance.get_typed_func::<(), ()>(&mut *store, name);
            let function = function.expect("it is there");
            let ended = listening.guard(store, |store| function.call(store, ()));
            assert_eq!(ended.is_ok(), name == "run");
        }
    }
    assert_eq!((heard.opened(), heard.aborted(), heard.open()), (36, 6, 0));
}

#[test]
fn data_of_any_type() {
    #[derive(Clone)]
    struct Nothing;
    #[repr(align(128))]
    struct Aligned(#[expect(dead_code, reason = "takes room")] u8);
    with_data(|| ());
    with_data(|| Nothing);
    with_data(|| [0_u8; 100_000]);
    with_data(|| Aligned(1));
    with_data(|| Rc::new(std::cell::Cell::new(1)));
    with_data(|| Box::new(|| 1_u32) as Box<dyn Fn() -> u32>);
}

#[test]
fn instances_with_factories_of_their_own() {
    let (usual, first, second) = (Heard::default(), Heard::default(), Heard::default());
    let listening = usual.listening().build();
    let engine = Engine::default();
    let bytes = wat::parse_str(TEXT).expect("it is right");
    let listened = listening.compile(&engine, bytes).expect("it is compiled");
    let mut linker = Linker::new(&engine);
    listening.add_to_linker(&mut linker).expect("free");
    call(&mut linker);
    let mut store = Store::new(&engine, ());
    let mut instances = Vec::new();
    for heard in [&first, &second] {
        let listener = BoxListener::new(heard.clone());
        let leaf_only = move |function: &wasmscope::listen::Definition| {
            (function.name.as_deref() == Some("leaf")).then(|| listener.clone())
        };
        let instance = listening.instantiate(&mut store, leaf_only, |store| {
            linker.instantiate(store, listened.module())
        });
        instances.push(instance.expect("it is made"));
    }
    instances.push(
        linker
            .instantiate(&mut store, listened.module())
            .expect("it is made"),
    );
    for instance in instances {
        let run = instance.get_typed_func::<(), ()>(&mut store, "run");
        run.expect("it is there")
            .call(&mut store, ())
            .expect("it runs");
    }
    let leaf = ["> leaf[2]", "< leaf[2]"];
    assert_eq!(first.take(), leaf);
    assert_eq!(second.take(), leaf);
    assert_eq!(usual.take(), RUN);
}

#[test]
fn two_listenings_in_one_linker() {
    let (first, second) = (Heard::default(), Heard::default());
    let listenings: [Listening; 2] = [first.listening().build(), second.listening().build()];
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    call(&mut linker);
    for listening in &listenings {
        listening
            .add_to_linker(&mut linker)
            .expect("each has its names");
        listening.add_to_linker(&mut linker).expect_err("but once");
    }
    let mut store = Store::new(&engine, ());
    for (listening, heard) in listenings.iter().zip([&first, &second]) {
        let bytes = wat::parse_str(TEXT).expect("it is right");
        let listened = listening.compile(&engine, bytes).expect("it is compiled");
        let instance = linker.instantiate(&mut store, listened.module());
        let instance = instance.expect("it is made");
        for name in ["run", "fails"] {
            let function = instance.get_typed_func::<(), ()>(&mut store, name);
            let _ = function.expect("it is there").call(&mut store, ());
        }
        let lines = heard.take();
        // What the one left open the other's event closes, for the one to hear.
        assert_eq!(lines[lines.len() - 11..], [&RUN[..], &FAILS].concat());
    }
    assert_eq!(first.take(), ["! fails: unknown"]);
    drop(store);
    assert_eq!(second.take(), ["! fails: store dropped"]);
}

#[test]
fn fuel_epochs_limits_and_hooks_stay_the_embedders() {
    let mut config = Config::new();
    config.consume_fuel(true).epoch_interruption(true);
    let engine = Engine::new(&config).expect("it can be had");
    let heard = Balance::default();
    let listening = heard.listening().build();
    let bytes = wat::parse_str(TEXT).expect("it is right");
    let listened = listening.compile(&engine, bytes).expect("it is compiled");
    let mut linker: Linker<StoreLimits> = Linker::new(&engine);
    listening.add_to_linker(&mut linker).expect("free");
    let ticks = engine.clone();
    linker
        .func_wrap("host", "call", move |_: Caller<'_, StoreLimits>, x: u32| {
            ticks.increment_epoch();
            x
        })
        .expect("free");
    let limits = StoreLimitsBuilder::new()
        .memory_size(3 << 16)
        .trap_on_grow_failure(true);
    let mut store = Store::new(&engine, limits.build());
    store.limiter(|limits| limits);
    store.set_fuel(1 << 40).expect("it has fuel");
    store.set_epoch_deadline(1 << 40);
    let entered = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&entered);
    let hooked = listening.clone();
    store.call_hook(move |context, hook| {
        if matches!(hook, CallHook::CallingWasm) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        hooked.call_hook(context, hook);
        Ok(())
    });
    let instance = linker
        .instantiate(&mut store, listened.module())
        .expect("it is made");
    let ends = |store: &mut Store<StoreLimits>, name: &str| {
        let function = instance.get_typed_func::<(), ()>(&mut *store, name);
        let ended = function.expect("it is there").call(&mut *store, ());
        assert_eq!(heard.open(), 0, "{name}");
        ended.map_err(|error| error.downcast::<Trap>().ok())
    };
    assert_eq!(ends(&mut store, "run"), Ok(()));
    assert!(store.get_fuel().expect("it has fuel") < 1 << 40);
    assert_eq!(ends(&mut store, "grows"), Err(None));
    store.set_epoch_deadline(100);
    assert_eq!(ends(&mut store, "spins"), Err(Some(Trap::Interrupt)));
    store.set_epoch_deadline(1 << 40);
    store.set_fuel(10_000).expect("it has fuel");
    assert_eq!(ends(&mut store, "spins"), Err(Some(Trap::OutOfFuel)));
    assert_eq!(entered.load(Ordering::Relaxed), 4);
    assert!(heard.opened() > 300);
}

#[test]
fn a_hook_that_refuses_leaves_nothing_open() {
    let heard = Heard::default();
    let mut guest = Guest::new(heard.listening(), TEXT, call);
    let listening = guest.listening.clone();
    let refuses = Arc::new(AtomicU32::new(0));
    let asked = Arc::clone(&refuses);
    guest.store.call_hook(move |context, hook| {
        listening.call_hook(context, hook);
        let now = asked.fetch_add(1, Ordering::Relaxed);
        // The n-th of what it is asked, in the n-th call.
        if now == 100 {
            return Err(std::io::Error::other("refused").into());
        }
        Ok(())
    });
    for nth in 0..20 {
        refuses.store(100 - nth, Ordering::Relaxed);
        let ended = guest.call("run");
        let lines = heard.take();
        let opened = lines.iter().filter(|line| line.starts_with('>')).count();
        assert_eq!(lines.len(), 2 * opened, "{nth}: {lines:?}");
        refuses.store(1_000, Ordering::Relaxed);
        guest.call("run").expect("it runs");
        assert_eq!(heard.take(), RUN, "{nth}, {ended:?}");
    }
}
