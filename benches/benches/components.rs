//! What does a listener within a component cost?
//!
//! A component that calls an import with a number, one with a string, and a core function of
//! its own, each in a loop; and an export that the host calls. In these ways in turn:
//!
//! - plain: not instrumented;
//! - wrapped: the host's own functions count, before and after; so does who calls the export;
//! - hooks: the component's text calls two more imports at entry and exit, which count: what
//!   a rewriter written by hand would do;
//! - listened: a listener that counts, `before` and `after`;
//! - lifted: a listener that also takes the values, typed, of parameters and results;
//! - with memory: as listened, with `component_memory`, which is of use to core functions.
//!
//! All are called as often, and count as many: that is checked. Time is the thread's CPU
//! time, least of several runs.

#![expect(clippy::print_stdout, reason = "printing is what a bench is for")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmscope::listen::component::Limits;
use wasmscope::listen::{BoxListener, Call, Definition, Listener, Values};
use wasmscope::{ListenedComponent, Listening};
use wasmscope_bench::arguments::Size;
use wasmscope_bench::clocks::thread_cpu_nanos;
use wasmscope_bench::machine::Machine;
use wasmtime::component::{Component, Linker, TypedFunc, WasmStr};
use wasmtime::{Engine, Store, StoreContextMut};

/// What is called, in the order of the figures.
const CALLED: [&str; 4] = [
    "import, a number",
    "import, a string",
    "core function",
    "export, a number",
];

