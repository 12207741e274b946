//! Rewrites modules and serves their hooks, by the letter of the interface alone: no
//! frame is looked at, no call is told from another but by the order of the hooks.
//!
//! Here, so that the rewriter is tested by something that shares nothing with the
//! library's own way to serve hooks. It knows that a call ended with a trap only from
//! the embedder, who must say so ([`Watch::abort`]), and it takes modules that were
//! rewritten to see exceptions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use wasmscope_address::FuncIndex;
use wasmscope_instrument::{Module as Source, Options, Rewritten};
use wasmtime::{Caller, Engine, Linker, Module, Result, StoreLimits, Val, error::Context as _};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum End {
    /// It returned.
    Return,
    /// It made a tail call.
    TailCall,
    /// An exception left it.
    Exception,
    /// It was there when the embedder's call failed.
    Abort,
}

/// A call's begin or end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A function, by its index in its module, was entered with these values.
    Enter(u32, Vec<u64>),
    /// The function was left: how, with these values.
    Leave(u32, End, Vec<u64>),
}

/// What a module's hooks are checked against.
#[derive(Debug)]
pub(crate) struct Probes {
    /// Each probe's function.
    functions: Vec<FuncIndex>,
    /// How many words each function's parameters and results are, of all functions.
    words: Vec<(usize, usize)>,
}

/// Rewrites modules with a probe on every function.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    options: Options,
    modules: Arc<Mutex<HashMap<u64, Arc<Probes>>>>,
    keys: AtomicU64,
}

/// A store's calls, as its modules' hooks tell them.
#[derive(Debug)]
pub(crate) struct Watch {
    suffix: String,
    modules: Arc<Mutex<HashMap<u64, Arc<Probes>>>>,
    instances: Vec<Arc<Probes>>,
    staged: Vec<u64>,
    open: Vec<(usize, u32)>,
    /// Whether each call is heard to end before the one that it is in. Of continuations,
    /// and of calls that an exception left unheard, it is not told here which one ends.
    pub(crate) nested: bool,
    /// How many calls began.
    pub(crate) opens: usize,
    /// How many ended.
    pub(crate) closes: usize,
    /// The values that the first call since the last [`Watch::begin`] began with.
    pub(crate) first: Option<Vec<u64>>,
    /// The values that the last call to end ended with.
    pub(crate) last: Vec<u64>,
    /// Every event, when it is wanted.
    pub(crate) record: Option<Vec<Event>>,
    /// How much the store's guests may have.
    pub(crate) limits: StoreLimits,
}

impl Hooks {
    /// Rewrites with these options; the key is each module's own.
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Rewrites a module, and checks what the rewriter says of it.
    pub(crate) fn rewrite(&self, wasm: &[u8]) -> Result<Rewritten> {
        let source = Source::parse(wasm)?;
        let key = self.keys.fetch_add(1, Ordering::Relaxed);
        let options = Options {
            key,
            ..self.options.clone()
        };
        let rewritten = source.rewrite(&options, &|_| true)?;
        let functions = source.functions();
        assert_eq!(
            rewritten.probes.len() + rewritten.skipped.len(),
            functions.len(),
            "each function has a probe or is said to have none"
        );
        if !rewritten.probes.is_empty() {
            assert_ne!(rewritten.wasm, wasm, "a module passed unrewritten");
        }
        let probes = Probes {
            functions: rewritten.probes.clone(),
            words: functions
                .iter()
                .map(|function| (function.flattened_params(), function.flattened_results()))
                .collect(),
        };
        self.modules
            .lock()
            .expect("no test panicked here")
            .insert(key, Arc::new(probes));
        Ok(rewritten)
    }

    /// Rewrites and compiles a module, and checks that the hooks are what it imports.
    pub(crate) fn compile(&self, engine: &Engine, wasm: &[u8]) -> Result<(Module, Rewritten)> {
        let rewritten = self.rewrite(wasm).context("failed to rewrite")?;
        let module = Module::new(engine, &rewritten.wasm)?;
        let hooks = module
            .imports()
            .filter(|import| import.module() == "wasmscope")
            .count();
        assert_eq!(hooks > 0, !rewritten.probes.is_empty(), "hooks of a module");
        Ok((module, rewritten))
    }

