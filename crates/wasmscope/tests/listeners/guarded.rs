//! Guarded exports: closes arrive, with the real error, before the embedder's own call
//! returns; nothing else of the guest changes.

use crate::heard::{Guest, Heard, name};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use wasmscope::listen::{BoxListener, Call, Definition};
use wasmscope::{Error, Exceptions, Listened, Listening};
use wasmtime::{
    Caller, Engine, ExternRef, Func, Instance, Linker, Module, Store, ThrownException, Trap, Val,
    WasmBacktrace,
};

fn guest(heard: &Heard, text: &str, define: impl FnOnce(&mut Linker<()>)) -> Guest {
    Guest::new(heard.listening().guarded_exports(true), text, define)
}

const FAILS: &str = r#"(module
    (import "host" "fails" (func $fails))
    (func $traps (unreachable))
    (func $inner (call $traps))
    (func (export "trap") (call $inner))
    (func (export "fail") (call $fails))
    (func $deep (export "deep") (call $deep))
    (func (export "fine")))"#;

#[derive(Debug)]
struct Mine(u64);

impl std::fmt::Display for Mine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mine, {}", self.0)
    }
}

impl std::error::Error for Mine {}

fn fails(linker: &mut Linker<()>) {
    linker
        .func_wrap("host", "fails", || -> wasmtime::Result<()> {
            Err(wasmtime::Error::new(Mine(7)))
        })
        .expect("the name is free");
}

#[test]
fn a_plain_call_that_traps_closes_all_before_it_returns() {
    let heard = Heard::default();
    let mut guest = guest(&heard, FAILS, fails);
    for _ in 0..3 {
        let error = guest.call("trap").unwrap_err();
        assert_eq!(
            error.downcast_ref(),
            Some(&Trap::UnreachableCodeReached),
            "{error:?}"
        );
        let trap = "trap: wasm trap: wasm `unreachable` instruction executed";
        assert_eq!(
            heard.take(),
            [
                "> trap[]".to_owned(),
                "> inner[]".to_owned(),
                "> traps[]".to_owned(),
                format!("! traps: {trap}"),
                format!("! inner: {trap}"),
                format!("! trap: {trap}"),
            ]
        );
        guest.call("fine").unwrap();
        assert_eq!(heard.take(), ["> fine[]", "< fine[]"]);
    }
}

#[test]
fn errors_of_the_host_and_exits_come_through_as_they_are() {
    let heard = Heard::default();
    let mut failing = guest(&heard, FAILS, fails);
    let error = failing.call("fail").unwrap_err();
    assert_eq!(error.downcast_ref::<Mine>().map(|mine| mine.0), Some(7));
    let lines = heard.take();
    assert_eq!(lines[..2], ["> fail[]", "> fails[]"]);
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[2].starts_with("! fails: ") && lines[3].starts_with("! fail: "));
    assert!(!lines[3].contains("unknown"), "{lines:?}");

    let exits = heard
        .listening()
        .guarded_exports(true)
        .exit_status(|error| Some(error.downcast_ref::<Mine>()?.0 as i32));
    let mut exiting = Guest::new(exits, FAILS, fails);
    exiting.call("fail").unwrap_err();
    let lines = heard.take();
    assert_eq!(lines[2..], ["! fails: exit 7", "! fail: exit 7"]);
}

#[test]
fn a_stack_overflow_closes_every_call() {
    let heard = Heard::default();
    let mut guest = guest(&heard, FAILS, fails);
    let error = guest.call("deep").unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
    let lines = heard.take();
    let opened = lines.iter().filter(|line| *line == "> deep[]").count();
    assert!(opened > 1000, "{opened}");
    let closed = &lines[opened..];
    assert_eq!(closed.len(), opened);
    assert!(closed.iter().all(|line| line == "! deep: stack overflow"));
}

#[test]
fn a_panic_of_the_host_goes_through() {
    let heard = Heard::default();
    let mut guest = guest(&heard, FAILS, |linker| {
        let panics = || -> wasmtime::Result<()> { std::panic::panic_any(Mine(3)) };
        linker
            .func_wrap("host", "fails", panics)
            .expect("the name is free");
    });
    let panic = catch_unwind(AssertUnwindSafe(|| guest.call("fail"))).unwrap_err();
    assert_eq!(panic.downcast_ref::<Mine>().map(|mine| mine.0), Some(3));
    assert_eq!(
        heard.take(),
        ["> fail[]", "> fails[]", "! fails: panic", "! fail: panic"]
    );
    guest.call("fine").unwrap();
    assert_eq!(heard.take(), ["> fine[]", "< fine[]"]);
}

