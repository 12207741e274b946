//! Reading the memory of instances within components.

use crate::compiled::compiled;
use crate::strings::{TEXT, host};
use std::sync::{Arc, Mutex};
use wasmscope::Listening;
use wasmscope::listen::{BoxListener, Call, Close, Definition, Value, pair};
use wasmtime::component::Linker;
use wasmtime::{Engine, Store, StoreContextMut};

/// Reads the bytes that two values speak of: where they are, and how many.
fn text(call: &Call<'_>, at: Option<Value>, len: Option<Value>) -> Option<String> {
    let (Some(Value::I32(at)), Some(Value::I32(len))) = (at, len) else {
        return None;
    };
    let mut bytes = vec![0; len as usize];
    call.instance().read(0, at as u64, &mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}

/// What was read at some events, and at all: whether it is deferred, and how much there was.
type Read = (Vec<String>, Vec<(bool, Option<u64>)>);

/// Runs `greet`.
fn read(component_memory: bool) -> Read {
    let heard: Arc<Mutex<Read>> = Arc::default();
    let [opened, closed] = [(); 2].map(|()| Arc::clone(&heard));
    let listener = BoxListener::new(pair(
        move |call: &Call<'_>| {
            let mut heard = opened.lock().expect("nothing panicked here");
            let size = call.instance().memory_size(0);
            heard.1.push((call.is_deferred(), size));
            assert_eq!(call.instance().memory_size(1), None);
            let params = call.params();
            let read = match call.definition().name.as_deref() {
                Some("greet") => text(call, params.get(0), params.get(1)),
                Some("append") => text(call, params.get(1), params.get(2)),
                _ => None,
            };
            heard.0.extend(read);
        },
        move |call: &Call<'_>, close: Close<'_>, ()| {
            if let (Some("append"), Close::Return(_)) = (call.definition().name.as_deref(), close) {
                let params = call.params();
                let read = text(call, params.get(0), params.get(2));
                let mut heard = closed.lock().expect("nothing panicked here");
                heard.0.extend(read.map(|text| format!("copied {text}")));
            }
        },
    ));
    // Functions of core modules only: memory of what is lifted is always there.
    let factory =
        move |definition: &Definition| definition.component.is_none().then(|| listener.clone());
    let listening = Listening::builder(factory)
        .component_memory(component_memory)
        .build();
    let engine = Engine::default();
    let (guest, mut linker) = compiled(&listening, &engine, TEXT);
    host(&mut linker);
    let mut store = Store::new(&engine, ());
    let instance = linker
        .instantiate(&mut store, guest.component())
        .expect("it links");
    let api = instance.get_export_index(&mut store, None, "local:test/api@1.2.3");
    let greet = instance.get_export_index(&mut store, api.as_ref(), "greet");
    let greet = instance
        .get_typed_func::<(&str,), (String,)>(&mut store, greet.expect("it is there"))
        .expect("it is of this type");
    let said = greet.call(&mut store, ("Ada",)).expect("it runs");
    assert_eq!(said, ("Ada, ADA!".to_owned(),));
    let heard = heard.lock().expect("nothing panicked here");
    heard.clone()
}

#[test]
fn the_first_memory_is_there_when_it_is_asked_for() {
    let (texts, sizes) = read(true);
    assert_eq!(
        texts,
        ["Ada", "Ada", "copied Ada", ", ADA!", "copied , ADA!"]
    );
    // What is told later than it happened comes without.
    assert!(sizes.iter().any(|(is_deferred, _)| *is_deferred));
    for (is_deferred, size) in sizes {
        assert_eq!(size, (!is_deferred).then_some(65_536));
    }
    let (texts, sizes) = read(false);
    assert!(texts.is_empty(), "{texts:?}");
    assert!(sizes.iter().all(|(_, size)| size.is_none()), "{sizes:?}");
}