    /// Makes what a store watches with.
    pub(crate) fn watch(&self) -> Watch {
        Watch {
            suffix: self.options.suffix.clone(),
            modules: self.modules.clone(),
            instances: Vec::new(),
            staged: Vec::new(),
            open: Vec::new(),
            nested: true,
            opens: 0,
            closes: 0,
            first: None,
            last: Vec::new(),
            record: None,
            limits: StoreLimits::default(),
        }
    }

    /// Defines the hooks.
    pub(crate) fn link(&self, linker: &mut Linker<Watch>) -> Result<()> {
        let suffix = &self.options.suffix;
        let define = |name: &str| format!("{name}{suffix}");
        let names: Vec<String> = (0..=4).map(|k| define(&format!("before{k}"))).collect();
        linker.func_wrap("wasmscope", &names[0], |c: Caller<'_, Watch>, i| {
            before(c, i, &[])
        })?;
        linker.func_wrap("wasmscope", &names[1], |c: Caller<'_, Watch>, i, a| {
            before(c, i, &[a])
        })?;
        linker.func_wrap("wasmscope", &names[2], |c: Caller<'_, Watch>, i, a, b| {
            before(c, i, &[a, b])
        })?;
        linker.func_wrap(
            "wasmscope",
            &names[3],
            |c: Caller<'_, Watch>, i, a, b, d| before(c, i, &[a, b, d]),
        )?;
        linker.func_wrap(
            "wasmscope",
            &names[4],
            |c: Caller<'_, Watch>, i, a, b, d, e| before(c, i, &[a, b, d, e]),
        )?;
        let names: Vec<String> = (0..=4).map(|k| define(&format!("after{k}"))).collect();
        linker.func_wrap("wasmscope", &names[0], |mut c: Caller<'_, Watch>| {
            c.data_mut().leave(End::Return, &[]);
        })?;
        linker.func_wrap("wasmscope", &names[1], |mut c: Caller<'_, Watch>, a| {
            c.data_mut().leave(End::Return, &[a]);
        })?;
        linker.func_wrap("wasmscope", &names[2], |mut c: Caller<'_, Watch>, a, b| {
            c.data_mut().leave(End::Return, &[a, b]);
        })?;
        linker.func_wrap(
            "wasmscope",
            &names[3],
            |mut c: Caller<'_, Watch>, a, b, d| c.data_mut().leave(End::Return, &[a, b, d]),
        )?;
        linker.func_wrap(
            "wasmscope",
            &names[4],
            |mut c: Caller<'_, Watch>, a, b, d, e| c.data_mut().leave(End::Return, &[a, b, d, e]),
        )?;
        linker.func_wrap(
            "wasmscope",
            &define("stage4"),
            |mut c: Caller<'_, Watch>, a: u64, b: u64, d: u64, e: u64| {
                c.data_mut().staged.extend([a, b, d, e]);
            },
        )?;
        linker.func_wrap("wasmscope", &define("tail"), |mut c: Caller<'_, Watch>| {
            c.data_mut().leave(End::TailCall, &[])
        })?;
        linker.func_wrap(
            "wasmscope",
            &define("unwind"),
            |mut c: Caller<'_, Watch>| c.data_mut().leave(End::Exception, &[]),
        )?;
        Ok(())
    }
}

/// Instances are so far apart in numbers: more than any module of a test has probes.
const APART: u32 = 1 << 16;

/// Serves `before`: gives the instance its number with its first event.
fn before(mut caller: Caller<'_, Watch>, number: i32, values: &[u64]) {
    let (instance, probe) = match u32::try_from(number) {
        Ok(number) => ((number / APART) as usize, number % APART),
        Err(_) => (attach(&mut caller), number.wrapping_sub(i32::MIN) as u32),
    };
    assert!(probe < APART, "a module has too many probes");
    caller.data_mut().enter(instance, probe, values);
}