/// A guest that is listened to, with guards or without.
struct Host {
    engine: Engine,
    listening: Listening,
    linker: Linker<()>,
    store: Store<()>,
    modules: Vec<Listened>,
}

impl Host {
    fn new(listening: Listening) -> Self {
        let engine = Engine::default();
        let mut linker = Linker::new(&engine);
        listening
            .add_to_linker(&mut linker)
            .expect("the names are free");
        Self {
            store: Store::new(&engine, ()),
            engine,
            listening,
            linker,
            modules: Vec::new(),
        }
    }

    fn instantiate(&mut self, text: &str) -> Instance {
        let bytes = wat::parse_str(text).expect("the text is right");
        let module = self
            .listening
            .compile(&self.engine, bytes)
            .expect("it is rewritten and compiled");
        let instance = self
            .linker
            .instantiate(&mut self.store, module.module())
            .expect("it is instantiated");
        self.modules.push(module);
        instance
    }

    fn function(&mut self, instance: Instance, name: &str) -> Func {
        instance
            .get_func(&mut self.store, name)
            .expect("it is exported")
    }

    fn call(&mut self, function: Func, values: &[Val]) -> wasmtime::Result<Vec<Val>> {
        let results = function.ty(&self.store).results().len();
        let mut results = vec![Val::I32(0); results];
        function.call(&mut self.store, values, &mut results)?;
        Ok(results)
    }
}

/// Values of types that a host can make and know again, with what they are in text.
fn every_type(store: &mut Store<()>, function: Func) -> Vec<(&'static str, Val)> {
    let object = ExternRef::new(&mut *store, 99_u32).expect("there is room");
    let small = wasmtime::I31::new_i32(-5).expect("it fits");
    let small = wasmtime::AnyRef::from_i31(&mut *store, small);
    vec![
        ("i32", Val::I32(i32::MIN)),
        ("i64", Val::I64(-3)),
        // Not the usual NaNs: their bits stay.
        ("f32", Val::F32(0x7fa1_2345)),
        ("f64", Val::F64(0xfff4_0000_dead_beef)),
        ("v128", Val::V128(0x0123_4567_89ab_cdef_u128.into())),
        ("externref", Val::ExternRef(Some(object))),
        ("externref", Val::ExternRef(None)),
        ("(ref extern)", Val::ExternRef(Some(object))),
        ("funcref", Val::FuncRef(Some(function))),
        ("(ref func)", Val::FuncRef(Some(function))),
        ("(ref null $own)", Val::FuncRef(None)),
        ("(ref $own)", Val::FuncRef(Some(function))),
        ("anyref", Val::AnyRef(Some(small))),
        ("(ref i31)", Val::AnyRef(Some(small))),
        ("(ref null $s)", Val::AnyRef(None)),
    ]
}

