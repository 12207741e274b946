//! What core modules import is told once, by whatever name they import it.

use crate::compiled::compiled;
use crate::ledger::Ledger;
use wasmscope::Listening;
use wasmscope::listen::{BoxListener, Definition};
use wasmtime::component::Val;
use wasmtime::{Engine, Store, StoreContextMut};

/// Listens to what `wanted` says, runs `run` of a component whose import `tick` counts, and
/// returns the events and how often `tick` was called.
fn run(text: &str, wanted: fn(&Definition) -> bool) -> (Vec<String>, u32) {
    let engine = Engine::default();
    let ledger = Ledger::writing();
    let listener = BoxListener::new(ledger.clone());
    let listening =
        Listening::new(move |function: &Definition| wanted(function).then(|| listener.clone()));
    let (guest, mut linker) = compiled(&listening, &engine, text);
    let tick = |mut store: StoreContextMut<'_, u32>, (by,): (u32,)| {
        *store.data_mut() += 1;
        Ok((by + 1,))
    };
    linker.root().func_wrap("tick", tick).expect("free");
    let mut store = Store::new(&engine, 0);
    let instance = linker
        .instantiate(&mut store, guest.component())
        .expect("it links");
    let run = instance.get_func(&mut store, "run").expect("it is there");
    let mut results = [Val::U32(0)];
    listening
        .guard(&mut store, |store| run.call(store, &[], &mut results))
        .expect("it runs");
    assert_eq!(results, [Val::U32(store.data() + 1)], "each tick adds one");
    ledger.settled();
    (ledger.take(), *store.data())
}

/// Checks what is told of imports, those of core modules and of the component, in their order;
/// and that the component's are as many as the host was called.
fn check(text: &str, expected: &[&str], of_core_modules: &[&str]) {
    let (lines, ticks) = run(text, |function| {
        function.import.is_some()
            || function.component.as_ref().is_some_and(|component| {
                component.direction == wasmscope::listen::component::Direction::Import
            })
    });
    let opened = lines.iter().filter(|line| line.starts_with('>'));
    let opened: Vec<_> = opened.map(String::as_str).collect();
    assert_eq!(opened, expected);
    let ticked = opened.iter().filter(|line| line.starts_with("> tick("));
    assert_eq!(ticked.count(), ticks as usize);
    // Who listens to core modules only hears what they import, once as well.
    let (lines, _) = run(text, |function| function.import.is_some());
    let opened = lines.iter().filter(|line| line.starts_with('>'));
    let opened: Vec<_> = opened.map(String::as_str).collect();
    assert_eq!(opened, of_core_modules);
}

#[test]
fn under_another_name() {
    check(
        r#"(component
          (import "tick" (func $tick (param "by" u32) (result u32)))
          (core func $lowered (canon lower (func $tick)))
          (core module $m
            (import "env" "next" (func $next (param i32) (result i32)))
            (func (export "run") (result i32) (call $next (call $next (i32.const 1)))))
          (core instance $i (instantiate $m (with "env" (instance (export "next" (func $lowered))))))
          (func (export "run") (result u32) (canon lift (core func $i "run"))))"#,
        &["> tick(1)", "> tick(2)"],
        &["> env.next[1]", "> env.next[2]"],
    );
}

#[test]
fn handed_on_by_another_module() {
    // The one in between exports what it imports.
    check(
        r#"(component
          (import "tick" (func $tick (param "by" u32) (result u32)))
          (core func $lowered (canon lower (func $tick)))
          (core module $between
            (import "from" "here" (func $f (param i32) (result i32)))
            (export "there" (func $f)))
          (core instance $between (instantiate $between
            (with "from" (instance (export "here" (func $lowered))))))
          (core module $m
            (import "between" "there" (func $next (param i32) (result i32)))
            (func (export "run") (result i32) (call $next (i32.const 1))))
          (core instance $i (instantiate $m (with "between" (instance $between))))
          (func (export "run") (result u32) (canon lift (core func $i "run"))))"#,
        &["> tick(1)"],
        &["> between.there[1]"],
    );
}

