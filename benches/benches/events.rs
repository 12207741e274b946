//! What does an event cost that the guest keeps itself?
//!
//! Recursive Fibonacci, a function that does nothing but call, in these ways in turn:
//!
//! - plain: not instrumented;
//! - ring: two records of 8 bytes a call, stored into a ring in the guest's memory by code
//!   written by hand, that overwrites the oldest and that nobody reads;
//! - kept: an event stream whose sink takes what it is given and looks at none of it;
//! - read: an event stream whose sink looks at each event;
//! - elsewhere: an event stream of another function of the module.
//!
//! All give the same result; the streams deliver two events for each call and lose none:
//! that is checked. Time is the thread's CPU time, least of several runs, and includes
//! handing over the events, those of the last run as well. `--pages=N` sets the size of
//! the buffer.

#![expect(clippy::print_stdout, reason = "printing is what a bench is for")]

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmscope::listen::Definition;
use wasmscope::{Batch, EventKind, EventStream, Streamed, Taken};
use wasmscope_bench::arguments::{Size, value_of};
use wasmscope_bench::clocks::thread_cpu_nanos;
use wasmscope_bench::machine::Machine;
use wasmtime::{Engine, Linker, Module, Store, TypedFunc};

const GOAL_EVENT: f64 = 2.0;
const GOAL_CALL: f64 = 2.1;

/// Fibonacci; `enter` and `leave` stand for what is done at entry and exit.
fn fibonacci(head: &str, enter: &str, leave: &str) -> String {
    format!(
        "(module {head}
           (func $other (export \"other\"))
           (func $fib (export \"fib\") (param i32) (result i32)
             {enter}
             (block (result i32)
               (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
                 (then (local.get 0))
                 (else (i32.add
                   (call $fib (i32.sub (local.get 0) (i32.const 1)))
                   (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
             {leave}))"
    )
}

fn plain() -> String {
    fibonacci("", "", "")
}

fn ring() -> String {
    let record = |number: u32| {
        format!(
            "(i64.store $ring (global.get $next) (i64.const {number}))
             (global.set $next (i32.and (i32.add (global.get $next) (i32.const 8))
                                        (i32.const 0xfffff)))"
        )
    };
    fibonacci(
        "(memory $ring 16 16) (global $next (mut i32) (i32.const 0))",
        &record(0),
        &record(1),
    )
}

/// What the sinks count.
#[derive(Default)]
struct Counts {
    events: AtomicU64,
    opened: AtomicU64,
}

fn add(counter: &AtomicU64, more: u64) {
    // One thread: not a read-modify-write.
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

/// One way to run Fibonacci.
struct Way {
    name: &'static str,
    store: Store<()>,
    fib: TypedFunc<u32, u32>,
    least: f64,
    stream: Option<(EventStream, Streamed)>,
}

impl Way {
    fn bare(
        name: &'static str,
        engine: &Engine,
        text: &str,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let module = Module::new(engine, wat::parse_str(text)?)?;
        Ok(Self::new(
            name,
            engine,
            &Linker::new(engine),
            &module,
            None,
        )?)
    }

    fn streamed(
        name: &'static str,
        engine: &Engine,
        function: &'static str,
        sink: impl FnMut(&Batch<'_>) -> Taken + Send + 'static,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let wanted = |definition: &Definition| definition.name.as_deref() == Some(function);
        let mut stream = EventStream::builder(wanted, sink);
        if let Some(pages) = value_of("pages") {
            stream = stream.pages(pages.parse::<NonZeroU16>()?);
        }
        let stream = stream.build();
        let module = stream.compile(engine, wat::parse_str(plain())?)?;
        let mut linker = Linker::new(engine);
        stream.add_to_linker(&mut linker)?;
        let compiled = module.module().clone();
        let stream = Some((stream, module));
        Ok(Self::new(name, engine, &linker, &compiled, stream)?)
    }

    fn new(
        name: &'static str,
        engine: &Engine,
        linker: &Linker<()>,
        module: &Module,
        stream: Option<(EventStream, Streamed)>,
    ) -> wasmtime::Result<Self> {
        let mut store = Store::new(engine, ());
        let instance = linker.instantiate(&mut store, module)?;
        let fib = instance.get_typed_func(&mut store, "fib")?;
        Ok(Self {
            name,
            store,
            fib,
            least: f64::INFINITY,
            stream,
        })
    }

    /// Runs once and keeps the least time of a call in nanoseconds.
    fn run(&mut self, n: u32) -> wasmtime::Result<()> {
        let begin = thread_cpu_nanos();
        let value = self.fib.call(&mut self.store, n)?;
        if let Some((stream, _)) = &self.stream {
            stream.drain(&mut self.store);
        }
        let spent = thread_cpu_nanos() - begin;
        assert_eq!(u64::from(value), number(n), "{}", self.name);
        self.least = self.least.min(spent as f64 / calls_of(n) as f64);
        Ok(())
    }
}

fn number(n: u32) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

/// How many calls computing the `n`th number takes.
fn calls_of(n: u32) -> u64 {
    2 * number(n + 1) - 1
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let size = Size::from_arguments();
    let (n, rounds) = size.pick((24, 5), (30, 15));
    println!("{}", Machine::now());

    let engine = Engine::default();
    let [kept, read, elsewhere] = [(); 3].map(|()| Arc::<Counts>::default());
    let takes = |counts: &Arc<Counts>| {
        let counts = Arc::clone(counts);
        move |batch: &Batch<'_>| {
            add(&counts.events, batch.len() as u64);
            Taken::All
        }
    };
    let reads = Arc::clone(&read);
    let mut ways = [
        Way::bare("plain", &engine, &plain())?,
        Way::bare("ring", &engine, &ring())?,
        Way::streamed("kept", &engine, "fib", takes(&kept))?,
        Way::streamed("read", &engine, "fib", move |batch| {
            let opened = batch.events().filter(|event| event.kind == EventKind::Open);
            add(&reads.opened, opened.count() as u64);
            add(&reads.events, batch.len() as u64);
            Taken::All
        })?,
        Way::streamed("elsewhere", &engine, "other", takes(&elsewhere))?,
    ];
    for _ in 0..=rounds {
        for way in &mut ways {
            way.run(n)?;
        }
    }
    let calls = calls_of(n) * (rounds + 1);
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    for counts in [&kept, &read] {
        assert_eq!(count(&counts.events), 2 * calls);
    }
    assert_eq!(count(&read.opened), calls);
    assert_eq!(count(&elsewhere.events), 0);

    let plain = ways[0].least;
    println!(
        "fib({n}), {} calls of two events each, least of {rounds} rounds:",
        calls_of(n)
    );
    for way in &ways {
        println!(
            "  {:10} {:6.2} ns a call   {:5.2} times plain   {:5.2} ns an event",
            way.name,
            way.least,
            way.least / plain,
            (way.least - plain) / 2.0,
        );
        if let Some((stream, _)) = &way.stream {
            assert_eq!(stream.lost(), 0);
        }
    }
    println!(
        "  goals: read at most {GOAL_EVENT} ns an event, kept at most {GOAL_CALL} times plain, \
         elsewhere as plain"
    );
    Ok(())
}
