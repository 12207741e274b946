//! Every way in which a guest can fail: the same functions and offsets as the engine says.

use crate::engine::{Checked, check, kept};
use wasmscope::{Extent, FailureCause, FrameKind, Guest, Listening};
use wasmtime::component::{Component, Linker as ComponentLinker};
use wasmtime::{Caller, Config, Engine, Linker, Module, Store, Trap};

/// Each way is an export; all but `start` are called through two frames more.
const WAYS: &str = r#"(module $ways
  (import "host" "error" (func $error))
  (import "host" "again" (func $again (param i32)))
  (import "host" "trap" (func $host_trap))
  (type $nothing (func))
  (tag $e (param i32))
  (memory 1)
  (table funcref (elem $one))
  (func $one (param i32))
  (func $unreachable (export "unreachable") unreachable)
  (func $load (export "load") (drop (i32.load offset=65532 (i32.const 1))))
  (func $store (export "store") (i64.store (i32.const -1) (i64.const 1)))
  (func $fill (export "fill") (memory.fill (i32.const 1) (i32.const 0) (i32.const 65536)))
  (func $divide (export "divide") (drop (i32.div_u (i32.const 1) (i32.const 0))))
  (func $convert (export "convert") (drop (i32.trunc_f32_s (f32.const nan))))
  (func $signature (export "signature") (call_indirect (type $nothing) (i32.const 0)))
  (func $element (export "element") (call_indirect (type $nothing) (i32.const 9)))
  (func $table (export "table") (table.set (i32.const 9) (ref.null func)))
  (func $throw (export "throw") (throw $e (i32.const 7)))
  (func $error_ (export "error") (call $error))
  (func $host_trap_ (export "host_trap") (call $host_trap))
  (func $re_entered (export "re-entered") (call $again (i32.const 1)))
  (func $overflow (export "overflow") (call $overflow) (call $nothing))
  (func $nothing)
  (func $inner (param i32)
    (if (i32.eq (local.get 0) (i32.const 0)) (then (call $unreachable)))
    (if (i32.eq (local.get 0) (i32.const 1)) (then (call $error)))
    (call $re_entered))
  (func $outer (export "outer") (param i32) (call $inner (local.get 0))))"#;

fn define(linker: &mut Linker<()>) {
    let free = "the name is free";
    linker
        .func_wrap("host", "error", || -> wasmtime::Result<()> {
            Err(std::io::Error::other("the disk is full").into())
        })
        .expect(free);
    linker
        .func_wrap("host", "trap", || -> wasmtime::Result<()> {
            Err(Trap::MemoryOutOfBounds.into())
        })
        .expect(free);
    linker
        .func_wrap(
            "host",
            "again",
            |mut caller: Caller<'_, ()>, way: i32| -> wasmtime::Result<()> {
                let outer = caller.get_export("outer").and_then(|it| it.into_func());
                let outer = outer.expect("it is exported");
                outer.typed::<i32, ()>(&caller)?.call(&mut caller, way)
            },
        )
        .expect(free);
}

fn fail(engine: &Engine, module: &Module, way: &str) -> wasmtime::Error {
    let mut linker = Linker::new(engine);
    define(&mut linker);
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, module).unwrap();
    let function = instance.get_func(&mut store, way).unwrap();
    function.call(&mut store, &[], &mut []).unwrap_err()
}

/// Fails in one way, with engines that keep all frames and 20, and compares.
fn compare(way: &str) -> Checked {
    let bytes = wat::parse_str(WAYS).unwrap();
    check(&bytes, Config::new, |engine, module| {
        fail(engine, module, way)
    })
}

