//! Handles: the index that the library lifts is the one by which the guest itself gets at
//! the resource.

use wasmscope::listen::component::{
    ComponentFunction, Direction, FunctionType, HandleKind, Limits, Type, Value,
};
use wasmtime::Store;
use wasmtime::component::{Component, Linker, Resource, ResourceAny, ResourceType, Val, WasmList};

/// Shows the words and the memory, and then drops the handles that it is told to.
const COMPONENT: &str = r#"(component
  (import "r" (type $r (sub resource)))
  (import "spy" (func $spy (param "words" (list u64)) (param "memory" (list u8)) (result u32)))
  (type $pair (tuple string (own $r)))
  (type $pairs (list $pair))
  (core module $libc
    (memory (export "memory") 1)
    (global $heap (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
      (global.get $heap)
      (global.set $heap (i32.add (global.get $heap) (local.get 3)))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $spy (canon lower (func $spy) (memory $memory)))
  (core func $drop (canon resource.drop $r))
  (core module $main
    (import "" "memory" (memory 1))
    (import "" "spy" (func $spy (param i32 i32 i32 i32) (result i32)))
    (import "" "drop" (func $drop (param i32)))
    (func (export "f") (param $one i32) (param $lent i32) (param $list i32) (param $len i32)
      (local $handle i32)
      (i64.store (i32.const 64) (i64.extend_i32_u (local.get $one)))
      (i64.store (i32.const 72) (i64.extend_i32_u (local.get $lent)))
      (i64.store (i32.const 80) (i64.extend_i32_u (local.get $list)))
      (i64.store (i32.const 88) (i64.extend_i32_u (local.get $len)))
      (loop $more
        (local.set $handle
          (call $spy (i32.const 64) (i32.const 4) (i32.const 0) (i32.const 65536)))
        (if (local.get $handle)
          (then (call $drop (local.get $handle)) (br $more))))))
  (core instance $main (instantiate $main (with "" (instance
    (export "memory" (memory $memory)) (export "spy" (func $spy)) (export "drop" (func $drop))))))
  (func (export "f") (param "one" (own $r)) (param "lent" (borrow $r)) (param "list" $pairs)
    (canon lift (core func $main "f") (memory $memory) (realloc $realloc))))"#;

struct Counted;

#[derive(Default)]
struct Host {
    lifted: Vec<Value>,
    /// The handles that the guest is still to drop.
    to_drop: Vec<u32>,
    /// What the resources stand for that were dropped.
    dropped: Vec<u32>,
}

fn handle(value: &Value) -> (HandleKind, u32) {
    match value {
        Value::Handle { kind, index, .. } => (*kind, *index),
        other => panic!("{other}"),
    }
}

#[test]
fn a_handle_is_the_guests_own() {
    let ty = FunctionType::new(
        [
            ("one", Type::own(Some("r"))),
            ("lent", Type::borrow(Some("r"))),
            (
                "list",
                Type::list(Type::tuple([Type::STRING, Type::own(Some("r"))])),
            ),
        ],
        None,
    );
    let function = ComponentFunction::new(Direction::Export, "f", ty);
    let engine = super::engine();
    let component = Component::new(&engine, COMPONENT).unwrap();
    let mut linker = Linker::<Host>::new(&engine);
    let mut root = linker.root();
    let counted = ResourceType::host::<Counted>();
    root.resource("r", counted, |mut store, rep| {
        store.data_mut().dropped.push(rep);
        Ok(())
    })
    .unwrap();
    root.func_wrap(
        "spy",
        move |mut store, (words, memory): (WasmList<u64>, WasmList<u8>)| {
            let words = words.as_le_slice(&store).to_vec();
            let memory = memory.as_le_slice(&store).to_vec();
            let host: &mut Host = store.data_mut();
            if host.lifted.is_empty() {
                let lifted = function.lift_params(&words, &*memory, &Limits::default());
                host.lifted = lifted.unwrap();
                let Value::List { values, .. } = &host.lifted[2] else {
                    panic!("{:?}", host.lifted);
                };
                let nested = values.iter().map(|pair| match pair {
                    Value::Tuple(pair) => handle(&pair[1]).1,
                    other => panic!("{other}"),
                });
                // The lent one must be given back; it is the last.
                let all = [handle(&host.lifted[0]).1].into_iter().chain(nested);
                host.to_drop = all.chain([handle(&host.lifted[1]).1]).collect();
                host.to_drop.reverse();
            }
            Ok((host.to_drop.pop().unwrap_or(0),))
        },
    )
    .unwrap();
    let mut store = Store::new(&engine, Host::default());
    let mut resource = |rep| {
        let resource = Resource::<Counted>::new_own(rep);
        let any: ResourceAny = resource.try_into_resource_any(&mut store).unwrap();
        any
    };
    let [one, lent, first, second] = [10, 20, 30, 40].map(&mut resource);
    let pair = |name: &str, resource| {
        Val::Tuple(vec![Val::String(name.to_owned()), Val::Resource(resource)])
    };
    let params = [
        Val::Resource(one),
        Val::Resource(lent),
        Val::List(vec![pair("a", first), pair("b", second)]),
    ];
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let f = instance.get_func(&mut store, "f").unwrap();
    f.call(&mut store, &params, &mut []).unwrap();
    let host = store.data();
    // In the order in which the lifted handles were dropped; the lent one is not owned.
    assert_eq!(host.dropped, [10, 30, 40]);
    assert_eq!(handle(&host.lifted[0]).0, HandleKind::Own);
    assert_eq!(handle(&host.lifted[1]).0, HandleKind::Borrow);
    let texts: Vec<_> = host.lifted.iter().map(ToString::to_string).collect();
    let number = |at: usize| handle(&host.lifted[at]).1;
    assert_eq!(texts[0], format!("r #{}", number(0)));
    assert!(texts[2].starts_with("[(\"a\", r #"), "{}", texts[2]);
}
