//! Components in components, and resources.

use crate::compiled::compiled;
use crate::ledger::Ledger;
use std::sync::Arc;
use wasmtime::component::{Linker, Resource, ResourceType, Val};
use wasmtime::{Caller, Engine, Store, StoreContextMut};

/// The outer one instantiates the inner one twice, one within the other's reach.
const NESTED: &str = r#"(component
  (import "tick" (func $tick (result u32)))
  (component $inner
    (import "next" (func $next (result u32)))
    (core func $next (canon lower (func $next)))
    (core module $m
      (import "$root" "next" (func $next (result i32)))
      (global $calls (mut i32) (i32.const 0))
      (func (export "twice") (result i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.add (call $next) (call $next))))
    (core instance $i (instantiate $m (with "$root" (instance (export "next" (func $next))))))
    (func (export "twice") (result u32) (canon lift (core func $i "twice"))))
  (instance $low (instantiate $inner (with "next" (func $tick))))
  (instance $high (instantiate $inner (with "next" (func $low "twice"))))
  (export "twice" (func $high "twice")))"#;

#[test]
fn components_in_components() {
    let engine = Engine::default();
    let ledger = Ledger::writing();
    let listening = ledger.listening();
    let (guest, mut linker) = compiled(&listening, &engine, NESTED);
    let tick = |mut store: StoreContextMut<'_, u32>, (): ()| {
        *store.data_mut() += 1;
        Ok((*store.data(),))
    };
    linker.root().func_wrap("tick", tick).expect("free");
    let mut store = Store::new(&engine, 0);
    let instance = linker
        .instantiate(&mut store, guest.component())
        .expect("it links");
    let twice = instance
        .get_typed_func::<(), (u32,)>(&mut store, "twice")
        .expect("it is there");
    assert_eq!(
        twice.call(&mut store, ()).expect("it runs"),
        (1 + 2 + 3 + 4,)
    );
    let lines = ledger.take();
    let count = |what: &str| lines.iter().filter(|line| line.starts_with(what)).count();
    // Each of three calls of `twice`: lifted, and the core function; each of six of what it
    // imports, lowered.
    assert_eq!(count(">"), 3 * 2 + 6, "{lines:#?}");
    assert_eq!(count("<"), 3 * 2 + 6, "{lines:#?}");
    assert_eq!(ledger.settled(), 12);
}