/// What two values have to have in common to be the same one.
fn identity(store: &mut Store<()>, value: &Val) -> String {
    match value {
        Val::F32(bits) => format!("f32 {bits:#x}"),
        Val::F64(bits) => format!("f64 {bits:#x}"),
        Val::ExternRef(Some(object)) => {
            let data = object.data(&*store).expect("it is alive");
            let data = data.and_then(|data| data.downcast_ref::<u32>());
            format!("extern {data:?}")
        }
        Val::FuncRef(Some(function)) => format!("func {:p}", function.to_raw(&mut *store)),
        Val::AnyRef(Some(any)) => {
            format!("any {:?}", any.unwrap_i31(&*store).map(|i| i.get_i32()))
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn every_signature_gives_the_same_values() {
    let heard = Heard::default();
    for guards in [false, true] {
        let mut host = Host::new(heard.listening().guarded_exports(guards).build());
        let own = host.instantiate(
            r#"(module (type $own (func (param i32) (result i32)))
                (func (export "own") (type $own) (i32.mul (local.get 0) (i32.const 3))))"#,
        );
        let own = host.function(own, "own");
        let values = every_type(&mut host.store, own);
        // From none to 75, each type at several places; back in the opposite order.
        for count in [0, 1, 2, 15, 31, 75] {
            let chosen: Vec<_> = values.iter().cycle().take(count).cloned().collect();
            let params: Vec<_> = chosen.iter().map(|(ty, _)| *ty).collect();
            let results: Vec<_> = params.iter().rev().copied().collect();
            let gets: Vec<_> = (0..count).map(|n| format!("local.get {n}")).collect();
            let turned: Vec<_> = gets.iter().rev().map(String::as_str).collect();
            let (params, results) = (params.join(" "), results.join(" "));
            let text = format!(
                r#"(module (type $own (func (param i32) (result i32)))
                    (type $s (struct (field i32)))
                    (func $turn (export "turn") (param {params}) (result {results}) {})
                    (func (export "also") (param {params}) (result {results}) {}
                        (call $turn)))"#,
                turned.join(" "),
                gets.join(" "),
            );
            let instance = host.instantiate(&text);
            let values: Vec<_> = chosen.into_iter().map(|(_, value)| value).collect();
            for name in ["turn", "also", "turn"] {
                let function = host.function(instance, name);
                let mut results = host.call(function, &values).unwrap();
                results.reverse();
                assert_eq!(results.len(), count);
                for (given, got) in values.iter().zip(&results) {
                    let given = identity(&mut host.store, given);
                    assert_eq!(identity(&mut host.store, got), given, "{count}: {name}");
                }
            }
        }
    }
}

#[test]
fn structs_and_exceptions_go_through_by_reference() {
    let heard = Heard::default();
    let mut host = Host::new(heard.listening().guarded_exports(true).build());
    let instance = host.instantiate(
        r#"(module (type $s (struct (field (mut i32)))) (tag $e (param i32))
            (func (export "new") (param i32) (result (ref $s)) (struct.new $s (local.get 0)))
            (func (export "add") (param (ref $s) i32 (ref null $s) (ref $s)) (result (ref $s) i32)
                (struct.set $s 0 (local.get 0)
                    (i32.add (struct.get $s 0 (local.get 3)) (local.get 1)))
                (local.get 0) (ref.is_null (local.get 2)))
            (func (export "get") (param (ref null $s)) (result i32)
                (struct.get $s 0 (local.get 0)))
            (func (export "same") (param eqref (ref eq)) (result i32)
                (ref.eq (local.get 0) (local.get 1)))
            (func (export "catch") (param i32) (result exnref (ref exn))
                (local $caught exnref)
                (block $handler (result i32 (ref exn))
                    (try_table (catch_ref $e $handler) (throw $e (local.get 0)))
                    (unreachable))
                (local.set $caught) (drop)
                (local.get $caught) (ref.as_non_null (local.get $caught)))
            (func (export "value") (param (ref exn) exnref i32) (result i32)
                (block $handler (result i32)
                    (try_table (catch $e $handler) (throw_ref (local.get 0)))
                    (unreachable))))"#,
    );
    let [new, add, get, same, catch, value] =
        ["new", "add", "get", "same", "catch", "value"].map(|name| host.function(instance, name));
    let one = host.call(new, &[Val::I32(1)]).unwrap()[0];
    let two = host.call(new, &[Val::I32(2)]).unwrap()[0];
    let results = host
        .call(add, &[one, Val::I32(40), Val::AnyRef(None), two])
        .unwrap();
    assert_eq!(results[1].i32(), Some(1));
    assert_eq!(host.call(get, &[one]).unwrap()[0].i32(), Some(42));
    let mut is_same = |a, b| host.call(same, &[a, b]).unwrap()[0].i32();
    assert_eq!(is_same(one, results[0]), Some(1));
    assert_eq!(is_same(two, results[0]), Some(0));

    let caught = host.call(catch, &[Val::I32(77)]).unwrap();
    let null = Val::ExnRef(None);
    for exception in caught {
        let thrown = host.call(value, &[exception, null, Val::I32(1)]).unwrap();
        assert_eq!(thrown[0].i32(), Some(77));
    }
}

#[test]
fn engines_take_guards_of_every_type() {
    let mut config = wasmtime::Config::new();
    config.wasm_stack_switching(true);
    let engine = Engine::new(&config).expect("it is supported here");
    let heard = Heard::default();
    let listening = heard.listening().guarded_exports(true).build();
    let types = "funcref externref anyref eqref structref arrayref i31ref exnref nullfuncref \
        nullexternref nullref nullexnref (ref null $s) (ref $s) (ref null $k) (ref null $c) \
        (ref $c) (ref func) (ref extern) (ref any) (ref exn) (ref i31)";
    let text = format!(
        r#"(module (type $s (struct (field i32))) (type $k (func)) (type $c (cont $k))
            (func (export "f") (param {types}) (result {types}) (unreachable)))"#
    );
    let bytes = wat::parse_str(text).unwrap();
    listening.compile(&engine, bytes).unwrap();
}

