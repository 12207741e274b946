//! Results of functions that are lifted with `async`: told as they are handed to `task.return`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use wasmscope::Listening;
use wasmscope::listen::component::{Limits, Value};
use wasmscope::listen::{BoxListener, Call, Definition, Listener, TaskId};
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, Store};

/// Both return a number and as many letters. `later` does so in its callback, after a turn of
/// the others.
const TEXT: &str = r#"(component
  (type $result (tuple u32 string))
  (core module $libc
    (memory (export "memory") 1)
    (data (i32.const 64) "abcdefghijklmnopqrstuvwxyz"))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (core func $return (canon task.return (result $result) (memory $memory)))
  (core func $get (canon context.get i32 0))
  (core func $set (canon context.set i32 0))
  (core func $yield (canon thread.yield))
  (core module $m
    (import "" "return" (func $return (param i32 i32 i32)))
    (import "" "get" (func $get (result i32)))
    (import "" "set" (func $set (param i32)))
    (import "" "yield" (func $yield (result i32)))
    (func $letters (param i32) (call $return (local.get 0) (i32.const 64) (local.get 0)))
    (func (export "now") (param i32)
      (drop (call $yield))
      (call $letters (local.get 0))
      (drop (call $yield)))
    (func (export "later") (param i32) (result i32)
      (call $set (local.get 0)) (i32.const 1))
    (func (export "callback") (param i32 i32 i32) (result i32)
      (call $letters (call $get)) (i32.const 0)))
  (core instance $i (instantiate $m (with "" (instance
    (export "return" (func $return)) (export "get" (func $get))
    (export "set" (func $set)) (export "yield" (func $yield))))))
  (func (export "now") async (param "count" u32) (result $result)
    (canon lift (core func $i "now") async (memory $memory)))
  (func (export "later") async (param "count" u32) (result $result)
    (canon lift (core func $i "later") async (memory $memory)
      (callback (core func $i "callback")))))"#;

/// What each task was called with, and what it returned.
#[derive(Clone, Default)]
struct Returns(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    called: HashMap<TaskId, Vec<Value>>,
    returned: Vec<(Vec<Value>, Vec<Value>, Option<String>)>,
}

impl Listener for Returns {
    type State = ();

    fn before(&self, call: &Call<'_>) {
        let values = call.component_params(&Limits::default());
        let values = values.expect("a component's").expect("they lift");
        let task = call.task().expect("it is in a task");
        let mut heard = self.0.lock().expect("nothing panicked here");
        if call.definition().to_string() == "task.return" {
            let called = heard.called.remove(&task).expect("the task was called");
            let parent = call.parents().next();
            let parent = parent.map(|parent| parent.definition().to_string());
            heard.returned.push((called, values, parent));
        } else {
            heard.called.insert(task, values);
        }
    }
}

#[tokio::test]
async fn they_are_what_the_engine_returns() {
    let mut config = Config::new();
    config.wasm_component_model_async_stackful(true);
    config.wasm_component_model_threading(true);
    let engine = Engine::new(&config).expect("it is a configuration");
    let returns = Returns::default();
    let listener = BoxListener::new(returns.clone());
    let listening = Listening::new(move |definition: &Definition| {
        definition.component.is_some().then(|| listener.clone())
    });
    let bytes = wat::parse_str(TEXT).expect("it is text");
    let guest = listening.compile_component(&engine, bytes);
    let guest = guest.expect("it is a component");
    let mut linker = Linker::new(&engine);
    listening
        .add_to_component_linker(&mut linker)
        .expect("free");
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate_async(&mut store, guest.component());
    let instance = instance.await.expect("it links");
    let functions = ["now", "later"].map(|name| {
        let function = instance.get_typed_func::<(u32,), ((u32, String),)>(&mut store, name);
        function.expect("it is there")
    });
    let returned = store.run_concurrent(async |accessor| {
        let mut running = Vec::new();
        for count in 0..20 {
            let function = &functions[count as usize % 2];
            running.push(Box::pin(function.call_concurrent(accessor, (count,))));
        }
        crate::tasks::join(running).await
    });
    let returned = returned.await.expect("the loop ends");
    let heard = returns.0.lock().expect("nothing panicked here");
    assert_eq!(heard.returned.len(), 20);
    for (count, returned) in (0..).zip(returned) {
        let ((number, letters),) = returned.expect("it returns");
        let letters = Value::String {
            text: letters,
            more: 0,
        };
        let expected = Value::Tuple(vec![Value::U32(number), letters]);
        let mut of_call = heard.returned.iter();
        let of_call = of_call.find(|(called, ..)| *called == [Value::U32(count)]);
        let (_, values, parent) = of_call.expect("it was heard");
        assert_eq!(*values, [expected]);
        // What returns in a callback is no longer within the call.
        let parent = parent.as_deref();
        assert_eq!(parent, (count % 2 == 0).then_some("now"));
    }
}