/// Has a resource of its own, with a destructor, and drops one of the host's.
const RESOURCES: &str = r#"(component
  (import "thing" (type $thing (sub resource)))
  (import "make" (func $make (result (own $thing))))
  (core func $make (canon lower (func $make)))
  (core func $drop-thing (canon resource.drop $thing))
  (core module $dtor (func (export "dtor") (param i32) (call $really (local.get 0)))
    (func $really (param i32)))
  (core instance $dtor (instantiate $dtor))
  (type $own' (resource (rep i32) (dtor (core func $dtor "dtor"))))
  (core func $new (canon resource.new $own'))
  (core func $drop (canon resource.drop $own'))
  (core module $m
    (import "" "make" (func $make (result i32)))
    (import "" "drop-thing" (func $drop-thing (param i32)))
    (import "" "new" (func $new (param i32) (result i32)))
    (import "" "drop" (func $drop (param i32)))
    (func (export "use")
      (call $drop-thing (call $make))
      (call $drop (call $new (i32.const 9))))
    (func (export "give") (result i32) (call $new (i32.const 5))))
  (core instance $i (instantiate $m (with "" (instance
    (export "make" (func $make)) (export "drop-thing" (func $drop-thing))
    (export "new" (func $new)) (export "drop" (func $drop))))))
  (export $own "gift" (type $own'))
  (func (export "use") (canon lift (core func $i "use")))
  (func (export "give") (result (own $own)) (canon lift (core func $i "give"))))"#;

struct Thing;

#[test]
fn resources_and_their_destructors() {
    let engine = Engine::default();
    let ledger = Ledger::writing();
    let listening = ledger.listening();
    let (guest, mut linker) = compiled(&listening, &engine, RESOURCES);
    let mut root = linker.root();
    let dropped = |mut store: StoreContextMut<'_, u32>, _| {
        *store.data_mut() += 1;
        Ok(())
    };
    root.resource("thing", ResourceType::host::<Thing>(), dropped)
        .expect("free");
    root.func_wrap("make", |_: StoreContextMut<'_, u32>, (): ()| {
        Ok((Resource::<Thing>::new_own(3),))
    })
    .expect("free");
    let mut store = Store::new(&engine, 0);
    let instance = linker
        .instantiate(&mut store, guest.component())
        .expect("it links");
    let user = instance.get_func(&mut store, "use").expect("it is there");
    user.call(&mut store, &[], &mut []).expect("it runs");
    assert_eq!(*store.data(), 1);
    let lines = ledger.take();
    let names: Vec<_> = lines.iter().filter(|line| line.starts_with('>')).collect();
    assert!(names.iter().any(|line| line.contains("make")), "{names:?}");
    assert!(
        names.iter().any(|line| line.contains("really[9]")),
        "{names:?}"
    );
    // A destructor that the host calls.
    let give = instance.get_func(&mut store, "give").expect("it is there");
    let mut results = [Val::Bool(false)];
    give.call(&mut store, &[], &mut results).expect("it runs");
    let [Val::Resource(gift)] = results else {
        panic!("a resource");
    };
    gift.resource_drop(&mut store).expect("it can be dropped");
    let lines = ledger.take();
    assert!(
        lines.iter().any(|line| line.contains("really[5]")),
        "{lines:?}"
    );
    assert!(
        lines.iter().any(|line| line.starts_with("< give(gift #")),
        "{lines:?}"
    );
    drop(store);
    ledger.settled();
}

/// The inner component calls its resource by other names than the outer one does: it imports
/// `key` as a type, and exports `lock` without an interface.
const NAMED: &str = r#"(component
  (import "thing" (type $thing (sub resource)))
  (import "make" (func $make (result (own $thing))))
  (component $inner
    (import "key" (type $key (sub resource)))
    (import "cut" (func $cut (result (own $key))))
    (core func $cut (canon lower (func $cut)))
    (type $lock' (resource (rep i32)))
    (core func $new (canon resource.new $lock'))
    (core module $m
      (import "" "cut" (func $cut (result i32)))
      (import "" "new" (func $new (param i32) (result i32)))
      (func (export "cut") (result i32) (call $cut))
      (func (export "fit") (result i32) (call $new (i32.const 4))))
    (core instance $i (instantiate $m (with "" (instance
      (export "cut" (func $cut)) (export "new" (func $new))))))
    (export $lock "lock" (type $lock'))
    (func (export "cut") (result (own $key)) (canon lift (core func $i "cut")))
    (func (export "fit") (result (own $lock)) (canon lift (core func $i "fit"))))
  (instance $inner (instantiate $inner (with "key" (type $thing)) (with "cut" (func $make))))
  (export $lock "lock" (type $inner "lock"))
  (export "cut" (func $inner "cut"))
  (export "fit" (func $inner "fit") (func (result (own $lock)))))"#;

#[test]
fn resources_go_by_the_names_that_their_component_gives_them() {
    let engine = Engine::default();
    let ledger = Ledger::writing();
    let listening = ledger.listening();
    let (guest, mut linker) = compiled(&listening, &engine, NAMED);
    let mut root = linker.root();
    root.resource("thing", ResourceType::host::<Thing>(), |_, _| Ok(()))
        .expect("free");
    root.func_wrap("make", |_: StoreContextMut<'_, ()>, (): ()| {
        Ok((Resource::<Thing>::new_own(3),))
    })
    .expect("free");
    let mut store = Store::new(&engine, ());
    let instance = linker
        .instantiate(&mut store, guest.component())
        .expect("it links");
    for name in ["cut", "fit"] {
        let function = instance.get_func(&mut store, name).expect("it is there");
        let mut results = [Val::Bool(false)];
        function
            .call(&mut store, &[], &mut results)
            .expect("it runs");
    }
    let lines = ledger.take();
    let told: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("< ") && line.contains('#'))
        .map(|line| line.split('#').next().unwrap_or_default())
        .collect();
    assert_eq!(
        told,
        ["< cut(key ", "< cut(key ", "< fit(lock "],
        "{lines:#?}"
    );
    ledger.settled();
}

/// What a core module's host function makes a component from.
const DOUBLE: &str = r#"(component
  (core module $m (func (export "double") (param i32) (result i32)
    (i32.add (local.get 0) (local.get 0))))
  (core instance $i (instantiate $m))
  (func (export "double") (param "x" u32) (result u32) (canon lift (core func $i "double"))))"#;

#[tokio::test]
async fn a_component_that_is_made_while_a_module_runs_in_the_same_store() {
    let engine = Engine::default();
    let ledger = Ledger::writing();
    let listening = ledger.listening();
    let bytes = wat::parse_str(DOUBLE).expect("it is text");
    let guest = listening
        .compile_component(&engine, bytes)
        .expect("it is a component");
    let mut components = Linker::<()>::new(&engine);
    listening
        .add_to_component_linker(&mut components)
        .expect("free");
    let components = Arc::new((components, guest.component().clone()));
    let bytes = wat::parse_str(
        r#"(module $core
      (import "host" "double" (func $double (param i32) (result i32)))
      (func $inner (param i32) (result i32) (call $double (local.get 0)))
      (func (export "run") (param i32) (result i32)
        (call $inner (call $inner (local.get 0)))))"#,
    );
    let module = listening
        .compile(&engine, bytes.expect("it is text"))
        .expect("it is a module");
    let mut linker = wasmtime::Linker::new(&engine);
    listening.add_to_linker(&mut linker).expect("free");
    linker
        .func_wrap_async(
            "host",
            "double",
            move |mut caller: Caller<'_, ()>, (x,): (u32,)| {
                let components = Arc::clone(&components);
                Box::new(async move {
                    let (linker, component) = &*components;
                    let instance = linker.instantiate_async(&mut caller, component).await?;
                    let double =
                        instance.get_typed_func::<(u32,), (u32,)>(&mut caller, "double")?;
                    wasmtime::Result::Ok(double.call_async(&mut caller, (x,)).await?.0)
                })
            },
        )
        .expect("free");
    let mut store = Store::new(&engine, ());
    let instance = linker
        .instantiate_async(&mut store, module.module())
        .await
        .expect("it links");
    let run = instance
        .get_typed_func::<u32, u32>(&mut store, "run")
        .expect("it is there");
    assert_eq!(run.call_async(&mut store, 5).await.expect("it runs"), 20);
    let inner = |x: u32| {
        let doubled = 2 * x;
        [
            format!("> core.inner[{x}]"),
            format!("> host.double[{x}]"),
            format!("> double({x})"),
            format!("> m.double[{x}]"),
            format!("< m.double[{doubled}]"),
            format!("< double({doubled})"),
            format!("< host.double[{doubled}]"),
            format!("< core.inner[{doubled}]"),
        ]
    };
    let mut expected = vec!["> core.run[5]".to_owned()];
    expected.extend(inner(5));
    expected.extend(inner(10));
    expected.push("< core.run[20]".to_owned());
    assert_eq!(ledger.take(), expected);
    assert_eq!(ledger.settled(), 9);
}