#[test]
fn globals_let_go_of_what_went_through() {
    let heard = Heard::default();
    let mut host = Host::new(heard.listening().guarded_exports(true).build());
    let instance = host.instantiate(
        r#"(module (func (export "give") (param externref) (result externref) (local.get 0))
            (func (export "fail") (param externref) (unreachable)))"#,
    );
    let (give, fail) = (
        host.function(instance, "give"),
        host.function(instance, "fail"),
    );
    let held = Arc::new(());
    for function in [give, fail] {
        let mut scope = wasmtime::RootScope::new(&mut host.store);
        let object = ExternRef::new(&mut scope, Arc::clone(&held)).unwrap();
        let mut results = [Val::ExternRef(None)];
        let results = &mut results[..function.ty(&scope).results().len()];
        let _ = function.call(&mut scope, &[Val::ExternRef(Some(object))], results);
    }
    host.store.gc(None).unwrap();
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn calls_within_calls_do_not_meet() {
    let heard = Heard::default();
    let mut guest = guest(
        &heard,
        r#"(module
            (import "host" "again" (func $again (param i64 i32) (result i64)))
            (func $sum (export "sum") (param i64 i32) (result i64)
                (if (i32.eqz (local.get 1)) (then (return (local.get 0))))
                (if (i32.eq (local.get 1) (i32.const 99)) (then (unreachable)))
                (i64.add (local.get 0)
                    (call $again (i64.add (local.get 0) (i64.const 1))
                        (i32.sub (local.get 1) (i32.const 1))))))"#,
        |linker| {
            let again = |mut caller: Caller<'_, ()>, value: i64, left: i32| {
                let sum = caller.get_export("sum").and_then(|sum| sum.into_func());
                let sum = sum.expect("it is exported");
                let sum = sum.typed::<(i64, i32), i64>(&caller)?;
                // A call that fails in between, and is not handed on.
                let failed = sum.call(&mut caller, (-1, 99));
                assert!(failed.is_err_and(|error| error.is::<Trap>()));
                sum.call(&mut caller, (value, left))
            };
            linker
                .func_wrap("host", "again", again)
                .expect("the name is free");
        },
    );
    let sum = guest
        .instance
        .get_typed_func::<(i64, i32), i64>(&mut guest.store, "sum");
    let sum = sum.unwrap();
    assert_eq!(sum.call(&mut guest.store, (10, 2)).unwrap(), 33);
    let trap = "! sum: trap: wasm trap: wasm `unreachable` instruction executed";
    assert_eq!(
        heard.take(),
        [
            "> sum[10, 2]",
            "> again[11, 1]",
            "> sum[-1, 99]",
            trap,
            "> sum[11, 1]",
            "> again[12, 0]",
            "> sum[-1, 99]",
            trap,
            "> sum[12, 0]",
            "< sum[12]",
            "< again[12]",
            "< sum[23]",
            "< again[23]",
            "< sum[33]",
        ]
    );
    // Deep enough that frames of many guards are on the stack.
    assert_eq!(
        sum.call(&mut guest.store, (0, 60)).unwrap(),
        (0..=60).sum::<i64>()
    );
}

#[test]
fn the_function_itself_stays_where_it_is_referred_to() {
    let heard = Heard::default();
    let mut host = Host::new(heard.listening().guarded_exports(true).build());
    let instance = host.instantiate(
        r#"(module (type $t (sub (func (result i32)))) (table (export "table") 1 funcref)
            (elem (i32.const 0) $seven)
            (func $seven (export "a") (export "b") (type $t) (i32.const 7))
            (func (export "indirect") (result i32) (call_indirect (type $t) (i32.const 0)))
            (func (export "same") (param funcref) (result i32)
                (drop (ref.cast (ref $t) (local.get 0)))
                (i32.eq (call_ref $t (ref.func $seven))
                    (call_ref $t (ref.cast (ref $t) (local.get 0))))))"#,
    );
    let [a, b, indirect, same] =
        ["a", "b", "indirect", "same"].map(|name| host.function(instance, name));
    // One export is what the other is; each time it is asked for.
    let raw = |host: &mut Host, function: Func| function.to_raw(&mut host.store);
    assert_eq!(raw(&mut host, a), raw(&mut host, b));
    let again = host.function(instance, "a");
    assert_eq!(raw(&mut host, a), raw(&mut host, again));
    let table = instance.get_table(&mut host.store, "table").unwrap();
    let inside = table.get(&mut host.store, 0).unwrap();
    let inside = *inside.unwrap_func().unwrap();
    assert_ne!(raw(&mut host, a), raw(&mut host, inside));
    let (outer, inner) = (a.ty(&host.store), inside.ty(&host.store));
    assert!(outer.matches(&inner) && inner.matches(&outer));
    for function in [a, inside, indirect] {
        assert_eq!(host.call(function, &[]).unwrap()[0].i32(), Some(7));
    }
    // A cast of the export to the function's own type holds.
    assert_eq!(
        host.call(same, &[Val::FuncRef(Some(a))]).unwrap()[0].i32(),
        Some(1)
    );
}

