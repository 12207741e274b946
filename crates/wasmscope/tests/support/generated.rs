//! Modules that nobody wrote (of wasm-smith), with and without listeners: the body of a
//! test and of a fuzz target.
//!
//! Each module runs three times, once for each function that it exports: as it is, as
//! it is with the engine's debugger looking on, and rewritten. All must give the same,
//! and hooks must tell the calls that the debugger saw.
//!
//! Left out: guests that wait for one another (they would wait for ever), and the
//! stack's end, which comes sooner the more a frame holds. Each guest ends by itself:
//! it counts the loops and calls that it has left.

use crate::debugger::Debugger;
use crate::hooks::{End, Event, Hooks, Watch};
use crate::value;
use arbitrary::Unstructured;
use std::sync::{Arc, LazyLock};
use wasm_smith::Module as Generated;
use wasmscope_address::WasmOffset;
use wasmscope_instrument::{Exceptions, Module as Source, Options, Rewritten};
use wasmtime::{
    AsContextMut, Caller, Collector, Config, Engine, ExnRef, ExnRefPre, ExnType, Extern, Func,
    Linker, Module, OptLevel, Result, Store, StoreLimitsBuilder, Tag, ThrownException, Val,
    ValType, WasmBacktrace, bail,
};

/// What the modules may import.
const HOST: &str = r#"
    (module
      (import "host" "nothing" (func))
      (import "host" "add" (func (param i32 i64) (result i64)))
      (import "host" "many" (func (param i32 i64 f32 f64 v128 i32) (result f64 i32 i64 f32 i32)))
      (import "host" "refs" (func (param externref funcref) (result externref)))
      (import "host" "fails" (func (param i32)))
      (import "host" "throws" (func (param i32) (result i32)))
      (import "host" "tag" (tag (param i32)))
      (import "host" "memory" (memory 1 2))
      (import "host" "global" (global (mut i32)))
      (import "host" "table" (table 4 8 funcref)))
"#;

/// How many loops and calls a guest has.
const FUEL: u32 = 150;

/// How many of a module's functions are called.
const CALLS: usize = 6;

/// Enough for as many calls.
const STACK: usize = 16 << 20;

/// What a module did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// How many functions were called.
    pub(crate) calls: usize,
    /// How many events the debugger and the hooks told of: the same.
    pub(crate) events: usize,
    /// How each call ended that they told of.
    pub(crate) ends: Vec<End>,
    /// How many places of traps were found through the map.
    pub(crate) places: usize,
    /// How deep the calls went.
    pub(crate) depth: usize,
}

impl Tally {
    /// Adds another.
    pub(crate) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.events += other.events;
        self.ends.extend(other.ends);
        self.places += other.places;
        self.depth = self.depth.max(other.depth);
    }
}

/// What one call gave, and what it left behind.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// Its values, or why it failed.
    gave: String,
    /// The module's exports after it.
    left: Vec<String>,
    /// The newest frames of a failure: function and offset in the module.
    place: Vec<(u32, Option<u32>)>,
}

/// A module to run, and what is known of it.
struct Subject {
    wasm: Vec<u8>,
    imported: u32,
    /// The functions to call: indices, names.
    calls: Vec<(u32, String)>,
    /// Of all functions.
    arity: Vec<(u32, u32)>,
    /// The functions' indices of the imports, by name.
    imports: Vec<(String, u32)>,
}

fn engine(debugged: bool) -> Engine {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::None)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_wide_arithmetic(true)
        .wasm_custom_page_sizes(true)
        .wasm_backtrace_max_frames(std::num::NonZero::new(1000))
        .max_wasm_stack(STACK / 2)
        .async_stack_size(STACK)
        .guest_debug(debugged);
    if debugged {
        // With the others, the debugger fails assertions of the engine.
        config.collector(Collector::Null);
    }
    Engine::new(&config).expect("the engine can do all this")
}

static PLAIN: LazyLock<Engine> = LazyLock::new(|| engine(false));
static DEBUGGED: LazyLock<Engine> = LazyLock::new(|| engine(true));