/// The engine counts lists that go to the host, and memories go as such.
#[test]
fn a_memory_may_be_larger_than_what_a_store_allows_for_copies() {
    const ALLOWED: usize = 1 << 17;
    let heard: Arc<Mutex<Vec<Option<u64>>>> = Arc::default();
    let sizes = Arc::clone(&heard);
    let listener = BoxListener::new(pair(
        move |call: &Call<'_>| {
            let mut sizes = sizes.lock().expect("nothing panicked here");
            sizes.push(call.instance().memory_size(0));
        },
        |_: &Call<'_>, _: Close<'_>, ()| {},
    ));
    let greeted = |definition: &Definition| definition.name.as_deref() == Some("greet");
    let listening = Listening::builder(move |definition: &Definition| {
        greeted(definition).then(|| listener.clone())
    })
    .component_memory(true)
    .build();
    let engine = Engine::default();
    let text = TEXT.replace(
        "(memory (export \"memory\") 1)",
        "(memory (export \"memory\") 40)",
    );
    // Functions that nobody listens to have probes as well, and say where their memory is.
    let bytes = wat::parse_str(text).expect("it is text");
    let guest = listening
        .compile_component_probed(&engine, bytes, |_| true)
        .expect("it is a component");
    let mut linker = Linker::new(&engine);
    listening
        .add_to_component_linker(&mut linker)
        .expect("free");
    // What the guest is allowed when it calls the host itself.
    let mut api = linker.instance("local:test/host@1.2.3").expect("free");
    api.func_wrap(
        "say",
        |mut store: StoreContextMut<'_, Vec<usize>>, (what, _): (String, bool)| {
            let allowed = store.hostcall_fuel();
            store.data_mut().push(allowed);
            Ok((what,))
        },
    )
    .expect("free");
    let mut store = Store::new(&engine, Vec::new());
    store.set_hostcall_fuel(ALLOWED);
    let instance = linker
        .instantiate(&mut store, guest.component())
        .expect("it links");
    let api = instance.get_export_index(&mut store, None, "local:test/api@1.2.3");
    let greet = instance.get_export_index(&mut store, api.as_ref(), "greet");
    let greet = instance
        .get_typed_func::<(&str,), (String,)>(&mut store, greet.expect("it is there"))
        .expect("it is of this type");
    for _ in 0..2 {
        greet.call(&mut store, ("Ada",)).expect("it runs");
    }
    assert_eq!(*store.data(), [ALLOWED; 2]);
    assert_eq!(store.hostcall_fuel(), ALLOWED);
    let heard = heard.lock().expect("nothing panicked here");
    assert!(heard.len() >= 2, "{heard:?}");
    assert!(
        heard.iter().all(|size| *size == Some(40 << 16)),
        "{heard:?}"
    );
    drop(heard);
    // The guest's own lists are held against it as before.
    let long = "a".repeat(ALLOWED);
    greet
        .call(&mut store, (&long,))
        .expect_err("the guest passes on more than it may");
}

/// A module with several memories and globals of every kind, some of them another's. `step`
/// changes them all and calls `here`.
const SEVERAL: &str = r#"(component
  (core module $other
    (global (export "base") (mut i64) (i64.const 40))
    (memory (export "memory") 1))
  (core instance $other (instantiate $other))
  (core module $m
    (import "other" "base" (global $base (mut i64)))
    (import "other" "memory" (memory 1))
    (memory $second 2)
    (memory $third 0)
    (memory $wide i64 1)
    (global $n (mut i32) (i32.const 0))
    (global $half (mut f32) (f32.const 0.5))
    (global $quarter f64 (f64.const 0.25))
    (global $lanes (mut v128) (v128.const i64x2 1 2))
    (global $function (mut funcref) (ref.null func))
    (global $own (mut (ref null $type)) (ref.null $type))
    (global $last (mut i32) (i32.const -1))
    (type $type (func))
    (elem declare func $here)
    (func $here (type $type))
    (func (export "step")
      (global.set $n (i32.add (global.get $n) (i32.const 1)))
      (global.set $base (i64.add (global.get $base) (i64.const 1)))
      (global.set $half (f32.add (global.get $half) (f32.const 1)))
      (global.set $lanes (i64x2.splat (i64.extend_i32_u (global.get $n))))
      (global.set $function (ref.func $here))
      (global.set $last (i32.sub (i32.const 0) (global.get $n)))
      (i32.store8 (i32.const 7) (global.get $n))
      (i32.store8 $second (i32.const 70000) (i32.mul (global.get $n) (i32.const 2)))
      (drop (memory.grow $third (i32.const 1)))
      (call $here)))
  (core instance $i (instantiate $m (with "other" (instance $other))))
  (func (export "step") (canon lift (core func $i "step"))))"#;