#[test]
fn an_instance_that_imports_an_export_enters_by_the_guard() {
    let heard = Heard::default();
    let mut host = Host::new(heard.listening().guarded_exports(true).build());
    let library = r#"(module
        (tag $e (export "e") (param i32))
        (func $throws (param i32) (throw $e (local.get 0)))
        (func (export "throw") (param i32) (call $throws (local.get 0)))
        (func (export "add") (param i32 i32) (result i32)
            (i32.add (local.get 0) (local.get 1)))
        (func (export "trap") (unreachable)))"#;
    let first = host.instantiate(library);
    host.linker.instance(&mut host.store, "lib", first).unwrap();
    // Another of the same module, which nobody imports.
    let second = host.instantiate(library);
    let user = host.instantiate(
        r#"(module
            (import "lib" "e" (tag $e (param i32)))
            (import "lib" "throw" (func $throw (param i32)))
            (import "lib" "add" (func $add (param i32 i32) (result i32)))
            (import "lib" "trap" (func $trap))
            (func $catch (export "catch") (param i32) (result i32)
                (block $caught (result i32)
                    (try_table (catch $e $caught) (call $throw (local.get 0)))
                    (i32.const -1)))
            (func $both (export "both") (result i32)
                (call $add (call $catch (i32.const 5)) (i32.const 6)))
            (func (export "uncaught") (call $throw (i32.const 8)))
            (func (export "trap") (call $trap)))"#,
    );
    heard.take();
    let both = host.function(user, "both");
    assert_eq!(host.call(both, &[]).unwrap()[0].i32(), Some(11));
    assert_eq!(
        heard.take(),
        [
            "> both[]",
            "> catch[5]",
            "> throw[5]",
            "> throw[5]",
            "> throws[5]",
            "! throws: exception",
            "! throw: exception",
            "! throw: exception",
            "< catch[5]",
            "> add[5, 6]",
            "> add[5, 6]",
            "< add[11]",
            "< add[11]",
            "< both[11]",
        ]
    );
    let uncaught = host.function(user, "uncaught");
    let error = host.call(uncaught, &[]).unwrap_err();
    assert!(error.is::<ThrownException>(), "{error:?}");
    let exception = host
        .store
        .take_pending_exception()
        .expect("it was thrown, and is kept for the embedder");
    let value = exception.field(&mut host.store, 0).unwrap();
    assert_eq!(value.i32(), Some(8));
    let lines = heard.take();
    assert_eq!(lines.len(), 8);
    assert!(lines[4..].iter().all(|line| line.ends_with(": exception")));

    let trap = host.function(user, "trap");
    host.call(trap, &[]).unwrap_err();
    let lines = heard.take();
    assert_eq!(lines.len(), 6);
    assert!(lines[3..].iter().all(|line| line.contains("unreachable")));

    let add = host.function(second, "add");
    let sum = host.call(add, &[Val::I32(1), Val::I32(2)]).unwrap();
    assert_eq!(sum[0].i32(), Some(3));
    assert_eq!(heard.take(), ["> add[1, 2]", "< add[3]"]);
}

#[test]
fn exceptions_are_closed_without_handlers_in_the_guest_too() {
    let heard = Heard::default();
    let listening = heard
        .listening()
        .guarded_exports(true)
        .exceptions(Exceptions::Never);
    let mut guest = Guest::new(
        listening,
        r#"(module (tag $e) (func $throws (throw $e))
            (func (export "run") (call $throws)))"#,
        |_| {},
    );
    let error = guest.call("run").unwrap_err();
    assert!(error.is::<ThrownException>());
    assert_eq!(
        heard.take(),
        [
            "> run[]",
            "> throws[]",
            "! throws: exception",
            "! run: exception"
        ]
    );
}