/// Makes a module of arbitrary bytes, runs it each way and compares.
///
/// # Panics
///
/// When something is not the same.
pub(crate) fn check(bytes: &[u8]) -> Option<Tally> {
    let subject = Subject::new(bytes)?;
    let module = Module::new(&PLAIN, &subject.wasm).ok()?;
    let debugged = Module::new(&DEBUGGED, &subject.wasm).expect("it compiled for the other");
    // With tags or without, hooks must hear of exceptions that others throw.
    let options = Options {
        suffix: "-of-a-test".to_owned(),
        exceptions: Exceptions::Always,
        switches: bytes.len().is_multiple_of(2),
        expose: bytes.len() % 4 < 2,
        ..Options::default()
    };
    let hooks = Hooks::new(options);
    let (rewritten_module, rewritten) = hooks
        .compile(&PLAIN, &subject.wasm)
        .expect("a valid module can be rewritten");
    check_interface(&module, &rewritten_module);
    let mut tally = Tally::default();
    for (function, name) in &subject.calls {
        let Some(plain) = subject.run(&hooks, &module, name, *function) else {
            continue;
        };
        let (seen, saw) = subject.run_debugged(&hooks, &debugged, name, *function);
        let (heard, told) = subject.run_rewritten(&hooks, &rewritten_module, name, *function);
        assert_eq!(plain.gave, seen.gave, "the debugger changed what is given");
        assert_eq!(plain.left, seen.left, "the debugger changed what is left");
        assert_eq!(plain.gave, heard.gave, "what `{name}` gives");
        assert_eq!(plain.left, heard.left, "what `{name}` leaves behind");
        let place = original(&rewritten, &heard.place, subject.imported);
        // The engine may lay a load's failure to the operator that takes the value, when it
        // makes one instruction of both; with the debugger it does not.
        assert!(
            place == plain.place || place == seen.place,
            "`{name}` failed at {place:?}, alone at {:?}, with the debugger at {:?}",
            plain.place,
            seen.place
        );
        if saw != told {
            let same = saw.iter().zip(&told).take_while(|(a, b)| a == b).count();
            panic!(
                "events of `{name}`, which gives {}: {same} are the same, then saw {:?}, told {:?}",
                plain.gave,
                &saw[same..saw.len().min(same + 10)],
                &told[same..told.len().min(same + 10)]
            );
        }
        tally.depth = tally.depth.max(nesting(&told));
        tally.calls += 1;
        tally.events += told.len();
        tally.places += place.len();
        tally
            .ends
            .extend(told.iter().filter_map(|event| match event {
                Event::Leave(_, end, _) => Some(*end),
                Event::Enter(..) => None,
            }));
    }
    Some(tally)
}

/// Checks that events nest: each end is of the call that began last. How deep.
fn nesting(events: &[Event]) -> usize {
    let mut open = Vec::new();
    let mut deepest = 0;
    for event in events {
        match event {
            Event::Enter(function, _) => open.push(function),
            Event::Leave(function, ..) => assert_eq!(open.pop(), Some(function)),
        }
        deepest = deepest.max(open.len());
    }
    assert!(open.is_empty(), "calls that never end: {open:?}");
    deepest
}

/// Checks that a rewritten module is for the world what it was, beside its hooks.
fn check_interface(module: &Module, rewritten: &Module) {
    let imports = |module: &Module| -> Vec<String> {
        module
            .imports()
            .filter(|import| import.module() != "wasmscope")
            .map(|import| format!("{import:?}"))
            .collect()
    };
    let exports = |module: &Module| -> Vec<String> {
        module
            .exports()
            .filter(|export| !export.name().starts_with("wasmscope:"))
            .map(|export| format!("{export:?}"))
            .collect()
    };
    assert_eq!(imports(module), imports(rewritten));
    assert_eq!(exports(module), exports(rewritten));
}

/// The frames of a rewritten module as those of the original: without shims, which
/// stand for imports, and each offset through the map.
fn original(
    rewritten: &Rewritten,
    place: &[(u32, Option<u32>)],
    imported: u32,
) -> Vec<(u32, Option<u32>)> {
    place
        .iter()
        .filter_map(|(function, offset)| {
            let function = rewritten
                .map
                .original_function(wasmscope_address::FuncIndex(*function))
                .expect("a frame is of a function of the module")
                .0;
            let offset = offset
                .and_then(|offset| rewritten.map.original(WasmOffset(offset)))
                .map(|offset| offset.0);
            (function >= imported).then_some((function, offset))
        })
        .collect()
}