#[test]
fn traps() {
    for (way, trap) in [
        ("unreachable", Trap::UnreachableCodeReached),
        ("load", Trap::MemoryOutOfBounds),
        ("store", Trap::MemoryOutOfBounds),
        ("fill", Trap::MemoryOutOfBounds),
        ("divide", Trap::IntegerDivisionByZero),
        ("convert", Trap::BadConversionToInteger),
        ("signature", Trap::BadSignature),
        ("element", Trap::TableOutOfBounds),
        ("table", Trap::TableOutOfBounds),
    ] {
        let checked = compare(way);
        assert_eq!(checked.failure.cause(), FailureCause::Trap(trap), "{way}");
        assert_eq!(checked.names(), [way], "{way}");
        let text = checked.failure.messages().join(": ");
        assert!(text.ends_with(&trap.to_string()), "{way}: {text}");
    }
    let failure = compare("load").failure;
    assert!(
        failure.messages()[0].contains("memory fault at wasm address 0x10000"),
        "{:?}",
        failure.messages()
    );
}

#[test]
fn errors_of_the_host_have_its_function_s_name() {
    let checked = compare("error");
    assert_eq!(checked.failure.cause(), FailureCause::Host);
    assert_eq!(checked.failure.messages(), ["the disk is full"]);
    assert_eq!(checked.names(), ["host::error", "error_"]);
    assert_eq!(checked.failure.frames()[0].kind, FrameKind::Host);

    let checked = compare("host_trap");
    let trap = FailureCause::Trap(Trap::MemoryOutOfBounds);
    assert_eq!(checked.failure.cause(), trap);
    assert_eq!(checked.names(), ["host::trap", "host_trap_"]);
}

#[test]
fn a_guest_that_the_host_called_again_stands_on_the_older_one() {
    let checked = compare("re-entered");
    assert_eq!(
        checked.names(),
        ["host::error", "inner", "outer", "re_entered"]
    );
}

#[test]
fn an_exception_that_nobody_catches() {
    let checked = compare("throw");
    assert_eq!(checked.failure.cause(), FailureCause::Exception);
    println!("{}", checked.failure);
    assert_eq!(checked.names(), ["throw"]);
}

/// An exception that was caught and thrown on has the stack of the second throw, and that is said.
#[test]
fn an_exception_that_was_thrown_on() {
    let text = r#"(module
      (tag $e)
      (func $thrower (throw $e))
      (func $clean_up (param i32)
        (block $caught (result exnref)
          (try_table (catch_all_ref $caught) (call $thrower))
          (return))
        (if (param exnref) (local.get 0) (then (throw_ref)) (else (drop) (throw $e))))
      (func (export "on") (call $clean_up (i32.const 1)))
      (func (export "new") (call $clean_up (i32.const 0)))
      (func (export "plain") (call $thrower)))"#;
    let bytes = wat::parse_str(text).unwrap();
    let engine = Engine::default();
    let module = Module::new(&engine, &bytes).unwrap();
    for (export, extent, newest, opcode) in [
        ("on", Extent::Rethrown, "clean_up", 0x0a),
        ("new", Extent::Whole, "clean_up", 0x08),
        ("plain", Extent::Whole, "thrower", 0x08),
    ] {
        let mut store = Store::new(&engine, ());
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
        let function = instance.get_func(&mut store, export).unwrap();
        let error = function.call(&mut store, &[], &mut []).unwrap_err();
        let failure = kept(Guest::module("it", &module).bytes(bytes.clone()), &error);
        assert_eq!(failure.cause(), FailureCause::Exception, "{export}");
        assert_eq!(failure.extent(), extent, "{export}");
        assert_eq!(failure.frames().len(), 2, "{export}");
        let frame = &failure.frames()[0];
        assert_eq!(&*frame.name, newest, "{export}");
        assert_eq!(bytes[frame.offset.unwrap().0 as usize], opcode, "{export}");
        // Without the bytes nobody knows which it was.
        let failure = kept(Guest::module("it", &module), &error);
        assert_eq!(failure.extent(), Extent::Whole, "{export}");
    }
}