#[test]
fn in_one_instance_and_not_in_the_other() {
    // The module that adds goes by the name of what the component imports.
    check(
        r#"(component
          (import "tick" (func $tick (param "by" u32) (result u32)))
          (core func $lowered (canon lower (func $tick)))
          (core module $add (func (export "tick") (param i32) (result i32)
            (i32.add (local.get 0) (i32.const 0))))
          (core instance $add (instantiate $add))
          (core module $m
            (import "$root" "tick" (func $next (param i32) (result i32)))
            (func (export "run") (param i32) (result i32) (call $next (local.get 0))))
          (core instance $a (instantiate $m (with "$root" (instance $add))))
          (core instance $b (instantiate $m (with "$root" (instance (export "tick" (func $lowered))))))
          (core module $main
            (import "a" "run" (func $a (param i32) (result i32)))
            (import "b" "run" (func $b (param i32) (result i32)))
            (func (export "run") (result i32) (call $b (call $a (call $b (i32.const 1))))))
          (core instance $main (instantiate $main
            (with "a" (instance $a)) (with "b" (instance $b))))
          (func (export "run") (result u32) (canon lift (core func $main "run"))))"#,
        &[
            "> b.run[1]",
            "> tick(1)",
            "> a.run[2]",
            "> $root.tick[2]",
            "> b.run[2]",
            "> tick(2)",
        ],
        &[
            "> b.run[1]",
            "> $root.tick[1]",
            "> a.run[2]",
            "> $root.tick[2]",
            "> b.run[2]",
            "> $root.tick[2]",
        ],
    );
}

/// What tools write where a lowered function takes the memory of the module that calls it.
/// `between` is how the table is filled.
fn through_a_table(fixups: &str) -> String {
    format!(
        r#"(component
          (import "tick" (func $tick (param "by" u32) (result u32)))
          (core module $shim
            (table (export "slots") 2 2 funcref)
            (type $f (func (param i32) (result i32)))
            (func (export "0") (type $f)
              (call_indirect (type $f) (local.get 0) (i32.const 0)))
            (func (export "1") (type $f)
              (call_indirect (type $f) (local.get 0) (i32.const 1))))
          (core instance $shim (instantiate $shim))
          (core module $m
            (import "env" "next" (func $next (param i32) (result i32)))
            (import "env" "same" (func $same (param i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "run") (result i32) (call $same (call $next (i32.const 1)))))
          (alias core export $shim "0" (core func $zero))
          (core instance $i (instantiate $m (with "env" (instance
            (export "next" (func $zero)) (export "same" (func $shim "1"))))))
          (core func $lowered (canon lower (func $tick) (memory (core memory $i "memory"))))
          (core module $same (func (export "same") (param i32) (result i32) (local.get 0)))
          (core instance $same (instantiate $same))
          (alias core export $shim "slots" (core table $slots))
          (core module $fixups
            (import "" "slots" (table 2 2 funcref))
            (import "" "a" (func $a (param i32) (result i32)))
            (import "" "b" (func $b (param i32) (result i32)))
            {fixups})
          (core instance (instantiate $fixups (with "" (instance
            (export "slots" (table $slots)) (export "a" (func $lowered))
            (export "b" (func $same "same"))))))
          (func (export "run") (result u32) (canon lift (core func $i "run"))))"#
    )
}

#[test]
fn through_a_table_that_is_filled_once() {
    check(
        &through_a_table("(elem (i32.const 0) func $a $b)"),
        &["> tick(1)", "> env.same[2]", "> .b[2]"],
        &["> env.next[1]", "> .a[1]", "> env.same[2]", "> .b[2]"],
    );
    check(
        &through_a_table(
            "(elem (i32.const 1) funcref (ref.func $b)) (elem (i32.const 0) funcref (ref.func $a))",
        ),
        &["> tick(1)", "> env.same[2]", "> .b[2]"],
        &["> env.next[1]", "> .a[1]", "> env.same[2]", "> .b[2]"],
    );
}

#[test]
fn through_a_table_that_anybody_may_write() {
    // Nobody knows then what is called, and its name is another: both are told.
    check(
        &through_a_table(
            "(elem (i32.const 0) func $a $b) (elem declare func $a)
             (func (export \"write\") (table.set (i32.const 0) (ref.func $a)))",
        ),
        &["> env.next[1]", "> tick(1)", "> env.same[2]", "> .b[2]"],
        &["> env.next[1]", "> .a[1]", "> env.same[2]", "> .b[2]"],
    );
}