impl Subject {
    /// Makes a module of arbitrary bytes.
    fn new(bytes: &[u8]) -> Option<Self> {
        let mut u = Unstructured::new(bytes);
        let config = wasm_smith::Config {
            available_imports: Some(wat::parse_str(HOST).expect("it is well-formed")),
            allow_start_export: u.ratio(1, 4).ok()?,
            disallow_traps: u.ratio(3, 4).ok()?,
            export_everything: true,
            exceptions_enabled: true,
            gc_enabled: u.arbitrary().ok()?,
            generate_custom_sections: u.arbitrary().ok()?,
            memory64_enabled: u.arbitrary().ok()?,
            max_memories: 3,
            max_memory32_bytes: 4 << 16,
            max_memory64_bytes: 4 << 16,
            max_tables: 3,
            max_table_elements: 100,
            min_funcs: 3,
            max_funcs: 12,
            max_instructions: u.int_in_range(20..=200).ok()?,
            max_type_size: 200,
            max_types: 20,
            min_uleb_size: u.int_in_range(1..=5).ok()?,
            tail_call_enabled: true,
            // Guests that wait would wait for ever.
            threads_enabled: false,
            wide_arithmetic_enabled: true,
            custom_page_sizes_enabled: u.arbitrary().ok()?,
            ..wasm_smith::Config::default()
        };
        let mut module = Generated::new(config, &mut u).ok()?;
        module.ensure_termination(FUEL).ok()?;
        let wasm = module.to_bytes();
        let source = Source::parse(&wasm).expect("wasm-smith makes valid modules");
        let functions = source.functions();
        let imported = functions.iter().filter(|f| f.import.is_some()).count() as u32;
        let calls = functions
            .iter()
            .filter(|f| f.import.is_none())
            .filter_map(|f| Some((f.index.0, (*f.exports.first()?).to_owned())))
            .take(CALLS)
            .collect();
        let arity = functions
            .iter()
            .map(|f| (f.params().len() as u32, f.results().len() as u32))
            .collect();
        let imports = functions
            .iter()
            .filter_map(|f| Some((f.import?.1.to_owned(), f.index.0)))
            .collect();
        Some(Self {
            calls,
            arity,
            imports,
            imported,
            wasm,
        })
    }

    /// Runs one function of the module as it is; nothing if it takes what there is
    /// none of.
    fn run(&self, hooks: &Hooks, module: &Module, name: &str, seed: u32) -> Option<Outcome> {
        let mut store = store(&PLAIN, hooks);
        let linker = self.linker(&PLAIN, &mut store, None);
        let instance = linker.instantiate(&mut store, module);
        let call = match &instance {
            Ok(instance) => {
                let func = instance.get_func(&mut store, name).expect("it is exported");
                let params = arguments(&mut store, &func, seed)?;
                let mut results = room(&store, &func);
                func.call(&mut store, &params, &mut results)
                    .map(|()| results)
            }
            Err(_) => Ok(Vec::new()),
        };
        Some(outcome(&mut store, module, instance, call))
    }

    /// Runs it with the debugger, which tells the calls.
    fn run_debugged(
        &self,
        hooks: &Hooks,
        module: &Module,
        name: &str,
        seed: u32,
    ) -> (Outcome, Vec<Event>) {
        let mut store = store(&DEBUGGED, hooks);
        let debugger = Debugger::new(&self.wasm, self.imported, self.arity.clone());
        store.set_debug_handler(debugger.clone());
        store
            .edit_breakpoints()
            .expect("guests can be debugged")
            .single_step(true)
            .expect("operators can be stopped at");
        let linker = self.linker(&DEBUGGED, &mut store, Some(&debugger));
        let instance = at_once(linker.instantiate_async(&mut store, module));
        let mut events = debugger.end(end(&instance), &[]);
        let call = match &instance {
            Ok(instance) => {
                let func = instance.get_func(&mut store, name).expect("it is exported");
                let params = arguments(&mut store, &func, seed).expect("there were some");
                let mut results = room(&store, &func);
                let call = at_once(func.call_async(&mut store, &params, &mut results));
                let call = call.map(|()| results);
                events.extend(debugger.end(end(&call), call.as_deref().unwrap_or_default()));
                call
            }
            Err(_) => Ok(Vec::new()),
        };
        (outcome(&mut store, module, instance, call), events)
    }

