//! An independent record of what a module's code holds, and its comparison with what
//! a map claims.

use std::collections::HashMap;
use std::ops::Range;

use wasmparser::{Operator, Parser, Payload, Validator, WasmFeatures};
use wasmscope_address::{FuncIndex, WasmOffset};
use wasmscope_instrument::{Module, Rewritten};

/// One operator as it is encoded, except for what rewriting may change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Op<'a> {
    /// An operator by its bytes.
    Plain(&'a [u8]),
    /// A `call`, `return_call` or `ref.func`, by its opcode, and its function.
    Function(u8, u32),
    /// A `return`, and the depth of the function's label.
    Return(u32),
    /// A `br`, and the depth of its label.
    Branch(u32),
}

/// Every operator of a module, by function.
pub(crate) struct Operators<'a> {
    /// Where the module starts in its file.
    start: usize,
    imports: u32,
    functions: Vec<Vec<(u32, Op<'a>)>>,
}

impl<'a> Operators<'a> {
    /// Reads a module that is valid.
    pub(crate) fn read(wasm: &'a [u8]) -> Self {
        Self::read_within(wasm, 0..wasm.len())
    }

    /// Reads a module that is part of a file, from whose start offsets count.
    pub(crate) fn read_within(wasm: &'a [u8], range: Range<usize>) -> Self {
        let start = range.start;
        let module = &wasm[range];
        Validator::new_with_features(WasmFeatures::all())
            .validate_all(module)
            .expect("it is valid");
        let (mut imports, mut functions) = (0, Vec::new());
        for payload in Parser::new(start as u64).parse_all(module) {
            match payload.expect("it is valid") {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let ty = import.expect("it is valid").ty;
                        imports += u32::from(matches!(ty, wasmparser::TypeRef::Func(_)));
                    }
                }
                Payload::CodeSectionEntry(body) => functions.push(operators(wasm, &body)),
                _ => {}
            }
        }
        Self {
            start,
            imports,
            functions,
        }
    }

    /// Returns the operators of a function that is defined in the module.
    pub(crate) fn function(&self, index: FuncIndex) -> &[(u32, Op<'a>)] {
        &self.functions[(index.0 - self.imports) as usize]
    }
}

fn operators<'a>(wasm: &'a [u8], body: &wasmparser::FunctionBody<'_>) -> Vec<(u32, Op<'a>)> {
    let mut reader = body.get_operators_reader().expect("it is valid");
    let mut depth = 0;
    let mut all = Vec::new();
    while !reader.eof() {
        let (operator, start) = reader.read_with_offset().expect("it is valid");
        let bytes = &wasm[start..reader.original_position()];
        all.push((
            start as u32,
            match operator {
                Operator::Call { function_index }
                | Operator::ReturnCall { function_index }
                | Operator::RefFunc { function_index } => Op::Function(bytes[0], function_index),
                Operator::Return => Op::Return(depth),
                Operator::Br { relative_depth } => Op::Branch(relative_depth),
                _ => Op::Plain(bytes),
            },
        ));
        match operator {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. } => depth += 1,
            Operator::End => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    all
}

/// Compares a module with what became of it: each operator is where the map says it is,
/// and is the same but for the indices of functions and returns in probed functions; and
/// no inserted operator claims to come from anywhere.
pub(crate) fn compare(
    name: &str,
    original: &Operators<'_>,
    now: &Operators<'_>,
    rewritten: &Rewritten,
    module: &Module<'_>,
) {
    let map = &rewritten.map;
    let mut found: HashMap<u32, Op<'_>> = now.functions.iter().flatten().copied().collect();
    for (defined, operators) in original.functions.iter().enumerate() {
        let function = FuncIndex(defined as u32 + original.imports);
        let probed = rewritten.probes.binary_search(&function).is_ok();
        for (offset, op) in operators {
            let moved = map.rewritten(WasmOffset(*offset));
            let moved = moved.unwrap_or_else(|| panic!("{name}: {offset:#x} is nowhere"));
            assert_eq!(map.original(moved), Some(WasmOffset(*offset)), "{name}");
            let actual = found.remove(&moved.0);
            let mut expected = expected(*op, original, now, rewritten, module);
            if probed && let Op::Return(depth) = expected {
                expected = Op::Branch(depth);
            }
            assert_eq!(actual, Some(expected), "{name}: {offset:#x} at {moved}");
        }
    }
    for (offset, op) in found {
        assert_eq!(
            map.original(WasmOffset(offset)),
            None,
            "{name}: {op:?} at {offset:#x}"
        );
    }
    let bodies = map
        .bodies()
        .zip(module.functions().iter().skip(original.imports as usize));
    for ((before, after), function) in bodies {
        let body = function.body.clone().expect("it is defined");
        assert_eq!(
            before.start.0 as usize..before.end.0 as usize,
            body.start + original.start..body.end + original.start,
            "{name}"
        );
        assert_eq!(map.rewritten(before.start), Some(after.start), "{name}");
        let moved = map.rewritten_function(function.index).expect("it is there");
        let last = now.function(moved).last().expect("it has an end").0;
        assert_eq!(last + 1, after.end.0, "{name}");
    }
}

/// Returns what an operator becomes where there is no probe.
pub(crate) fn expected<'a>(
    op: Op<'a>,
    original: &Operators<'_>,
    now: &Operators<'_>,
    rewritten: &Rewritten,
    module: &Module<'_>,
) -> Op<'a> {
    let Op::Function(opcode, index) = op else {
        return op;
    };
    let hooks = now.imports - original.imports;
    if index >= original.imports {
        return Op::Function(opcode, index + hooks);
    }
    match rewritten.probes.binary_search(&FuncIndex(index)) {
        // Shims come last, in the order of the imports, which are the first to have probes.
        Ok(shim) => {
            let functions = module.functions().len() as u32;
            Op::Function(opcode, functions + hooks + shim as u32)
        }
        Err(_) => op,
    }
}

/// Returns the sections of a module but for the custom ones that are not wanted: their
/// identifiers and contents.
pub(crate) fn sections(wasm: &[u8], unwanted: impl Fn(&str) -> bool) -> Vec<(u8, &[u8])> {
    let mut sections = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.expect("it is valid");
        if let Payload::CustomSection(custom) = &payload
            && unwanted(custom.name())
        {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            sections.push((id, &wasm[range]));
        }
    }
    sections
}
