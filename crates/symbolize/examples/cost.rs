//! What questions cost: `cargo run --release -p wasmscope-symbolize --example
//! cost [FILE]`. Without a file, a module of about 100 MB is made up: 40 MB of
//! code, 60 MB of DWARF in 4,000 units.

use std::hint::black_box;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use gimli::write::{
    Address, AttributeValue, EndianVec, LineProgram, LineString, Range, RangeList, Sections, Unit,
};
use gimli::{Encoding, Format, LineEncoding, LittleEndian};
use wasm_encoder::{CodeSection, CustomSection, FunctionSection, Module, NameMap, NameSection};
use wasmscope_address::{FuncIndex, ModuleIndex, WasmOffset};
use wasmscope_symbolize::Symbols;

const UNITS: u64 = 4_000;
const FUNCTIONS: u64 = 20;
const BODY: u64 = 500;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bytes = match std::env::args().nth(1) {
        Some(path) => std::fs::read(path)?,
        None => make_up()?,
    };
    let calls = functions(&bytes)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} bytes, {} functions", bytes.len(), calls.len())?;
    let bytes: std::sync::Arc<[u8]> = bytes.into();
    for _ in 0..3 {
        run(&bytes, &calls, &mut out)?;
    }
    Ok(())
}

/// Asks, and says how long each kind of question took.
fn run(
    bytes: &std::sync::Arc<[u8]>,
    calls: &[(ModuleIndex, FuncIndex, WasmOffset)],
    out: &mut impl Write,
) -> io::Result<()> {
    let time = |work: &mut dyn FnMut()| -> Duration {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    let mut symbols = None;
    let new = time(&mut || symbols = Some(Symbols::new(std::sync::Arc::clone(bytes))));
    let symbols = symbols.unwrap_or_else(|| Symbols::new([]));
    let &(module, func, offset) = &calls[calls.len() / 2];
    let name = time(&mut || drop(black_box(symbols.function_name(module, func))));
    let line = time(&mut || drop(black_box(symbols.frames(module, func, offset))));
    let again = 1_000_000;
    let repeated = time(&mut || {
        for _ in 0..again {
            black_box(symbols.frames(module, func, black_box(offset)));
        }
    });
    let few: Vec<_> = calls.iter().step_by((calls.len() / 2_000).max(1)).collect();
    let distinct = time(&mut || {
        for &&(module, func, offset) in &few {
            black_box(symbols.frames(module, func, offset));
        }
    });
    writeln!(out, "new {new:?}, first name {name:?}, first line {line:?}")?;
    writeln!(out, "repeated {:?} each", repeated / again)?;
    writeln!(
        out,
        "{} functions all over the file {distinct:?}",
        few.len()
    )?;
    writeln!(out, "problem: {:?}", symbols.problem())
}

/// Returns an instruction of each function.
fn functions(
    bytes: &[u8],
) -> Result<Vec<(ModuleIndex, FuncIndex, WasmOffset)>, wasmparser::BinaryReaderError> {
    let (mut result, mut module, mut func) = (Vec::new(), 0_u32, 0_u32);
    for payload in wasmparser::Parser::new(0).parse_all(bytes) {
        match payload? {
            wasmparser::Payload::Version { encoding, .. } => {
                module += u32::from(encoding == wasmparser::Encoding::Module);
                func = 0;
            }
            wasmparser::Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let is_function = matches!(import?.ty, wasmparser::TypeRef::Func(_));
                    func += u32::from(is_function);
                }
            }
            wasmparser::Payload::CodeSectionEntry(body) => {
                let range = body.range();
                let middle = range.start + range.len() / 2;
                let offset = WasmOffset(u32::try_from(middle).unwrap_or(u32::MAX));
                result.push((ModuleIndex(module - 1), FuncIndex(func), offset));
                func += 1;
            }
            _ => {}
        }
    }
    Ok(result)
}

