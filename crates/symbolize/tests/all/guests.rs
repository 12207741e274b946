//! Every instruction of every committed guest, against two independent records:
//! names and calls as wasmparser reads them, lines and inlined frames as the
//! `addr2line` crate finds them.

use std::path::{Path, PathBuf};

use crate::record::{self, Module};
use gimli::{EndianSlice, LittleEndian};
use wasmscope_address::{FuncIndex, ModuleIndex, WasmOffset};
use wasmscope_symbolize::Symbols;

fn guests() -> Vec<PathBuf> {
    if let Ok(more) = std::env::var("WASMSCOPE_SYMBOLIZE_GUESTS") {
        return more.split(':').map(PathBuf::from).collect();
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files =
        ["../../guests", "tests/fixtures"].map(|folder| here.join(folder).read_dir().unwrap());
    let mut guests: Vec<_> = files
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "wasm"))
        .collect();
    guests.sort();
    assert!(guests.len() > 10, "the guests are missing: {guests:?}");
    guests
}

#[test]
fn names_and_calls_are_wasmparsers() {
    let mut names = 0;
    for path in guests() {
        let bytes = std::fs::read(&path).unwrap();
        let symbols = Symbols::new(bytes.clone());
        assert_eq!(symbols.modules(), record::modules(&bytes).len());
        for (module, index) in record::modules(&bytes)
            .iter()
            .zip(0..)
            .map(|(m, i)| (m, ModuleIndex(i)))
        {
            assert_eq!(symbols.module_name(index), module.name, "{path:?}");
            let count = (module.imports.len() + module.functions.len()) as u32;
            for func in 0..count {
                let name = symbols.function_name(index, FuncIndex(func));
                let expected = module.names.get(&func).map(String::as_str);
                assert_eq!(name.raw.as_deref(), expected, "{path:?} {func}");
                if expected.is_none() {
                    assert_eq!(*name.display, format!("<wasm function {func}>"));
                }
                names += usize::from(expected.is_some());
            }
            for func in (0..module.imports.len() as u32).chain([count, u32::MAX]) {
                assert_eq!(symbols.body(index, FuncIndex(func)), None);
            }
            for (function, func) in module.functions.iter().zip(module.imports.len() as u32..) {
                // Locals come before the first instruction; the last is a byte, `end`.
                let body = symbols.body(index, FuncIndex(func)).unwrap();
                let instruction = |at: Option<&usize>| WasmOffset(*at.unwrap() as u32);
                assert!(body.start < instruction(function.instructions.first()));
                assert_eq!(body.end.0 - 1, instruction(function.instructions.last()).0);
            }
            for function in &module.functions {
                let mut calls = function.calls.iter().peekable();
                for &offset in &function.instructions {
                    let callee = calls.next_if(|call| call.0 == offset).map(|call| call.1);
                    let expected = callee.and_then(|callee| module.imports.get(callee as usize));
                    let import = symbols.called_import(index, WasmOffset(offset as u32));
                    let import = import.map(|it| (it.module.to_string(), it.name.to_string()));
                    assert_eq!(import.as_ref(), expected, "{path:?} {offset:#x}");
                }
            }
        }
        assert_eq!(symbols.problem(), None, "{path:?}");
    }
    assert!(names > 1000, "only {names} names were compared");
}