    /// Runs it rewritten, with the hooks, which tell the calls.
    fn run_rewritten(
        &self,
        hooks: &Hooks,
        module: &Module,
        name: &str,
        seed: u32,
    ) -> (Outcome, Vec<Event>) {
        let mut store = store(&PLAIN, hooks);
        store.data_mut().record = Some(Vec::new());
        let mut linker = self.linker(&PLAIN, &mut store, None);
        hooks.link(&mut linker).expect("no name is taken");
        let instance = linker.instantiate(&mut store, module);
        finish(&mut store, &instance);
        let call = match &instance {
            Ok(instance) => {
                let func = instance.get_func(&mut store, name).expect("it is exported");
                let params = arguments(&mut store, &func, seed).expect("there were some");
                let mut results = room(&store, &func);
                let call = func.call(&mut store, &params, &mut results);
                finish(&mut store, &call);
                call.map(|()| results)
            }
            Err(_) => Ok(Vec::new()),
        };
        let outcome = outcome(&mut store, module, instance, call);
        let events = store.data_mut().record.take().expect("it was wanted");
        (outcome, events)
    }

    /// Defines all that the module may import; calls are told to the debugger.
    fn linker(
        &self,
        engine: &Engine,
        store: &mut Store<Watch>,
        debugger: Option<&Debugger<Watch>>,
    ) -> Linker<Watch> {
        let world = Module::new(engine, HOST).expect("it compiles");
        let mut linker = Linker::new(engine);
        let mut tag: Option<Tag> = None;
        let mut functions = Vec::new();
        for import in world.imports() {
            match import.ty() {
                wasmtime::ExternType::Func(ty) => functions.push((import.name().to_owned(), ty)),
                wasmtime::ExternType::Tag(ty) => {
                    let new = Tag::new(&mut *store, &ty).expect("a tag");
                    tag = Some(new);
                    linker
                        .define(&*store, "host", import.name(), new)
                        .expect("no name is taken");
                }
                ty => {
                    let item = ty.default_value(&mut *store).expect("a default");
                    linker
                        .define(&*store, "host", import.name(), item)
                        .expect("no name is taken");
                }
            }
        }
        let tag = tag.expect("there is a tag");
        for (name, ty) in functions {
            // Which function of this module it is; none when it does not import it.
            let index = self.imports.iter().find(|(import, _)| *import == name);
            let seen = debugger.cloned().zip(index.map(|(_, index)| *index));
            let kind: Arc<str> = name.as_str().into();
            let types: Vec<ValType> = ty.results().collect();
            linker
                .func_new("host", &name, ty, move |mut caller, params, results| {
                    if let Some((debugger, index)) = &seen {
                        debugger.host(*index, params);
                    }
                    let answer = host(&kind, &mut caller, tag, params, &types).map(|values| {
                        results.copy_from_slice(&values);
                    });
                    if let Some((debugger, _)) = &seen {
                        match &answer {
                            Ok(()) => debugger.host_returns(results),
                            Err(error) if error.is::<ThrownException>() => debugger.host_throws(),
                            Err(_) => {}
                        }
                    }
                    answer
                })
                .expect("no name is taken");
        }
        linker
    }
}

/// What a function of the host does: always the same for the same parameters.
fn host(
    name: &str,
    caller: &mut Caller<'_, Watch>,
    tag: Tag,
    params: &[Val],
    results: &[ValType],
) -> Result<Vec<Val>> {
    let words = crate::hooks::flatten(params);
    let sum = words.iter().fold(7_u64, |sum, word| {
        sum.wrapping_mul(31).wrapping_add(*word).rotate_left(5)
    });
    match name {
        "fails" if sum % 4 == 0 => bail!("the host does not like {sum}"),
        "throws" if sum % 2 == 0 => {
            let ty = ExnType::from_tag_type(&tag.ty(&*caller))?;
            let exception = ExnRefPre::new(&mut *caller, ty);
            let exception = ExnRef::new(&mut *caller, &exception, &tag, &[Val::I32(3)])?;
            return caller.as_context_mut().throw(exception);
        }
        _ => {}
    }
    let value = |ty: &ValType| match ty {
        ValType::I32 => Val::I32(sum as i32),
        ValType::I64 => Val::I64(sum as i64),
        ValType::F32 => Val::F32((sum as f32).to_bits()),
        ValType::F64 => Val::F64((sum as f64).to_bits()),
        // A reference: the one that was given.
        _ => params[0],
    };
    Ok(results.iter().map(value).collect())
}