/// The component. By hand, each of its calls goes through a function that calls `before` and
/// `after`.
fn text(by_hand: bool) -> String {
    let (import, lower, hook, given) = if by_hand {
        (
            "(import \"hooks\" (instance $hooks
               (export \"before\" (func (param \"x\" u64)))
               (export \"after\" (func (param \"x\" u64)))))",
            "(core func $before (canon lower (func $hooks \"before\")))
             (core func $after (canon lower (func $hooks \"after\")))",
            "(import \"hooks\" \"before\" (func $before (param i64)))
             (import \"hooks\" \"after\" (func $after (param i64)))",
            "(with \"hooks\" (instance
               (export \"before\" (func $before)) (export \"after\" (func $after))))",
        )
    } else {
        ("", "", "", "")
    };
    let entered = |call: &str| {
        if by_hand {
            format!(
                "(call $before (i64.extend_i32_u (local.get 0)))
                 (local.set $result {call})
                 (call $after (i64.extend_i32_u (local.get $result)))
                 (local.get $result)"
            )
        } else {
            call.to_owned()
        }
    };
    let tick = entered("(call $tick (local.get 0))");
    let say = entered("(call $say (local.get 0) (local.get 1))");
    let leaf = entered("(i32.add (local.get 0) (i32.const 1))");
    let double = entered("(i32.shl (local.get 0) (i32.const 1))");
    let again = |call: &str| {
        format!(
            "(loop $again
               (drop {call})
               (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
        )
    };
    let ticks = again("(call $to-tick (local.get $n))");
    let says = again("(call $to-say (i32.const 16) (i32.const 12))");
    let leaves = again("(call $leaf (local.get $n))");
    format!(
        r#"(component
          {import}
          (import "tick" (func $tick (param "x" u32) (result u32)))
          (import "say" (func $say (param "words" string) (result u32)))
          (core module $libc (memory (export "memory") 1) (data (i32.const 16) "Hello, world"))
          (core instance $libc (instantiate $libc))
          (core func $tick (canon lower (func $tick)))
          (core func $say (canon lower (func $say) (memory (core memory $libc "memory"))))
          {lower}
          (core module $m
            (import "libc" "memory" (memory 1))
            {hook}
            (import "host" "tick" (func $tick (param i32) (result i32)))
            (import "host" "say" (func $say (param i32 i32) (result i32)))
            (func $to-tick (param i32) (result i32) (local $result i32) {tick})
            (func $to-say (param i32 i32) (result i32) (local $result i32) {say})
            (func $leaf (param i32) (result i32) (local $result i32) {leaf})
            (func (export "ticks") (param $n i32) {ticks})
            (func (export "says") (param $n i32) {says})
            (func (export "leaves") (param $n i32) {leaves})
            (func (export "double") (param i32) (result i32) (local $result i32) {double}))
          (core instance $i (instantiate $m
            (with "libc" (instance $libc)) {given}
            (with "host" (instance (export "tick" (func $tick)) (export "say" (func $say))))))
          (func (export "ticks") (param "n" u32) (canon lift (core func $i "ticks")))
          (func (export "says") (param "n" u32) (canon lift (core func $i "says")))
          (func (export "leaves") (param "n" u32) (canon lift (core func $i "leaves")))
          (func (export "double") (param "x" u32) (result u32)
            (canon lift (core func $i "double"))))"#
    )
}

/// Counts, and takes typed values where that is wanted.
struct Counting {
    calls: Arc<[AtomicU64; 2]>,
    lifts: bool,
}

impl Counting {
    /// One thread: not a read-modify-write.
    fn count(&self, which: usize) {
        let count = &self.calls[which];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

impl Listener for Counting {
    type State = ();

    fn before(&self, call: &Call<'_>) {
        self.count(0);
        if self.lifts {
            std::hint::black_box(call.component_params(&Limits::default()));
        }
    }

    fn after(&self, call: &Call<'_>, results: Values<'_>, (): ()) {
        self.count(1);
        if self.lifts {
            std::hint::black_box(call.component_results(results, &Limits::default()));
        }
    }
}

/// What the host's own functions count in.
#[derive(Default)]
struct Data {
    counts: bool,
    before: u64,
    after: u64,
}

impl Data {
    fn before(&mut self) {
        self.before += u64::from(self.counts);
    }

    fn after(&mut self) {
        self.after += u64::from(self.counts);
    }
}

/// Defines what the component imports.
fn define(linker: &mut Linker<Data>, by_hand: bool) -> wasmtime::Result<()> {
    type Host<'a> = StoreContextMut<'a, Data>;
    let mut root = linker.root();
    root.func_wrap("tick", |mut store: Host<'_>, (x,): (u32,)| {
        store.data_mut().before();
        let result = x.wrapping_add(1);
        store.data_mut().after();
        Ok((result,))
    })?;
    root.func_wrap("say", |mut store: Host<'_>, (words,): (WasmStr,)| {
        store.data_mut().before();
        let len = words.to_str(&store)?.len();
        store.data_mut().after();
        Ok((len as u32,))
    })?;
    if by_hand {
        let mut hooks = linker.instance("hooks")?;
        hooks.func_wrap("before", |mut store: Host<'_>, (_,): (u64,)| {
            store.data_mut().before += 1;
            Ok(())
        })?;
        hooks.func_wrap("after", |mut store: Host<'_>, (_,): (u64,)| {
            store.data_mut().after += 1;
            Ok(())
        })?;
    }
    Ok(())
}

/// One way to run it.
struct Way {
    name: &'static str,
    store: Store<Data>,
    loops: [TypedFunc<(u32,), ()>; 3],
    double: TypedFunc<(u32,), (u32,)>,
    /// The least time of a call in nanoseconds, of each that is called.
    least: [f64; CALLED.len()],
    /// What a listener counted.
    heard: Option<Arc<[AtomicU64; 2]>>,
    /// Keeps what it listens with.
    _listened: Option<ListenedComponent>,
}

impl Way {
    fn bare(
        name: &'static str,
        engine: &Engine,
        by_hand: bool,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut linker = Linker::new(engine);
        define(&mut linker, by_hand)?;
        let component = Component::new(engine, wat::parse_str(text(by_hand))?)?;
        Ok(Self::new(name, engine, &linker, &component, None)?)
    }

    fn listened(
        name: &'static str,
        engine: &Engine,
        lifts: bool,
        memory: bool,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let calls = Arc::<[AtomicU64; 2]>::default();
        let listener = BoxListener::new(Counting {
            calls: Arc::clone(&calls),
            lifts,
        });
        let listening = Listening::builder(move |definition: &Definition| {
            let component = definition.component.as_ref();
            let name = component.map(|component| &*component.name);
            let is_one = match name.or(definition.name.as_deref()) {
                Some("tick" | "say" | "double") => component.is_some(),
                Some("leaf") => true,
                _ => false,
            };
            is_one.then(|| listener.clone())
        });
        let listening = listening.component_memory(memory).build();
        let listened = listening.compile_component(engine, wat::parse_str(text(false))?)?;
        let mut linker = Linker::new(engine);
        listening.add_to_component_linker(&mut linker)?;
        define(&mut linker, false)?;
        let component = listened.component().clone();
        let heard = Some((calls, listened));
        Ok(Self::new(name, engine, &linker, &component, heard)?)
    }

    fn new(
        name: &'static str,
        engine: &Engine,
        linker: &Linker<Data>,
        component: &Component,
        heard: Option<(Arc<[AtomicU64; 2]>, ListenedComponent)>,
    ) -> wasmtime::Result<Self> {
        let mut store = Store::new(engine, Data::default());
        let instance = linker.instantiate(&mut store, component)?;
        let mut called = |name| instance.get_typed_func(&mut store, name);
        let loops = [called("ticks")?, called("says")?, called("leaves")?];
        let (heard, listened) = heard.unzip();
        Ok(Self {
            name,
            double: instance.get_typed_func(&mut store, "double")?,
            store,
            loops,
            least: [f64::INFINITY; CALLED.len()],
            heard,
            _listened: listened,
        })
    }

    /// Calls each so often, and keeps the least times.
    fn run(&mut self, calls: u32) -> wasmtime::Result<()> {
        for (at, function) in self.loops.iter().enumerate() {
            let begin = thread_cpu_nanos();
            function.call(&mut self.store, (calls,))?;
            let spent = thread_cpu_nanos() - begin;
            self.least[at] = self.least[at].min(spent as f64 / f64::from(calls));
        }
        let begin = thread_cpu_nanos();
        for x in 0..calls {
            self.store.data_mut().before();
            let (doubled,) = self.double.call(&mut self.store, (x,))?;
            self.store.data_mut().after();
            assert_eq!(doubled, 2 * x, "{}", self.name);
        }
        let spent = thread_cpu_nanos() - begin;
        self.least[3] = self.least[3].min(spent as f64 / f64::from(calls));
        Ok(())
    }

    /// Returns how many calls were counted before and after.
    fn counted(&self) -> [u64; 2] {
        match &self.heard {
            Some(heard) => [0, 1].map(|which| heard[which].load(Ordering::Relaxed)),
            None => [self.store.data().before, self.store.data().after],
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let size = Size::from_arguments();
    let (calls, rounds) = size.pick((1_000, 3), (20_000, 40));
    println!("{}", Machine::now());
    let engine = Engine::default();
    let mut ways = [
        Way::bare("plain", &engine, false)?,
        Way::bare("wrapped", &engine, false)?,
        Way::bare("hooks", &engine, true)?,
        Way::listened("listened", &engine, false, false)?,
        Way::listened("lifted", &engine, true, false)?,
        Way::listened("with memory", &engine, false, true)?,
    ];
    ways[1].store.data_mut().counts = true;
    for _ in 0..rounds {
        for way in &mut ways {
            way.run(calls)?;
        }
    }
    for (way, what) in ways.iter().zip([0, 3, 4, 4, 4, 4]) {
        // A host's own functions see no core function.
        let expected = what * rounds as u64 * u64::from(calls);
        assert_eq!(way.counted(), [expected; 2], "{}", way.name);
    }
    let (plain, hooks) = (ways[0].least, ways[2].least);
    println!("least of {rounds} rounds of {calls} calls, ns a call:");
    for (at, called) in CALLED.iter().enumerate() {
        println!("  {called}");
        for way in &ways {
            println!(
                "    {:12} {:7.2}   {:7.2} more than plain   {:5.2} times hooks",
                way.name,
                way.least[at],
                way.least[at] - plain[at],
                way.least[at] / hooks[at],
            );
        }
    }
    Ok(())
}