#[test]
fn a_start_function() {
    let bytes = wat::parse_str(
        "(module (func $start (call $deeper)) (func $deeper unreachable) (start $start))",
    )
    .unwrap();
    let checked = check(&bytes, Config::new, |engine, module| {
        let mut store = Store::new(engine, ());
        wasmtime::Instance::new(&mut store, module, &[]).unwrap_err()
    });
    assert_eq!(checked.names(), ["deeper", "start"]);
}

#[test]
fn what_has_no_stack_says_so() {
    let mut config = Config::new();
    config.wasm_backtrace_max_frames(None);
    let engine = Engine::new(&config).unwrap();
    let bytes = wat::parse_str(WAYS).unwrap();
    let module = Module::new(&engine, &bytes).unwrap();
    let error = fail(&engine, &module, "unreachable");
    let failure = kept(Guest::module("ways", &module).bytes(bytes), &error);
    assert_eq!(failure.extent(), Extent::Nothing);
    assert_eq!(failure.frames(), []);
    assert!(failure.to_string().ends_with("no stack is known"));

    let failure = wasmscope::Explainer::new().explain(&wasmtime::Error::msg("no such file"));
    assert_eq!(failure.extent(), Extent::Nothing);
    assert_eq!(failure.messages(), ["no such file"]);
}

#[test]
fn guests_whose_code_is_not_where_it_says_are_refused() {
    let mut config = Config::new();
    config.guest_debug(true);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, "(module)").unwrap();
    let refused = wasmscope::Explainer::new().register(Guest::module("it", &module));
    let error = refused.expect_err("it has guest_debug");
    assert!(matches!(error, wasmscope::Error::GuestDebug { guest } if guest == "it"));
}

#[test]
fn without_an_address_map_there_are_functions() {
    let mut config = Config::new();
    config.generate_address_map(false);
    let engine = Engine::new(&config).unwrap();
    let bytes = wat::parse_str(WAYS).unwrap();
    let module = Module::new(&engine, &bytes).unwrap();
    for (way, names) in [
        ("unreachable", &["unreachable"] as &[_]),
        ("re-entered", &["inner", "outer", "re_entered"]),
    ] {
        let error = fail(&engine, &module, way);
        let failure = kept(Guest::module("ways", &module).bytes(bytes.clone()), &error);
        assert_eq!(failure.extent(), Extent::Whole, "{way}");
        let found: Vec<_> = failure.frames().iter().map(|frame| &*frame.name).collect();
        assert_eq!(found, names);
        assert!(failure.frames().iter().all(|frame| frame.offset.is_none()));
    }
}

#[test]
fn other_compilers() {
    for strategy in [wasmtime::Strategy::Cranelift, wasmtime::Strategy::Winch] {
        for optimised in [false, true] {
            let config = || {
                let mut config = Config::new();
                config.strategy(strategy);
                if !optimised {
                    config.cranelift_opt_level(wasmtime::OptLevel::None);
                }
                // Winch knows none of these.
                config
                    .wasm_exceptions(false)
                    .wasm_function_references(false);
                config
            };
            let text = WAYS
                .replace("(tag $e (param i32))", "")
                .replace("(throw $e (i32.const 7))", "");
            let bytes = wat::parse_str(text).unwrap();
            for way in ["unreachable", "load", "divide", "error", "re-entered"] {
                check(&bytes, config, |engine, module| fail(engine, module, way));
            }
        }
    }
}

#[test]
fn an_interpreter() {
    let config = || {
        let mut config = Config::new();
        config.target("pulley64").unwrap();
        config
    };
    let bytes = wat::parse_str(WAYS).unwrap();
    for way in ["unreachable", "load", "error", "re-entered", "overflow"] {
        let checked = check(&bytes, config, |engine, module| fail(engine, module, way));
        assert!(!checked.names().is_empty());
    }
}

