//! An independent record of a Wasm file: functions, names, instructions and
//! DWARF sections as wasmparser's own parser lists them. Shares no code with the
//! crate.

use std::collections::HashMap;
use std::ops::Range;

use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

/// One core module of a file, as wasmparser sees it.
#[derive(Default)]
pub(crate) struct Module<'a> {
    pub(crate) name: Option<String>,
    pub(crate) imports: Vec<(String, String)>,
    pub(crate) code_start: usize,
    pub(crate) functions: Vec<Function>,
    pub(crate) names: HashMap<u32, String>,
    pub(crate) custom: HashMap<&'a str, &'a [u8]>,
}

/// A defined function: where its instructions are, and whom it calls where.
pub(crate) struct Function {
    pub(crate) index: u32,
    pub(crate) range: Range<usize>,
    pub(crate) instructions: Vec<usize>,
    pub(crate) calls: Vec<(usize, u32)>,
}

/// Lists the core modules of a file in the order in which they start.
pub(crate) fn modules(bytes: &[u8]) -> Vec<Module<'_>> {
    let mut modules = Vec::new();
    let mut open: Vec<Option<usize>> = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.unwrap();
        if let Payload::Version { encoding, .. } = &payload {
            open.push(matches!(encoding, wasmparser::Encoding::Module).then(|| {
                modules.push(Module::default());
                modules.len() - 1
            }));
        }
        if let Payload::End(_) = &payload {
            open.pop();
        }
        if let Some(&Some(at)) = open.last() {
            note(&mut modules[at], payload);
        }
    }
    modules
}

fn note<'a>(module: &mut Module<'a>, payload: Payload<'a>) {
    match payload {
        Payload::ImportSection(section) => {
            for import in section.into_imports() {
                let import = import.unwrap();
                if let TypeRef::Func(_) = import.ty {
                    let names = (import.module.to_owned(), import.name.to_owned());
                    module.imports.push(names);
                }
            }
        }
        Payload::CodeSectionStart { range, .. } => module.code_start = range.start,
        Payload::CodeSectionEntry(body) => {
            let mut function = Function {
                index: (module.imports.len() + module.functions.len()) as u32,
                range: body.range(),
                instructions: Vec::new(),
                calls: Vec::new(),
            };
            let mut reader = body.get_operators_reader().unwrap();
            while !reader.eof() {
                let (operator, offset) = reader.read_with_offset().unwrap();
                function.instructions.push(offset);
                if let wasmparser::Operator::Call { function_index }
                | wasmparser::Operator::ReturnCall { function_index } = operator
                {
                    function.calls.push((offset, function_index));
                }
            }
            module.functions.push(function);
        }
        Payload::CustomSection(section) => {
            module
                .custom
                .entry(section.name())
                .or_insert(section.data());
            if let KnownCustom::Name(names) = section.as_known() {
                for name in names {
                    match name.unwrap() {
                        Name::Module { name, .. } => module.name = Some(name.to_owned()),
                        Name::Function(map) => {
                            for naming in map {
                                let naming = naming.unwrap();
                                module.names.insert(naming.index, naming.name.to_owned());
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        _ => {}
    }
}
