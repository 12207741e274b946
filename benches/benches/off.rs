//! What do probes within a component cost that tell nobody of a call?
//!
//! Recursive Fibonacci in a core module of a component, in these ways in turn:
//!
//! - plain: not instrumented;
//! - off: a listener that was switched off;
//! - elsewhere: a listener, with switches, on another function of the module;
//! - kept: its events are kept in the guest, and handed over many at a time.
//!
//! All give the same result, and as many events are kept as there are calls: that is checked.
//! Time is the thread's CPU time, least of several runs. But for the kept events' sink it is
//! that of compiled guest code alone.

#![expect(clippy::print_stdout, reason = "printing is what a bench is for")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmscope::listen::{BoxListener, Call, Definition};
use wasmscope::{Batch, EventStream, Listening, Taken};
use wasmscope_bench::arguments::Size;
use wasmscope_bench::clocks::thread_cpu_nanos;
use wasmscope_bench::machine::Machine;
use wasmtime::component::{Component, Linker, TypedFunc};
use wasmtime::{Engine, Store};

const GOAL_OFF: f64 = 1.2;

const TEXT: &str = r#"(component
  (core module $m
    (func $other)
    (func $fib (export "fib") (param i32) (result i32)
      (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
        (then (local.get 0))
        (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                       (call $fib (i32.sub (local.get 0) (i32.const 2))))))))
  (core instance $i (instantiate $m))
  (func (export "fib") (param "n" u32) (result u32) (canon lift (core func $i "fib"))))"#;

/// One way to run it.
struct Way {
    name: &'static str,
    store: Store<()>,
    fib: TypedFunc<(u32,), (u32,)>,
    least: u64,
    /// Keeps what it listens with.
    _kept: Box<dyn std::any::Any>,
}

impl Way {
    fn new(
        name: &'static str,
        linker: &Linker<()>,
        component: &Component,
        kept: impl std::any::Any,
    ) -> wasmtime::Result<Self> {
        let mut store = Store::new(component.engine(), ());
        let instance = linker.instantiate(&mut store, component)?;
        Ok(Self {
            name,
            fib: instance.get_typed_func(&mut store, "fib")?,
            store,
            least: u64::MAX,
            _kept: Box::new(kept),
        })
    }

    /// Listens with switches to the function of this name, and turns it off.
    fn off(
        name: &'static str,
        engine: &Engine,
        function: &'static str,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let listener = BoxListener::new(|_: &Call<'_>| panic!("it is off"));
        let listening = Listening::builder(move |f: &Definition| {
            (f.component.is_none() && f.name.as_deref() == Some(function)).then(|| listener.clone())
        });
        let listening = listening.switches(true).build();
        let guest = listening.compile_component(engine, wat::parse_str(TEXT)?)?;
        let mut linker = Linker::new(engine);
        listening.add_to_component_linker(&mut linker)?;
        guest.switch(|_| Some(false));
        let component = guest.component().clone();
        Ok(Self::new(name, &linker, &component, guest)?)
    }

    fn run(&mut self, n: u32) -> wasmtime::Result<u32> {
        let begin = thread_cpu_nanos();
        let (result,) = self.fib.call(&mut self.store, (n,))?;
        self.least = self.least.min(thread_cpu_nanos() - begin);
        Ok(result)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let size = Size::from_arguments();
    let (n, rounds) = size.pick((15, 3), (27, 40));
    println!("{}", Machine::now());
    let engine = Engine::default();

    let plain = Component::new(&engine, TEXT)?;
    let events = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&events);
    let stream = EventStream::new(
        |f: &Definition| f.component.is_none() && f.name.as_deref() == Some("fib"),
        move |batch: &Batch<'_>| {
            count.fetch_add(batch.len() as u64, Ordering::Relaxed);
            Taken::All
        },
    );
    let streamed = stream.compile_component(&engine, wat::parse_str(TEXT)?)?;
    let mut linker = Linker::new(&engine);
    stream.add_to_component_linker(&mut linker)?;
    let mut ways = [
        Way::new("plain", &Linker::new(&engine), &plain, ())?,
        Way::off("off", &engine, "fib")?,
        Way::off("elsewhere", &engine, "other")?,
        Way::new("kept", &linker, &streamed.component().clone(), streamed)?,
    ];
    for _ in 0..rounds {
        let mut results = Vec::new();
        for way in &mut ways {
            results.push(way.run(n)?);
        }
        assert!(results.iter().all(|result| *result == results[0]));
    }
    stream.drain(&mut ways[3].store);
    let calls = calls(n);
    let expected = 2 * calls * rounds as u64;
    assert_eq!(events.load(Ordering::Relaxed), expected);
    assert_eq!(stream.lost(), 0);
    println!(
        "least of {rounds} rounds of {calls} calls, goal: off at most {GOAL_OFF} times plain:"
    );
    for way in &ways {
        println!(
            "  {:10} {:7.2} ns a call   {:5.2} times plain",
            way.name,
            way.least as f64 / calls as f64,
            way.least as f64 / ways[0].least as f64,
        );
    }
    Ok(())
}

/// Returns how many calls the computation takes.
fn calls(n: u32) -> u64 {
    let (mut last, mut next) = (1, 1);
    for _ in 0..n {
        (last, next) = (next, last + next + 1);
    }
    last
}
