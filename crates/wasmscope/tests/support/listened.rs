//! Runs scripts with a listener on every function, as an embedder would.
//!
//! Checks what a listener may rely on: each call is opened once and closed once, the
//! newest first, and the values are those that the embedder gave and got.

use crate::hooks::flatten;
use crate::script::Passage;
use std::sync::{Arc, Mutex};
use wasmscope::listen::{BoxListener, Call, Cause, Listener, Value, Values};
use wasmscope::{Exceptions, Listened, Listening};
use wasmtime::{Engine, Func, Instance, Linker, Result, Store, Val};

/// What was heard of the calls of one script.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// How many modules were compiled, and how many functions of them are listened to.
    pub(crate) modules: usize,
    pub(crate) probes: usize,
    /// How many calls began and ended.
    pub(crate) opens: usize,
    pub(crate) closes: usize,
    /// How many of the script's own calls were heard, and how many not.
    pub(crate) compared: usize,
    pub(crate) silent: usize,
    open: Vec<usize>,
    /// Whether a call must end before the one that it is in.
    nested: bool,
    first: Option<Vec<u64>>,
    last: Vec<u64>,
}

/// Hears every call of one script.
#[derive(Debug, Clone)]
struct Ear(Arc<Mutex<Ledger>>);

impl Ear {
    fn close(&self, call: usize, results: Vec<u64>) {
        let mut ledger = self.0.lock().expect("nothing panicked here");
        let at = ledger.open.iter().rposition(|open| *open == call);
        let at = at.expect("each call is closed once");
        assert!(
            !ledger.nested || at + 1 == ledger.open.len(),
            "calls that are within a call that is closed are open"
        );
        ledger.open.remove(at);
        ledger.closes += 1;
        ledger.last = results;
    }
}

impl Listener for Ear {
    type State = usize;

    fn before(&self, call: &Call<'_>) -> usize {
        let mut ledger = self.0.lock().expect("nothing panicked here");
        ledger.opens += 1;
        let number = ledger.opens;
        ledger.open.push(number);
        if ledger.first.is_none() {
            ledger.first = Some(words(call.params()));
        }
        number
    }

    fn after(&self, _: &Call<'_>, results: Values<'_>, state: usize) {
        self.close(state, words(results));
    }

    fn tail_call(&self, _: &Call<'_>, state: usize) {
        self.close(state, Vec::new());
    }

    fn abort(&self, _: &Call<'_>, _: &Cause<'_>, state: usize) {
        self.close(state, Vec::new());
    }
}

/// The words of values, as [`flatten`] makes them.
fn words(values: Values<'_>) -> Vec<u64> {
    let mut words = Vec::new();
    for value in values.iter() {
        match value {
            Value::I32(value) => words.push(u64::from(value as u32)),
            Value::I64(value) => words.push(value as u64),
            Value::F32(value) => words.push(u64::from(value.to_bits())),
            Value::F64(value) => words.push(value.to_bits()),
            Value::V128(value) => words.extend([value as u64, (value >> 64) as u64]),
            Value::Ref(value) => words.push(u64::from(!value.is_null)),
            value => panic!("no guest here has {value:?}"),
        }
    }
    words
}

/// Who sees to it that calls that fail are closed when the script goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guarded {
    /// Nobody: they close later.
    No,
    /// The script, around each call.
    Calls,
    /// The guest's own exports.
    Exports,
}

/// A way to listen to all that a script does.
#[derive(Debug)]
pub(crate) struct Ears {
    listening: Listening,
    ledger: Arc<Mutex<Ledger>>,
    guarded: Guarded,
    // A guest may leave its functions in a table and never come to be.
    modules: Mutex<Vec<Listened>>,
}

impl Ears {
    /// Listens to every function. `nested` says whether calls end before those that they
    /// are in.
    pub(crate) fn new(
        exceptions: Exceptions,
        switches: bool,
        guarded: Guarded,
        nested: bool,
    ) -> Self {
        let ledger = Arc::new(Mutex::new(Ledger {
            nested,
            ..Ledger::default()
        }));
        let listening = Listening::builder(BoxListener::new(Ear(ledger.clone())))
            .exceptions(exceptions)
            .switches(switches)
            .guarded_exports(guarded == Guarded::Exports)
            .build();
        Self {
            listening,
            ledger,
            guarded,
            modules: Mutex::default(),
        }
    }

    /// What was heard.
    pub(crate) fn into_ledger(self) -> Ledger {
        std::mem::take(&mut self.ledger())
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nothing panicked here")
    }

    /// Does something with a store. When whoever guards it has done so, nothing may be open
    /// that was not before.
    fn run<R>(
        &self,
        store: &mut Store<()>,
        is_guarded: bool,
        run: impl FnOnce(&mut Store<()>) -> Result<R>,
    ) -> Result<R> {
        let before = {
            let mut ledger = self.ledger();
            ledger.first = None;
            ledger.open.len()
        };
        let result = match self.guarded {
            Guarded::Calls => self.listening.guard(store, run),
            Guarded::No | Guarded::Exports => run(store),
        };
        let ledger = self.ledger();
        if is_guarded && ledger.nested {
            match self.guarded {
                // A start function that failed before closes with this call's events.
                Guarded::Exports => assert!(ledger.open.len() <= before),
                Guarded::No | Guarded::Calls => assert_eq!(ledger.open.len(), before),
            }
        }
        result
    }
}

impl Passage for Ears {
    type Data = ();
    type Module = Listened;

    fn data(&self) {}

    fn link(&self, linker: &mut Linker<()>) -> Result<()> {
        self.listening.add_to_linker(linker)
    }

    fn compile(&self, engine: &Engine, wasm: &[u8]) -> Result<Listened> {
        let module = self.listening.compile(engine, wasm.to_vec())?;
        let mut modules = self.modules.lock().expect("nothing panicked here");
        modules.push(module.clone());
        let mut ledger = self.ledger();
        ledger.modules += 1;
        ledger.probes += module.probed().len();
        Ok(module)
    }

    fn instantiate(
        &self,
        linker: &Linker<()>,
        store: &mut Store<()>,
        module: &Listened,
    ) -> Result<Instance> {
        // A start function is no export.
        let is_guarded = self.guarded == Guarded::Calls;
        self.run(store, is_guarded, |store| {
            linker.instantiate(store, module.module())
        })
    }

    fn call(
        &self,
        store: &mut Store<()>,
        func: Func,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        let called = self.run(store, self.guarded != Guarded::No, |store| {
            func.call(store, params, results)
        });
        let mut ledger = self.ledger();
        match ledger.first.take() {
            Some(first) => {
                assert_eq!(first, flatten(params), "the values that a call began with");
                ledger.compared += 1;
                if called.is_ok() {
                    let words = flatten(results);
                    assert_eq!(ledger.last, words, "the values that a call ended with");
                }
            }
            None => ledger.silent += 1,
        }
        called
    }

    fn end(&self, store: Store<()>) -> Result<()> {
        drop(store);
        let ledger = self.ledger();
        assert!(ledger.open.is_empty(), "calls that never end");
        assert_eq!(ledger.opens, ledger.closes);
        Ok(())
    }
}