#[test]
fn lines_are_addr2lines() {
    let (mut addresses, mut inlined) = (0, 0);
    for path in guests() {
        let bytes = std::fs::read(&path).unwrap();
        let symbols = Symbols::new(bytes.clone());
        for (module, index) in record::modules(&bytes)
            .iter()
            .zip(0..)
            .map(|(m, i)| (m, ModuleIndex(i)))
        {
            if !module.custom.contains_key(".debug_info") {
                continue;
            }
            let context = context(module);
            for function in &module.functions {
                for &offset in &function.instructions {
                    let at = WasmOffset(offset as u32);
                    let frames = symbols.frames(index, FuncIndex(function.index), at);
                    let ours: Vec<_> = frames
                        .iter()
                        .map(|it| Row {
                            raw: it.raw.as_deref().map(str::to_owned),
                            file: it.file.as_deref().map(str::to_owned),
                            line: it.line,
                            column: it.column,
                        })
                        .collect();
                    let name = module.names.get(&function.index);
                    let theirs = ask(&context, (offset - module.code_start) as u64, name);
                    assert_eq!(
                        ours, theirs,
                        "{path:?} at {offset:#x}, function {}",
                        function.index
                    );
                    addresses += usize::from(theirs.iter().any(|it| it.line.is_some()));
                    inlined += theirs.len() - 1;
                }
            }
        }
        assert_eq!(symbols.problem(), None, "{path:?}");
    }
    assert!(addresses > 10_000, "only {addresses} addresses had lines");
    assert!(
        inlined > 1_000,
        "only {inlined} inlined frames were compared"
    );
}

#[derive(Debug, PartialEq)]
struct Row {
    raw: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    column: Option<u32>,
}

type Context<'a> = addr2line::Context<EndianSlice<'a, LittleEndian>>;

fn context<'a>(module: &Module<'a>) -> Context<'a> {
    let section = |id: gimli::SectionId| -> Result<_, gimli::Error> {
        let data = module.custom.get(id.name()).copied().unwrap_or_default();
        Ok(EndianSlice::new(data, LittleEndian))
    };
    Context::from_dwarf(gimli::Dwarf::load(section).unwrap()).unwrap()
}

/// Asks addr2line, and puts the name section's name last.
fn ask(context: &Context<'_>, address: u64, name: Option<&String>) -> Vec<Row> {
    let mut frames = context.find_frames(address).skip_all_loads().unwrap();
    let mut rows = Vec::new();
    while let Some(frame) = frames.next().unwrap() {
        let place = frame.location.as_ref();
        rows.push(Row {
            raw: frame.function.map(|it| it.raw_name().unwrap().into_owned()),
            file: place.and_then(|it| it.file).map(str::to_owned),
            line: place.and_then(|it| it.line),
            column: place.and_then(|it| it.column).filter(|&column| column != 0),
        });
    }
    if rows.is_empty() {
        rows.push(Row {
            raw: None,
            file: None,
            line: None,
            column: None,
        });
    }
    if let (Some(name), Some(last)) = (name, rows.last_mut()) {
        last.raw = Some(name.clone());
    }
    rows
}

/// A check that shares nothing with any reader of DWARF, not even where its
/// addresses count from: a call must be on a line that names the callee.
#[test]
fn calls_are_on_lines_that_name_the_callee() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut checked = 0;
    for path in guests() {
        let bytes = std::fs::read(&path).unwrap();
        let symbols = Symbols::new(bytes.clone());
        let Some(module) = record::modules(&bytes).into_iter().next() else {
            continue;
        };
        for function in &module.functions {
            for &(offset, callee) in &function.calls {
                let at = WasmOffset(offset as u32);
                let frames = symbols.frames(ModuleIndex(0), FuncIndex(function.index), at);
                let (Some(file), Some(line)) = (&frames[0].file, frames[0].line) else {
                    continue;
                };
                let Some(source) = file.find("guests/src/c/").map(|at| root.join(&file[at..]))
                else {
                    continue;
                };
                let source = std::fs::read_to_string(source).unwrap();
                let callee = &module.names[&callee];
                // The compiler calls other functions than the source does, such
                // as `puts` for `printf`.
                if !source.contains(&format!("{callee}(")) {
                    continue;
                }
                let text = source.lines().nth(line as usize - 1).unwrap();
                assert!(
                    text.contains(callee),
                    "{path:?} {offset:#x}: {callee} in {line}: {text}"
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "only {checked} calls were checked");
}