/// Writes down the functions on the stack of each call.
fn stacks(lines: &Arc<Mutex<Vec<String>>>) -> BoxListener {
    let lines = Arc::clone(lines);
    BoxListener::new(move |call: &Call<'_>| {
        let stack = call.stack().map(|frame| {
            let definition = frame.definition();
            definition.map_or("?".to_owned(), name)
        });
        let stack: Vec<_> = stack.collect();
        let mut lines = lines.lock().expect("nobody panics");
        lines.push(stack.join(" "));
    })
}

const NESTED: &str = r#"(module
    (import "host" "enter" (func $enter))
    (func $leaf (export "leaf"))
    (func $twig (export "twig") (call $leaf))
    (func $branch (call $enter))
    (func $trunk (export "trunk") (call $branch) (call $leaf) (unreachable)))"#;

fn enter(linker: &mut Linker<()>) {
    let enter = |mut caller: Caller<'_, ()>| {
        let twig = caller.get_export("twig").and_then(|twig| twig.into_func());
        twig.expect("it is exported")
            .call(&mut caller, &[], &mut [])
    };
    linker
        .func_wrap("host", "enter", enter)
        .expect("the name is free");
}

#[test]
fn listeners_see_the_same_stacks() {
    let seen = [false, true].map(|guards| {
        let lines = Arc::default();
        let listening = Listening::builder(stacks(&lines)).guarded_exports(guards);
        let mut guest = Guest::new(listening, NESTED, enter);
        guest.call("leaf").unwrap();
        guest.call("trunk").unwrap_err();
        let lines = lines.lock().unwrap();
        lines.clone()
    });
    let expected = [
        "leaf",
        "trunk",
        "branch trunk",
        "enter branch trunk",
        "twig enter branch trunk",
        "leaf twig enter branch trunk",
        // The host's own entry is over, of which the guest has told nothing yet.
        "leaf trunk",
    ];
    assert_eq!(
        seen,
        [expected, expected].map(|seen| seen.map(str::to_owned).to_vec())
    );
}

#[test]
fn the_engines_backtrace_differs_in_frames_without_a_name_only() {
    let heard = Heard::default();
    let frames = [false, true].map(|guards| {
        let listening = heard.listening().guarded_exports(guards);
        let mut guest = Guest::new(listening, NESTED, enter);
        let error = guest.call("trunk").unwrap_err();
        let backtrace = error.downcast_ref::<WasmBacktrace>();
        let frames = backtrace.expect("the engine took one").frames().iter();
        let names = frames.map(|frame| frame.func_name().map(str::to_owned));
        names.collect::<Vec<_>>()
    });
    let trunk = Some("trunk".to_owned());
    assert_eq!(frames, [vec![trunk.clone()], vec![trunk, None, None]]);
}

#[test]
fn a_guard_works_when_its_module_is_no_longer_known() {
    let heard = Heard::default();
    let mut host = Host::new(heard.listening().guarded_exports(true).build());
    let instance =
        host.instantiate(r#"(module (func (export "trap") (unreachable)) (func (export "fine")))"#);
    host.modules.clear();
    let fine = host.function(instance, "fine");
    host.call(fine, &[]).unwrap();
    let trap = host.function(instance, "trap");
    let error = host.call(trap, &[]).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::UnreachableCodeReached));
}

#[test]
fn what_nobody_listens_to_has_no_guards() {
    let listening = Listening::builder(|_: &Definition| None).guarded_exports(true);
    let engine = Engine::default();
    let bytes = wat::parse_str(FAILS).unwrap();
    let listened = listening.build().compile(&engine, bytes.clone()).unwrap();
    let names = |module: &Module| {
        let names = module.exports().map(|export| export.name().to_owned());
        names.collect::<Vec<_>>()
    };
    let plain = Module::new(&engine, &bytes).unwrap();
    assert_eq!(names(listened.module()), names(&plain));
}

#[test]
fn on_a_fiber_the_error_says_what_to_do() {
    let heard = Heard::default();
    let mut guest = guest(&heard, FAILS, fails);
    let fine = guest
        .instance
        .get_typed_func::<(), ()>(&mut guest.store, "fine")
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    for _ in 0..2 {
        let error = runtime
            .block_on(fine.call_async(&mut guest.store, ()))
            .unwrap_err();
        let ours = error.downcast_ref::<Error>();
        assert!(matches!(ours, Some(Error::GuardedOnFiber)), "{error:?}");
        assert_eq!(heard.take(), [""; 0]);
        // The store is as good as before.
        fine.call(&mut guest.store, ()).unwrap();
        assert_eq!(heard.take(), ["> fine[]", "< fine[]"]);
    }
}