/// Makes a large module with as much DWARF as an honest one has.
fn make_up() -> Result<Vec<u8>, gimli::write::Error> {
    let mut module = Module::new();
    let mut types = wasm_encoder::TypeSection::new();
    types.ty().function([], []);
    module.section(&types);
    let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
    let mut names = NameMap::new();
    let mut body = wasm_encoder::Function::new([]);
    for _ in 0..BODY - 2 {
        body.instruction(&wasm_encoder::Instruction::Nop);
    }
    body.instruction(&wasm_encoder::Instruction::End);
    for func in 0..(UNITS * FUNCTIONS) as u32 {
        functions.function(0);
        code.function(&body);
        names.append(func, &format!("_ZN4demo8function4call17h{func:016x}E"));
    }
    module.section(&functions).section(&code);
    let encoding = Encoding {
        address_size: 4,
        format: Format::Dwarf32,
        version: 4,
    };
    let mut dwarf = gimli::write::Dwarf::new();
    for unit in 0..UNITS {
        dwarf.units.add(make_unit(unit, encoding));
    }
    let mut sections = Sections::new(EndianVec::new(LittleEndian));
    dwarf.write(&mut sections)?;
    sections.for_each(|id, data| -> Result<(), gimli::write::Error> {
        module.section(&CustomSection {
            name: id.name().into(),
            data: data.slice().into(),
        });
        Ok(())
    })?;
    let mut section = NameSection::new();
    section.functions(&names);
    module.section(&section);
    Ok(module.finish())
}

fn make_unit(number: u64, encoding: Encoding) -> Unit {
    let string = |text: String| LineString::String(text.into_bytes());
    let text = |text: String| AttributeValue::String(text.into_bytes());
    let name = format!("src/module_{number}.rs");
    let mut program = LineProgram::new(
        encoding,
        LineEncoding::default(),
        string("/build/project".into()),
        None,
        string(name.clone()),
        None,
    );
    let directory = program.default_directory();
    let files: Vec<_> = (0..40)
        .map(|file| {
            program.add_file(
                string(format!("src/file_{number}_{file}.rs")),
                directory,
                None,
            )
        })
        .collect();
    let mut unit = Unit::new(encoding, LineProgram::none());
    let root = unit.root();
    let mut ranges = Vec::new();
    for function in 0..FUNCTIONS {
        // Bodies follow each other, each after a size of two bytes.
        let start = 4 + 2 + (number * FUNCTIONS + function) * (BODY + 2);
        let at = |from: u64| AttributeValue::Address(Address::Constant(start + from));
        ranges.push(Range::StartEnd {
            begin: Address::Constant(start),
            end: Address::Constant(start + BODY),
        });
        program.begin_sequence(Some(Address::Constant(start)));
        for row in 0..BODY / 5 {
            let next = program.row();
            next.address_offset = row * 5;
            next.file = files[(row % 40) as usize];
            next.line = 100 + row % 37 * 3;
            next.column = row % 60;
            program.generate_row();
        }
        program.end_sequence(BODY);
        let origin = unit.add(root, gimli::DW_TAG_subprogram);
        unit.get_mut(origin).set(
            gimli::DW_AT_name,
            text(format!("inlined_{number}_{function}")),
        );
        let entry = unit.add(root, gimli::DW_TAG_subprogram);
        let it = unit.get_mut(entry);
        it.set(
            gimli::DW_AT_name,
            text(format!("function_{number}_{function}")),
        );
        it.set(gimli::DW_AT_low_pc, at(0));
        it.set(gimli::DW_AT_high_pc, AttributeValue::Udata(BODY));
        for local in 0..12_u8 {
            let variable = unit.add(entry, gimli::DW_TAG_variable);
            let it = unit.get_mut(variable);
            it.set(gimli::DW_AT_name, text(format!("variable_{local}")));
            it.set(gimli::DW_AT_decl_line, AttributeValue::Data1(local));
        }
        for call in 0..8 {
            let inlined = unit.add(entry, gimli::DW_TAG_inlined_subroutine);
            let it = unit.get_mut(inlined);
            it.set(
                gimli::DW_AT_abstract_origin,
                AttributeValue::UnitRef(origin),
            );
            it.set(gimli::DW_AT_low_pc, at(call * 60));
            it.set(gimli::DW_AT_high_pc, AttributeValue::Udata(50));
            it.set(
                gimli::DW_AT_call_file,
                AttributeValue::FileIndex(Some(files[0])),
            );
            it.set(gimli::DW_AT_call_line, AttributeValue::Udata(call + 1));
        }
    }
    unit.line_program = program;
    let ranges = unit.ranges.add(RangeList(ranges));
    let it = unit.get_mut(root);
    it.set(gimli::DW_AT_name, text(name));
    it.set(gimli::DW_AT_comp_dir, text("/build/project".into()));
    it.set(
        gimli::DW_AT_low_pc,
        AttributeValue::Address(Address::Constant(0)),
    );
    it.set(gimli::DW_AT_ranges, AttributeValue::RangeListRef(ranges));
    it.set(gimli::DW_AT_stmt_list, AttributeValue::LineProgramRef);
    unit
}