/// Two modules, one of which calls the other; only one is registered.
#[test]
fn a_guest_that_is_not_registered_has_names() {
    let engine = Engine::default();
    let callee = "(module $callee
        (func $down (export \"down\") (param i32)
          (if (i32.eqz (local.get 0)) (then unreachable))
          (call $down (i32.sub (local.get 0) (i32.const 1)))))";
    let callee = Module::new(&engine, callee).unwrap();
    let caller = wat::parse_str(
        "(module $caller (import \"callee\" \"down\" (func $down (param i32)))
            (func $run (export \"run\") (call $down (i32.const 29))))",
    )
    .unwrap();
    let module = Module::new(&engine, &caller).unwrap();
    let mut linker = Linker::new(&engine);
    let mut store = Store::new(&engine, ());
    linker.module(&mut store, "callee", &callee).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    let error = run.call(&mut store, ()).unwrap_err();

    let failure = kept(Guest::module("app.wasm", &module).bytes(caller), &error);
    let frames = failure.frames();
    assert_eq!((frames.len(), failure.extent()), (31, Extent::Whole));
    for frame in &frames[..30] {
        assert_eq!(
            (&*frame.name, frame.module.as_deref()),
            ("down", Some("callee"))
        );
        assert!(frame.offset.is_some());
    }
    assert_eq!(&*frames[30].name, "run");
    assert_eq!(frames[30].module.as_deref(), Some("app.wasm"));

    let hidden = Guest::module("callee", &callee).hidden();
    let failure = kept(hidden, &error);
    assert_eq!(
        failure.frames().len(),
        1,
        "a hidden guest's frames are left out"
    );
}

/// One core module calls another, which fails by itself or in the host.
const COMPONENT: &str = r#"(component
  (import "fail" (func $fail))
  (core func $fail (canon lower (func $fail)))
  (core module $a
    (import "host" "fail" (func $fail))
    (func $leaf (param i32)
      (if (i32.eqz (local.get 0)) (then (call $fail)))
      unreachable)
    (func (export "leaf") (param i32) (call $leaf (local.get 0))))
  (core module $b
    (import "a" "leaf" (func $leaf (param i32)))
    (func $middle (param i32) (call $leaf (local.get 0)))
    (func $top (export "top") (param i32) (call $middle (local.get 0))))
  (core instance $a (instantiate $a
    (with "host" (instance (export "fail" (func $fail))))))
  (core instance $b (instantiate $b (with "a" (instance $a))))
  (func (export "top") (param "way" u32) (canon lift (core func $b "top"))))"#;

/// Fails in the host (0) or by itself.
fn fail_component(
    component: &Component,
    mut linker: ComponentLinker<()>,
    way: u32,
) -> wasmtime::Error {
    let fail = |_: wasmtime::StoreContextMut<'_, ()>, ()| -> wasmtime::Result<()> {
        Err(wasmtime::Error::msg("refused"))
    };
    linker.root().func_wrap("fail", fail).unwrap();
    let mut store = Store::new(component.engine(), ());
    let instance = linker.instantiate(&mut store, component).unwrap();
    let top = instance
        .get_typed_func::<(u32,), ()>(&mut store, "top")
        .unwrap();
    top.call(&mut store, (way,)).unwrap_err()
}

/// Offsets count from the component's first byte.
#[test]
fn components() {
    let bytes = wat::parse_str(COMPONENT).unwrap();
    for way in [0, 1] {
        let engine = Engine::default();
        let component = Component::new(&engine, &bytes).unwrap();
        let error = fail_component(&component, ComponentLinker::new(&engine), way);
        let guest = Guest::component("app.wasm", &component).bytes(bytes.clone());
        let failure = kept(guest, &error);
        let checked = Checked::beside(failure, &error);
        let names = ["leaf", "<wasm function 2>", "middle", "top"];
        match way {
            0 => {
                assert_eq!(checked.names()[0], "host::fail");
                assert_eq!(checked.names()[1..], names);
                assert_eq!(checked.failure.messages(), ["refused"]);
            }
            _ => assert_eq!(checked.names(), names),
        }
        // Each offset is that of an instruction that the text has there.
        let frames = checked.failure.frames().iter();
        for frame in frames.filter(|it| it.offset.is_some()) {
            let at = frame.offset.unwrap().0 as usize;
            // All are calls but for the trap, which the engine puts where it branches to it.
            let expected = match way == 1 && &*frame.name == "leaf" {
                true => 0x04,
                false => 0x10,
            };
            assert_eq!(bytes[at], expected, "{} at {at:#x}", frame.name);
        }
    }
}