/// What is read at one event: a byte of the first memory and of the second, the sizes of
/// all, and the globals.
#[derive(Clone, PartialEq, Debug)]
struct Seen {
    bytes: [Option<u8>; 2],
    sizes: [Option<u64>; 4],
    globals: Vec<Option<Value>>,
}

impl Seen {
    fn at(call: &Call<'_>) -> Self {
        let instance = call.instance();
        let byte = |memory: u32, at: u64| {
            let mut byte = [0];
            instance.read(memory, at, &mut byte).ok()?;
            Some(byte[0])
        };
        assert_eq!((instance.memories(), instance.globals()), (4, 8));
        Self {
            bytes: [byte(0, 7), byte(1, 70_000)],
            sizes: [0, 1, 2, 3].map(|memory| instance.memory_size(memory)),
            globals: (0..8).map(|global| instance.global(global)).collect(),
        }
    }
}

/// Runs `step` three times, and returns what is seen at each event of `here`.
fn seen(memory: bool, globals: bool) -> Vec<Seen> {
    let heard: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let [opened, closed] = [(); 2].map(|()| Arc::clone(&heard));
    let write = |seen: &Mutex<Vec<Seen>>, call: &Call<'_>| {
        let mut heard = seen.lock().expect("nothing panicked here");
        heard.push(Seen::at(call));
    };
    let listener = BoxListener::new(pair(
        move |call: &Call<'_>| write(&opened, call),
        move |call: &Call<'_>, _: Close<'_>, ()| write(&closed, call),
    ));
    let listening = Listening::builder(move |definition: &Definition| {
        (definition.name.as_deref() == Some("here")).then(|| listener.clone())
    })
    .component_memory(memory)
    .component_globals(globals)
    .build();
    let engine = Engine::default();
    let (guest, linker) = compiled(&listening, &engine, SEVERAL);
    let mut store = Store::new(&engine, ());
    let instance = linker
        .instantiate(&mut store, guest.component())
        .expect("it links");
    let step = instance
        .get_typed_func::<(), ()>(&mut store, "step")
        .expect("it is there");
    for _ in 0..3 {
        step.call(&mut store, ()).expect("it runs");
    }
    let heard = heard.lock().expect("nothing panicked here");
    heard.clone()
}

#[test]
fn every_memory_and_every_global_is_there_when_it_is_asked_for() {
    const PAGE: u64 = 65_536;
    for (memory, globals) in [(true, true), (true, false), (false, true), (false, false)] {
        let seen = seen(memory, globals);
        let steps: Vec<_> = [1, 1, 2, 2, 3, 3]
            .into_iter()
            .map(|n: u8| {
                // What the text does in the `n`th step.
                let lane = u128::from(n);
                let (i32, f32) = (i32::from(n), f32::from(n));
                let function = wasmscope::listen::Reference {
                    kind: wasmscope::listen::ReferenceKind::Func,
                    is_null: false,
                };
                let values = [
                    Some(Value::I64(40 + i64::from(n))),
                    Some(Value::I32(i32)),
                    Some(Value::F32(0.5 + f32)),
                    Some(Value::F64(0.25)),
                    Some(Value::V128(lane | lane << 64)),
                    Some(Value::Ref(function)),
                    // Of a type of the module's own.
                    None,
                    Some(Value::I32(-i32)),
                ];
                Seen {
                    bytes: [n, 2 * n].map(|byte| memory.then_some(byte)),
                    // The third grows by one page each time. The engine shows none of 64 bits.
                    sizes: [
                        memory.then_some(PAGE),
                        memory.then_some(2 * PAGE),
                        memory.then_some(u64::from(n) * PAGE),
                        None,
                    ],
                    globals: values.map(|value| value.filter(|_| globals)).to_vec(),
                }
            })
            .collect();
        assert_eq!(seen, steps, "memory: {memory}, globals: {globals}");
    }
}