fn store(engine: &Engine, hooks: &Hooks) -> Store<Watch> {
    let mut store = Store::new(engine, hooks.watch());
    store.data_mut().limits = StoreLimitsBuilder::new()
        .memory_size(1 << 20)
        .table_elements(1000)
        .build();
    store.limiter(|watch| &mut watch.limits);
    store
}

/// How an embedder's call ended, as far as it concerns the calls within.
fn end<T>(call: &Result<T>) -> End {
    match call {
        Ok(_) => End::Return,
        Err(error) if error.is::<ThrownException>() => End::Exception,
        Err(_) => End::Abort,
    }
}

/// Ends what an embedder's call left open, and checks that it may.
fn finish<T>(store: &mut Store<Watch>, call: &Result<T>) {
    let watch = store.data_mut();
    if end(call) != End::Abort {
        assert_eq!(watch.depth(), 0, "calls that never end");
    }
    watch.abort(0);
}

/// Arguments for a function: numbers that depend on the seed, null references. None
/// when it takes references that cannot be null.
fn arguments(store: &mut Store<Watch>, func: &Func, seed: u32) -> Option<Vec<Val>> {
    let mut state = u64::from(seed) + 1;
    func.ty(&*store)
        .params()
        .map(|ty| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            Some(match ty {
                ValType::I32 => Val::I32(state as i32),
                ValType::I64 => Val::I64(state as i64),
                ValType::F32 => Val::F32((state as i32 as f32).to_bits()),
                ValType::F64 => Val::F64((state as i64 as f64).to_bits()),
                ValType::V128 => Val::V128((u128::from(state) << 64 | 5).into()),
                ValType::Ref(ty) if ty.is_nullable() => Val::null_ref(ty.heap_type()),
                ValType::Ref(_) => return None,
            })
        })
        .collect()
}

/// Room for a function's results.
fn room(store: &Store<Watch>, func: &Func) -> Vec<Val> {
    vec![Val::I32(0); func.ty(store).results().len()]
}

/// What a call gave and left behind.
fn outcome(
    store: &mut Store<Watch>,
    module: &Module,
    instance: Result<wasmtime::Instance>,
    call: Result<Vec<Val>>,
) -> Outcome {
    let mut left = Vec::new();
    let failure = match (&instance, &call) {
        (Ok(instance), _) => {
            for export in module.exports() {
                if export.name().starts_with("wasmscope:") {
                    continue;
                }
                let item = instance.get_export(&mut *store, export.name());
                let state = match item.expect("it is exported") {
                    Extern::Memory(memory) => {
                        let data = memory.data(&*store);
                        let sum = data.iter().fold(0_u64, |sum, byte| {
                            sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte)
                        });
                        format!("{} bytes, {sum:#x}", data.len())
                    }
                    Extern::Global(global) => {
                        let value = global.get(&mut *store);
                        value::show(store, &[value]).expect("a value")
                    }
                    Extern::Table(table) => {
                        let size = table.size(&*store);
                        let null = (0..size)
                            .filter(|n| table.get(&mut *store, *n).is_some_and(|e| e.is_null()))
                            .count();
                        format!("{size} elements, {null} null")
                    }
                    _ => continue,
                };
                left.push(format!("{}: {state}", export.name()));
            }
            call.as_ref().err()
        }
        (Err(error), _) => Some(error),
    };
    let (gave, place) = match failure {
        None => {
            let values = call.expect("it did not fail");
            (value::show(store, &values).expect("values"), Vec::new())
        }
        Some(error) => {
            let mut place: Vec<_> = error
                .downcast_ref::<WasmBacktrace>()
                .map_or(&[][..], WasmBacktrace::frames)
                .iter()
                .map(|frame| {
                    let offset = frame.module_offset().map(|offset| offset as u32);
                    (frame.func_index(), offset)
                })
                .collect();
            let mut gave = error.root_cause().to_string();
            // How it says that there is no room for an object depends on the collector.
            if gave.contains("GC heap out of memory") || gave.contains("allocation size too large")
            {
                gave = "no room for an object".to_owned();
            }
            if error.is::<ThrownException>()
                && let Some(exception) = store.take_pending_exception()
            {
                // Each frame that hears of it throws it again, so it comes from the oldest.
                place.clear();
                let fields: Vec<Val> = exception.fields(&mut *store).expect("fields").collect();
                gave += &value::show(store, &fields).expect("values");
            }
            (gave, place)
        }
    };
    Outcome { gave, left, place }
}

/// Runs a future that never waits for anything.
pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