/// A component with probes on all of its functions: what it says without them.
#[test]
fn rewritten_components() {
    let bytes = wat::parse_str(COMPONENT).unwrap();
    for way in [0, 1] {
        let engine = Engine::default();
        let component = Component::new(&engine, &bytes).unwrap();
        let error = fail_component(&component, ComponentLinker::new(&engine), way);
        let guest = Guest::component("app.wasm", &component).bytes(bytes.clone());
        let expected = kept(guest, &error);

        let listening = Listening::new(|_: &wasmscope::listen::Definition| Some(silent()));
        let listened = listening.compile_component(&engine, bytes.clone()).unwrap();
        let mut linker = ComponentLinker::new(&engine);
        listening.add_to_component_linker(&mut linker).unwrap();
        let error = fail_component(listened.component(), linker, way);
        let failure = kept(Guest::listened_component("app.wasm", &listened), &error);
        let seen = |failure: &wasmscope::Failure| -> Vec<_> {
            let frames = failure.frames().iter();
            let frames = frames.map(|it| (it.name.clone(), it.function, it.offset));
            frames.collect()
        };
        assert_eq!(seen(&failure), seen(&expected), "{way}");
        assert_eq!(failure.messages(), expected.messages());
        assert_eq!(failure.extent(), Extent::Whole);
    }
}

/// Makes a listener that does nothing.
pub(crate) fn silent() -> wasmscope::listen::BoxListener {
    wasmscope::listen::BoxListener::new(|_: &wasmscope::listen::Call<'_>| {})
}

/// A module with probes on all functions, and guarded exports: the original's functions and
/// offsets, and nothing that was added.
#[test]
fn rewritten_modules() {
    let bytes = wat::parse_str(WAYS).unwrap();
    for guarded in [false, true] {
        for way in [
            "unreachable",
            "load",
            "divide",
            "fill",
            "signature",
            "throw",
            "error",
            "host_trap",
            "re-entered",
        ] {
            let expected = compare(way);
            let engine = Engine::default();
            let listening = Listening::builder(|_: &wasmscope::listen::Definition| Some(silent()))
                .guarded_exports(guarded)
                .build();
            let listened = listening.compile(&engine, bytes.clone()).unwrap();
            let mut linker = Linker::new(&engine);
            define(&mut linker);
            listening.add_to_linker(&mut linker).unwrap();
            let mut store = Store::new(&engine, ());
            let instance = linker.instantiate(&mut store, listened.module()).unwrap();
            let function = instance.get_func(&mut store, way).unwrap();
            let error = function.call(&mut store, &[], &mut []).unwrap_err();
            let failure = kept(Guest::listened("ways", &listened), &error);
            // A probe hears of an exception by catching it and throwing it on, which is no
            // place of the original.
            let is_thrown = way == "throw";
            let seen = |failure: &wasmscope::Failure| -> Vec<_> {
                let frames = failure.frames().iter();
                let frames = frames.map(|it| {
                    let offset = it.offset.filter(|_| !is_thrown);
                    (it.name.clone(), it.function, offset)
                });
                frames.collect()
            };
            assert_eq!(
                seen(&failure),
                seen(&expected.failure),
                "{way}, guarded: {guarded}"
            );
            let extent = match is_thrown {
                true => {
                    assert_eq!(failure.frames()[0].offset, None);
                    Extent::Rethrown
                }
                false => Extent::Whole,
            };
            assert_eq!(failure.extent(), extent, "{way}, guarded: {guarded}");
            assert_eq!(failure.cause(), expected.failure.cause());
            assert_eq!(failure.messages(), expected.failure.messages());
        }
    }
}
