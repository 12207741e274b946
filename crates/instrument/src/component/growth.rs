//! How the work that a component makes grows with its size.

use std::fmt::Write;

use wasm_encoder::{
    ComponentInstanceSection, ComponentSectionId, InstanceSection, ModuleArg, RawSection,
};

use super::{Binding, Component, RewrittenModule, steps};
use crate::{Error, Options};

/// A size that is large beside what each component needs at least.
const SIZE: usize = 100;

/// Parses a component of each of three sizes, and returns what `see` makes of the largest.
/// The steps may grow no faster than the size does, but for names that look alike to a hash
/// map.
fn grows_with_its_size<T>(text: impl Fn(usize) -> String, see: impl Fn(&Component<'_>) -> T) -> T {
    let measure = |size: usize| {
        let wasm = wat::parse_str(text(size)).expect("it is in the text format");
        let before = steps::so_far();
        let component = Component::parse(&wasm).expect("it is valid");
        let seen = see(&component);
        (steps::so_far() - before, seen)
    };
    let (first, _) = measure(SIZE);
    assert!(first > SIZE as u64 / 2, "only {first} steps");
    let (second, _) = measure(2 * SIZE);
    let (third, seen) = measure(4 * SIZE);
    assert!(
        second * 2 < first * 5 && third * 2 < second * 5,
        "{first}, {second}, {third} steps"
    );
    seen
}

fn repeated(count: usize, text: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut all, at| {
        write!(all, " {}", text(at)).expect("it can be written");
        all
    })
}

/// Returns what the functions are that each instance of a module imports.
fn bindings(component: &Component<'_>) -> Vec<Vec<Binding>> {
    component.bindings[0].clone()
}

const LOWERED: &str = r#"(import "f" (func $f)) (core func $f (canon lower (func $f)))"#;

