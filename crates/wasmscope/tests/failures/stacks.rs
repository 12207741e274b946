//! Stacks of every kind: fibers, continuations, several stores, and what the engine leaves out.

use crate::engine::{Checked, check, kept};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use wasmscope::{Explainer, Extent, Guest};
use wasmtime::{Caller, Config, Engine, FrameInfo, Func, Linker, Module, Store, WasmBacktrace};

/// Runs a future that only ever waits for itself.
fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

#[test]
fn on_a_fiber_that_waited() {
    let text = "(module
      (import \"host\" \"wait\" (func $wait))
      (func $deep (param i32)
        (call $wait)
        (if (i32.eqz (local.get 0)) (then unreachable))
        (call $deep (i32.sub (local.get 0) (i32.const 1))))
      (func $run (export \"run\") (call $deep (i32.const 40))))";
    let bytes = wat::parse_str(text).unwrap();
    let checked = check(&bytes, Config::new, |engine, module| {
        let mut linker = Linker::new(engine);
        let wait = || {
            let mut has_waited = false;
            let wait = move |_: &mut Context<'_>| match std::mem::replace(&mut has_waited, true) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            };
            Box::new(std::future::poll_fn(wait)) as Box<dyn Future<Output = ()> + Send>
        };
        linker
            .func_wrap_async("host", "wait", move |_: Caller<'_, ()>, (): ()| wait())
            .unwrap();
        let mut store = Store::new(engine, ());
        run(async {
            let instance = linker.instantiate_async(&mut store, module).await.unwrap();
            let function = instance
                .get_typed_func::<(), ()>(&mut store, "run")
                .unwrap();
            function.call_async(&mut store, ()).await.unwrap_err()
        })
    });
    assert_eq!(checked.names().len(), 42);
}

/// A continuation within another, each some frames deep.
#[test]
fn through_continuations() {
    let text = "(module
      (type $f (func))
      (type $c (cont $f))
      (elem declare func $outer $inner)
      (func $fail (drop (i32.div_u (i32.const 1) (i32.const 0))))
      (func $inner (call $fail))
      (func $resume (param $k (ref $c)) (resume $c (local.get $k)))
      (func $outer (call $resume (cont.new $c (ref.func $inner))))
      (func $run (export \"run\") (call $resume (cont.new $c (ref.func $outer)))))";
    let bytes = wat::parse_str(text).unwrap();
    let config = || {
        let mut config = Config::new();
        config
            .wasm_stack_switching(true)
            .wasm_function_references(true);
        config.wasm_exceptions(true);
        config
    };
    let checked = check(&bytes, config, |engine, module| {
        let mut store = Store::new(engine, ());
        let instance = wasmtime::Instance::new(&mut store, module, &[]).unwrap();
        let function = instance
            .get_typed_func::<(), ()>(&mut store, "run")
            .unwrap();
        function.call(&mut store, ()).unwrap_err()
    });
    assert_eq!(
        checked.names(),
        ["fail", "inner", "resume", "outer", "resume", "run"]
    );
}

/// An error that a guest of one store causes and a guest of another passes on has the stack of
/// the store where it came to be, which is what [`Extent::Whole`] says.
#[test]
fn from_another_store() {
    let engine = Engine::default();
    let inner = Module::new(
        &engine,
        "(module (func $fail unreachable) (func $inner (export \"run\") (call $fail)))",
    )
    .unwrap();
    let outer = Module::new(
        &engine,
        "(module (import \"host\" \"call\" (func $call)) (func $outer (export \"run\") (call $call)))",
    )
    .unwrap();
    let mut linker = Linker::new(&engine);
    let inside = inner.clone();
    let call = move || -> wasmtime::Result<()> {
        let mut store = Store::new(inside.engine(), ());
        let instance = wasmtime::Instance::new(&mut store, &inside, &[])?;
        let function = instance.get_typed_func::<(), ()>(&mut store, "run")?;
        function.call(&mut store, ())
    };
    linker.func_wrap("host", "call", call).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &outer).unwrap();
    let function = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    let error = function.call(&mut store, ()).unwrap_err();

    let explainer = Explainer::new();
    let _inner = explainer.register(Guest::module("inner", &inner)).unwrap();
    let _outer = explainer.register(Guest::module("outer", &outer)).unwrap();
    let checked = Checked::beside(explainer.explain(&error), &error);
    assert_eq!(checked.names(), ["fail", "inner"]);
}

/// The engine records what stands below such a function twice; it is there once.
#[test]
fn below_a_function_that_the_host_called() {
    let engine = Engine::default();
    let text = "(module
      (import \"host\" \"call\" (func $call))
      (func $fail (export \"fail\") unreachable)
      (func $run (export \"run\") (call $call)))";
    let module = Module::new(&engine, text).unwrap();
    let mut linker = Linker::new(&engine);
    let call = |mut caller: Caller<'_, ()>| -> wasmtime::Result<()> {
        let fail = caller.get_export("fail").and_then(|it| it.into_func());
        let fail = fail.expect("it is exported");
        // A host function, by its `Func`, that calls the guest.
        let through = Func::wrap(&mut caller, move |mut caller: Caller<'_, ()>| {
            fail.typed::<(), ()>(&caller)?.call(&mut caller, ())
        });
        through.typed::<(), ()>(&caller)?.call(&mut caller, ())
    };
    linker.func_wrap("host", "call", call).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let function = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    let error = function.call(&mut store, ()).unwrap_err();
    let engine_s = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
    let engine_s: Vec<_> = engine_s.iter().filter_map(FrameInfo::func_name).collect();
    assert_eq!(engine_s, ["fail", "run", "run"]);
    let failure = kept(Guest::module("it", &module), &error);
    assert_eq!(failure.extent(), Extent::Whole);
    let names: Vec<_> = failure.frames().iter().map(|it| &*it.name).collect();
    assert_eq!(names, ["fail", "run"]);
}
