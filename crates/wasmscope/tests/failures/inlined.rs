//! Inlined calls and lines of failures, beside `addr2line`'s.

use crate::engine::kept;
use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use wasmparser::{Parser, Payload};
use wasmscope::{FailureCause, FrameKind, Guest};
use wasmtime::{Config, Engine, Linker, Module, Store, Trap};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{self, WasiP1Ctx};

/// Ends the guest when its fuel is used up.
fn exhaust(engine: &Engine, module: &Module, fuel: u64) -> Option<wasmtime::Error> {
    let mut linker = Linker::new(engine);
    p1::add_to_linker_sync(&mut linker, |wasi: &mut WasiP1Ctx| wasi).unwrap();
    let mut wasi = WasiCtxBuilder::new();
    wasi.args(&["guest", "1"]);
    let mut store = Store::new(engine, wasi.build_p1());
    store.set_fuel(fuel).unwrap();
    let instance = linker.instantiate(&mut store, module).ok()?;
    let start = instance
        .get_typed_func::<(), ()>(&mut store, "_start")
        .unwrap();
    start.call(&mut store, ()).err()
}

#[test]
fn lines_and_inlined_calls_are_addr2lines() {
    let mut config = Config::new();
    config.consume_fuel(true);
    let engine = Engine::new(&config).unwrap();
    let mut places = HashSet::new();
    let mut inlined = 0;
    for name in ["inline.wasm", "report.wasm", "shapes.wasm"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../guests")
            .join(name);
        let bytes = std::fs::read(path).unwrap();
        let module = Module::new(&engine, &bytes).unwrap();
        let record = Record::new(&bytes);
        for fuel in (1..200).map(|n: u64| n * n * 97) {
            let Some(error) = exhaust(&engine, &module, fuel) else {
                continue;
            };
            let failure = kept(Guest::module(name, &module).bytes(bytes.clone()), &error);
            if failure.cause() != FailureCause::Trap(Trap::OutOfFuel) {
                continue;
            }
            for frame in failure.frames() {
                assert_eq!(frame.kind, FrameKind::Guest);
                let (function, Some(offset)) = (frame.function.unwrap(), frame.offset) else {
                    continue;
                };
                if !places.insert((name, offset)) {
                    continue;
                }
                let ours: Vec<Row> = frame
                    .source
                    .iter()
                    .map(|it| Row {
                        function: it.raw.as_deref().map(str::to_owned),
                        file: it.file.as_deref().map(str::to_owned),
                        line: it.line,
                        column: it.column,
                    })
                    .collect();
                let theirs = record.rows(function.0, offset.0);
                assert_eq!(ours, theirs, "{name} at {offset:?}");
                inlined += ours.len() - 1;
            }
        }
    }
    assert!(places.len() > 100, "{}", places.len());
    assert!(inlined > 20, "{inlined}");
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Row {
    function: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    column: Option<u32>,
}

/// What other readers say of a module.
struct Record<'a> {
    context: addr2line::Context<EndianSlice<'a, LittleEndian>>,
    code: usize,
    names: HashMap<u32, &'a str>,
}

impl<'a> Record<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut sections = HashMap::new();
        let mut names = HashMap::new();
        let mut code = 0;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.unwrap() {
                Payload::CodeSectionStart { range, .. } => code = range.start,
                Payload::CustomSection(section) => {
                    if let wasmparser::KnownCustom::Name(reader) = section.as_known() {
                        for part in reader {
                            if let wasmparser::Name::Function(map) = part.unwrap() {
                                names.extend(map.into_iter().map(|naming| {
                                    let naming = naming.unwrap();
                                    (naming.index, naming.name)
                                }));
                            }
                        }
                    }
                    sections.insert(section.name(), section.data());
                }
                _ => {}
            }
        }
        let section = |id: SectionId| -> Result<_, addr2line::gimli::Error> {
            let data = sections.get(id.name()).copied().unwrap_or_default();
            Ok(EndianSlice::new(data, LittleEndian))
        };
        Self {
            context: addr2line::Context::from_dwarf(Dwarf::load(section).unwrap()).unwrap(),
            code,
            names,
        }
    }

    /// Returns the calls at an offset, innermost first; the name section has the last name.
    fn rows(&self, function: u32, offset: u32) -> Vec<Row> {
        let address = offset as usize - self.code;
        let mut frames = self
            .context
            .find_frames(address as u64)
            .skip_all_loads()
            .unwrap();
        let mut rows = Vec::new();
        while let Some(frame) = frames.next().unwrap() {
            let place = frame.location.as_ref();
            rows.push(Row {
                function: frame.function.map(|it| it.raw_name().unwrap().into_owned()),
                file: place.and_then(|it| it.file).map(str::to_owned),
                line: place.and_then(|it| it.line),
                column: place.and_then(|it| it.column).filter(|&column| column != 0),
            });
        }
        if rows.is_empty() {
            rows.push(Row::default());
        }
        if let (Some(name), Some(last)) = (self.names.get(&function), rows.last_mut()) {
            last.function = Some((*name).to_owned());
        }
        rows
    }
}