#[test]
fn imports_from_an_instance_that_is_made_of_items() {
    let text = |size| {
        let imports = repeated(size, |at| format!(r#"(import "a" "{at}" (func))"#));
        let exports = repeated(size, |at| format!(r#"(export "{at}" (func $f))"#));
        format!(
            r#"(component {LOWERED}
                (core module $m {imports})
                (core instance $a {exports})
                (core instance (instantiate $m (with "a" (instance $a)))))"#
        )
    };
    let found = grows_with_its_size(text, bindings);
    assert_eq!(found, [vec![Binding::Lowered(0); 4 * SIZE]]);
}

#[test]
fn imports_from_an_instance_each() {
    let text = |size| {
        let imports = repeated(size, |at| format!(r#"(import "{at}" "f" (func))"#));
        let given = repeated(size, |at| format!(r#"(with "{at}" (instance $a))"#));
        format!(
            r#"(component {LOWERED}
                (core module $m {imports})
                (core instance $a (export "f" (func $f)))
                (core instance (instantiate $m {given})))"#
        )
    };
    let found = grows_with_its_size(text, bindings);
    assert_eq!(found, [vec![Binding::Lowered(0); 4 * SIZE]]);
}

/// Every import goes through a slot of its own, and other instances have the table too.
fn through_a_table(size: usize, others: usize) -> String {
    let calls = repeated(size, |at| {
        format!(r#"(func (export "{at}") (call_indirect $t (i32.const {at})))"#)
    });
    let imports = repeated(size, |at| format!(r#"(import "a" "{at}" (func))"#));
    let slots = repeated(size, |_| "$f".to_owned());
    let others = repeated(others, |_| {
        r#"(core instance (instantiate $has (with "a" (instance $shim))))"#.to_owned()
    });
    format!(
        r#"(component {LOWERED}
            (core module $shim (table $t (export "t") {size} funcref) {calls})
            (core module $m {imports})
            (core module $has (import "a" "t" (table 0 funcref)))
            (core module $fixups
                (import "a" "t" (table 0 funcref))
                (import "b" "f" (func $f))
                (elem (table 0) (i32.const 0) func {slots}))
            (core instance $shim (instantiate $shim))
            (core instance (instantiate $m (with "a" (instance $shim))))
            (core instance $b (export "f" (func $f)))
            (core instance (instantiate $fixups
                (with "a" (instance $shim)) (with "b" (instance $b))))
            {others})"#
    )
}

#[test]
fn imports_through_a_table_that_many_instances_have() {
    let text = |size| through_a_table(size, size);
    let found = grows_with_its_size(text, bindings);
    assert_eq!(found[1], vec![Binding::Lowered(0); 4 * SIZE]);
}

#[test]
fn imports_through_a_table_that_many_instances_fill() {
    let text = |size| {
        let text = through_a_table(size, size);
        text.replace(
            r#"(import "a" "t" (table 0 funcref)))"#,
            r#"(import "a" "t" (table 0 funcref)) (func $g (call_indirect (i32.const 0)))
               (elem (i32.const 0) func $g))"#,
        )
    };
    let found = grows_with_its_size(text, bindings);
    // What was there first is written over in one slot, by what only calls itself.
    assert_eq!(found[1][0], Binding::Unknown);
    assert_eq!(found[1][1..], vec![Binding::Lowered(0); 4 * SIZE - 1]);
}

/// Returns the names of what is lifted.
fn names(component: &Component<'_>) -> Vec<Option<String>> {
    let functions = component.functions().iter();
    functions.map(|function| function.name.clone()).collect()
}

const LIFTED: &str = r#"
    (core module $m (func (export "f")))
    (core instance $m (instantiate $m))
    (func $f (canon lift (core func $m "f")))"#;

#[test]
fn exports_of_what_an_instance_has() {
    let text = |size| {
        let items = repeated(size, |at| format!(r#"(export "f{at}" (func $f))"#));
        let aliases = repeated(size, |at| format!(r#"(export "f{at}" (func $i "f{at}"))"#));
        format!("(component {LIFTED} (instance $i {items}) {aliases})")
    };
    let found = grows_with_its_size(text, names);
    assert_eq!(found, [Some("f0".to_owned())]);
}

#[test]
fn instances_of_an_instance_twice_over() {
    // Each level has the one below twice, so there are 2^8 ways to the innermost.
    let text = |size: usize| {
        let levels = repeated(8, |at| {
            let next = at + 1;
            format!(
                r#"(instance $i{next}
                    (export "a" (instance $i{at})) (export "b" (instance $i{at})))"#
            )
        });
        let items = repeated(size, |at| format!(r#"(export "f{at}" (func $f))"#));
        format!(
            r#"(component {LIFTED} (instance $i0 {items}) {levels}
                (export "outermost" (instance $i8)))"#
        )
    };
    let found = grows_with_its_size(text, names);
    assert_eq!(found, [Some("f0".to_owned())]);
    let wasm = wat::parse_str(text(SIZE)).expect("it is in the text format");
    let before = steps::so_far();
    Component::parse(&wasm).expect("it is valid");
    let steps = steps::so_far() - before;
    assert!(steps < 20 * SIZE as u64, "{steps} steps");
}

#[test]
fn functions_that_a_component_is_given_and_exports() {
    let text = |size| {
        let imports = repeated(size, |at| format!(r#"(import "f{at}" (func $f{at}))"#));
        let exports = repeated(size, |at| format!(r#"(export "g{at}" (func $f{at}))"#));
        let given = repeated(size, |at| format!(r#"(with "f{at}" (func $f))"#));
        format!(
            r#"(component {LIFTED}
                (component $inner {imports} {exports})
                (instance $i (instantiate $inner {given}))
                (export "outermost" (instance $i)))"#
        )
    };
    let found = grows_with_its_size(text, names);
    assert_eq!(found, [Some("g0".to_owned())]);
}

#[test]
fn functions_that_are_lowered_ahead_of_others_that_are_lifted() {
    let text = |size| {
        let lowered = repeated(size, |at| {
            format!("(core func $l{at} (canon lower (func $g)))")
        });
        let used = repeated(size, |at| format!(r#"(export "{at}" (func $l{at}))"#));
        let lifted = repeated(size, |_| {
            "(func (type $t) (canon lift (core func $c)))".to_owned()
        });
        format!(
            r#"(component (import "g" (func $g)) {LIFTED}
                (type $t (func)) (alias core export $m "f" (core func $c)) {lowered} {lifted}
                (core instance {used}))"#
        )
    };
    let functions = grows_with_its_size(text, |component| {
        let rewritten = component.rewrite(&Options::default(), &|_| true);
        let modules = rewritten.expect("it can be rewritten").modules.into_iter();
        let functions = modules.map(|module| match module {
            RewrittenModule::Wrapper { functions } => functions.len(),
            _ => 0,
        });
        functions.sum::<usize>()
    });
    assert_eq!(functions, 8 * SIZE + 1);
}

/// Returns a component that instantiates the one within it, and so on, down to one that
/// instantiates a core module.
fn nested(depth: usize) -> Vec<u8> {
    let module = wat::parse_str("(module (func))").expect("it is in the text format");
    let mut instances = InstanceSection::new();
    instances.instantiate(0, [] as [(&str, ModuleArg); 0]);
    let mut innermost = wasm_encoder::Component::new();
    let id = ComponentSectionId::CoreModule as u8;
    innermost.section(&RawSection { id, data: &module });
    innermost.section(&instances);
    (1..depth).fold(innermost.finish(), |inner, _| {
        let mut outer = wasm_encoder::Component::new();
        let id = ComponentSectionId::Component as u8;
        outer.section(&RawSection { id, data: &inner });
        let mut instances = ComponentInstanceSection::new();
        instances.instantiate(0, [] as [(&str, wasm_encoder::ComponentExportKind, u32); 0]);
        outer.section(&instances);
        outer.finish()
    })
}

#[test]
fn components_within_each_other() {
    let wasm = nested(100);
    let component = Component::parse(&wasm).expect("it is valid");
    let rewritten = component.rewrite(&Options::default(), &|_| true);
    rewritten.expect("it can be rewritten");
    let depth = 2000;
    let wasm = nested(depth);
    let component = Component::parse(&wasm).expect("it is valid");
    let before = steps::so_far();
    let error = component.rewrite(&Options::default(), &|_| true);
    let error = error.expect_err("it takes more than is allowed");
    assert!(
        matches!(error, Error::TooMany { count: 101, .. }),
        "{error}"
    );
    let steps = steps::so_far() - before;
    assert_eq!(steps, depth as u64 - 1);
}
