//! Reading the memory of instances within components.

use crate::strings::{TEXT, host};
use std::sync::{Arc, Mutex};
use wasmscope::Listening;
use wasmscope::listen::{BoxListener, Call, Close, Definition, Value, pair};
use wasmtime::component::Linker;
use wasmtime::{Engine, Store};

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
    let bytes = wat::parse_str(TEXT).expect("it is text");
    let guest = listening
        .compile_component(&engine, bytes)
        .expect("it is a component");
    let mut linker = Linker::new(&engine);
    listening
        .add_to_component_linker(&mut linker)
        .expect("free");
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