/// Finds out which module the calling instance is of, and numbers the instance.
fn attach(caller: &mut Caller<'_, Watch>) -> usize {
    let suffix = caller.data().suffix.clone();
    let mut global = |name: &str| {
        caller
            .get_export(&format!("wasmscope:{name}{suffix}"))
            .and_then(wasmtime::Extern::into_global)
            .expect("the rewriter exports it")
    };
    let (key, number) = (global("key"), global("instance"));
    let key = key.get(&mut *caller).unwrap_i64() as u64;
    assert_eq!(number.get(&mut *caller).unwrap_i32(), i32::MIN);
    let watch = caller.data_mut();
    let probes = watch.modules.lock().expect("no test panicked here")[&key].clone();
    watch.instances.push(probes);
    let instance = watch.instances.len() - 1;
    number
        .set(caller, Val::I32((instance as u32 * APART) as i32))
        .expect("the number can be set");
    instance
}

impl Watch {
    fn enter(&mut self, instance: usize, probe: u32, values: &[u64]) {
        self.staged.extend(values);
        let probes = &self.instances[instance];
        let function = probes.functions[probe as usize].0;
        assert_eq!(
            self.staged.len(),
            probes.words[function as usize].0,
            "as many words as function {function} has for parameters"
        );
        self.open.push((instance, function));
        self.opens += 1;
        if self.first.is_none() {
            self.first = Some(self.staged.clone());
        }
        if let Some(record) = &mut self.record {
            record.push(Event::Enter(function, self.staged.clone()));
        }
        self.staged.clear();
    }

    fn leave(&mut self, end: End, values: &[u64]) {
        self.staged.extend(values);
        let (instance, function) = self.open.pop().expect("a call is open");
        let words = match end {
            End::Return => self.instances[instance].words[function as usize].1,
            End::TailCall | End::Exception | End::Abort => 0,
        };
        assert!(
            !self.nested || self.staged.len() == words,
            "{} words, {words} are function {function}'s results",
            self.staged.len()
        );
        self.closes += 1;
        if let Some(record) = &mut self.record {
            record.push(Event::Leave(function, end, self.staged.clone()));
        }
        std::mem::swap(&mut self.last, &mut self.staged);
        self.staged.clear();
    }

    /// Says that a call of the embedder's begins; how many calls are open.
    pub(crate) fn begin(&mut self) -> usize {
        self.first = None;
        self.open.len()
    }

    /// How many calls are open.
    pub(crate) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Ends the calls that were open when the embedder's call failed, down to those
    /// that were open before it. Values that were staged for a hook that did not come
    /// are gone with it.
    pub(crate) fn abort(&mut self, depth: usize) {
        self.staged.clear();
        while self.open.len() > depth {
            self.leave(End::Abort, &[]);
        }
    }
}

/// The words that values are told to hooks in.
pub(crate) fn flatten(values: &[Val]) -> Vec<u64> {
    let mut words = Vec::new();
    for value in values {
        match value {
            Val::I32(value) => words.push(u64::from(*value as u32)),
            Val::I64(value) => words.push(*value as u64),
            Val::F32(bits) => words.push(u64::from(*bits)),
            Val::F64(bits) => words.push(*bits),
            Val::V128(value) => {
                words.push(value.as_u128() as u64);
                words.push((value.as_u128() >> 64) as u64);
            }
            Val::FuncRef(value) => words.push(u64::from(value.is_some())),
            Val::ExternRef(value) => words.push(u64::from(value.is_some())),
            Val::AnyRef(value) => words.push(u64::from(value.is_some())),
            Val::ExnRef(value) => words.push(u64::from(value.is_some())),
            Val::ContRef(value) => words.push(u64::from(value.is_some())),
        }
    }
    words
}
