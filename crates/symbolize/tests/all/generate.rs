//! Modules with DWARF whose every answer is known: three functions of `nop`s,
//! two units, calls inlined two deep, from the same unit and from another.

use std::ops::Range;

use gimli::write::{
    Address, AttributeValue, DebugInfoRef, EndianVec, FileId, LineProgram, LineString, RangeList,
    Sections, Unit, UnitEntryId,
};
use gimli::{Encoding, Format, LineEncoding, LittleEndian};
use wasm_encoder::{
    CodeSection, CustomSection, EntityType, Function, FunctionSection, ImportSection, Instruction,
    Module, NameMap, NameSection, TypeSection,
};

use crate::record;

/// Functions 0 and 1 are imported; 2, 3 and 4 are defined.
pub(crate) const IMPORTS: u32 = 2;

/// What a module is made with.
pub(crate) struct Plan {
    /// The DWARF version.
    pub(crate) version: u16,
    pub(crate) dwarf: bool,
    pub(crate) names: bool,
    /// Custom sections to add.
    pub(crate) extra: Vec<(&'static str, Vec<u8>)>,
}

impl Plan {
    pub(crate) fn new(version: u16) -> Self {
        Self {
            version,
            dwarf: true,
            names: true,
            extra: Vec::new(),
        }
    }

    /// Writes the module.
    pub(crate) fn module(&self) -> Module {
        let mut module = Module::new();
        let mut types = TypeSection::new();
        types.ty().function([], []);
        module.section(&types);
        let mut imports = ImportSection::new();
        imports.import("env", "log", EntityType::Function(0));
        imports.import("env", "tick", EntityType::Function(0));
        module.section(&imports);
        let mut functions = FunctionSection::new();
        let mut code = CodeSection::new();
        for length in [40, 20, 30] {
            functions.function(0);
            let mut body = Function::new([]);
            for _ in 0..length {
                body.instruction(&Instruction::Nop);
            }
            body.instruction(&Instruction::Call(1));
            body.instruction(&Instruction::Call(2));
            body.instruction(&Instruction::End);
            code.function(&body);
        }
        module.section(&functions);
        module.section(&code);
        if self.dwarf {
            // What precedes does not move when sections are added.
            let addresses = addresses(&module.clone().finish());
            for (name, data) in sections(self.version, &addresses) {
                module.section(&custom(name, data));
            }
        }
        for (name, data) in &self.extra {
            module.section(&custom(name, data.clone()));
        }
        if self.names {
            let mut names = NameSection::new();
            names.module("demo");
            let mut map = NameMap::new();
            map.append(0, "log");
            map.append(2, "_Z5outeri");
            map.append(3, "second");
            names.functions(&map);
            module.section(&names);
        }
        module
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.module().finish()
    }
}

pub(crate) fn custom(name: &'static str, data: Vec<u8>) -> CustomSection<'static> {
    CustomSection {
        name: name.into(),
        data: data.into(),
    }
}

/// Returns where the functions are, as DWARF counts.
fn addresses(bytes: &[u8]) -> Vec<Range<u64>> {
    let module = &record::modules(bytes)[0];
    let start = module.code_start;
    let ranges = module.functions.iter().map(|it| &it.range);
    ranges
        .map(|it| (it.start - start) as u64..(it.end - start) as u64)
        .collect()
}

/// Returns where function `index` (imports do not count) starts in the file, for
/// module `module` of it.
pub(crate) fn start(bytes: &[u8], module: usize, index: usize) -> u32 {
    record::modules(bytes)[module].functions[index].range.start as u32
}

/// Writes the DWARF, section by section.
fn sections(version: u16, functions: &[Range<u64>]) -> Vec<(&'static str, Vec<u8>)> {
    let encoding = Encoding {
        address_size: 4,
        format: Format::Dwarf32,
        version,
    };
    let mut dwarf = gimli::write::Dwarf::new();
    let first = Unit::new(encoding, LineProgram::none());
    let first = dwarf.units.add(first);
    let leaf = main_unit(dwarf.units.get_mut(first), encoding, functions);

    let second = dwarf.units.add(Unit::new(encoding, LineProgram::none()));
    let leaf = DebugInfoRef::Entry(first, leaf);
    other_unit(dwarf.units.get_mut(second), encoding, &functions[2], leaf);

    let mut sections = Sections::new(EndianVec::new(LittleEndian));
    dwarf.write(&mut sections).unwrap();
    let mut result = Vec::new();
    sections
        .for_each(|id, data| -> Result<(), gimli::write::Error> {
            if !data.slice().is_empty() {
                result.push((id.name(), data.slice().to_vec()));
            }
            Ok(())
        })
        .unwrap();
    result
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::String(text.as_bytes().to_vec())
}

/// `/src/main.rs`, whose functions have ranges; `lib/lib.rs` is inlined there.
fn main_unit(unit: &mut Unit, encoding: Encoding, functions: &[Range<u64>]) -> UnitEntryId {
    let (outer, second) = (&functions[0], &functions[1]);
    let mut program = line_program(encoding, "main.rs");
    let directory = program.add_directory(string("lib"));
    let lib = program.add_file(string("lib.rs"), directory, None);
    let main = program.add_file(string("main.rs"), program.default_directory(), None);
    let rows = [
        (0, main, 30, 0),
        (10, lib, 20, 9),
        (12, lib, 10, 3),
        (14, lib, 22, 9),
        (20, lib, 11, 4),
        (24, lib, 0, 0),
        (30, main, 32, 1),
    ];
    sequence(&mut program, outer, &rows);
    sequence(&mut program, second, &[(0, main, 40, 2)]);
    unit.line_program = program;

    let ranges = [outer, second].map(|range| gimli::write::Range::StartEnd {
        begin: Address::Constant(range.start),
        end: Address::Constant(range.end),
    });
    let ranges = unit.ranges.add(RangeList(ranges.to_vec()));
    let root = unit.root();
    let entry = unit.get_mut(root);
    entry.set(gimli::DW_AT_name, text("main.rs"));
    entry.set(gimli::DW_AT_comp_dir, text("/src"));
    entry.set(
        gimli::DW_AT_low_pc,
        AttributeValue::Address(Address::Constant(0)),
    );
    entry.set(gimli::DW_AT_ranges, AttributeValue::RangeListRef(ranges));
    entry.set(gimli::DW_AT_stmt_list, AttributeValue::LineProgramRef);

    let function = |unit: &mut Unit, name: &str, linkage: Option<&str>, line| {
        let id = unit.add(root, gimli::DW_TAG_subprogram);
        let entry = unit.get_mut(id);
        entry.set(gimli::DW_AT_name, text(name));
        if let Some(linkage) = linkage {
            entry.set(gimli::DW_AT_linkage_name, text(linkage));
        }
        entry.set(gimli::DW_AT_decl_line, AttributeValue::Udata(line));
        id
    };
    let leaf = function(unit, "leaf", Some("_ZN4demo4leaf17h0123456789abcdefE"), 9);
    let middle = function(unit, "middle", None, 19);
    let declared = function(unit, "outer", Some("_Z5outeri"), 29);

    let concrete = unit.add(root, gimli::DW_TAG_subprogram);
    covers(unit, concrete, outer);
    let entry = unit.get_mut(concrete);
    entry.set(
        gimli::DW_AT_specification,
        AttributeValue::UnitRef(declared),
    );
    let block = unit.add(concrete, gimli::DW_TAG_lexical_block);
    let at = |from: u64, to: u64| outer.start + from..outer.start + to;
    let call = AttributeValue::UnitRef(middle);
    let call = inlined(unit, block, call, main, 31, 5);
    covers(unit, call, &at(10, 30));
    let nested = AttributeValue::UnitRef(leaf);
    let nested = inlined(unit, call, nested, lib, 21, 7);
    let pieces = [at(12, 14), at(20, 24)].map(|range| gimli::write::Range::StartEnd {
        begin: Address::Constant(range.start),
        end: Address::Constant(range.end),
    });
    let pieces = unit.ranges.add(RangeList(pieces.to_vec()));
    let entry = unit.get_mut(nested);
    entry.set(gimli::DW_AT_ranges, AttributeValue::RangeListRef(pieces));

    let other = function(unit, "second", None, 39);
    covers(unit, other, second);
    leaf
}

/// `/src/other.rs`, which does not say what it covers.
fn other_unit(unit: &mut Unit, encoding: Encoding, third: &Range<u64>, leaf: DebugInfoRef) {
    let mut program = line_program(encoding, "other.rs");
    let file = program.add_file(string("other.rs"), program.default_directory(), None);
    sequence(&mut program, third, &[(0, file, 50, 0), (10, file, 51, 2)]);
    unit.line_program = program;
    let root = unit.root();
    let entry = unit.get_mut(root);
    entry.set(gimli::DW_AT_name, text("other.rs"));
    entry.set(gimli::DW_AT_comp_dir, text("/src"));
    entry.set(gimli::DW_AT_stmt_list, AttributeValue::LineProgramRef);
    let function = unit.add(root, gimli::DW_TAG_subprogram);
    unit.get_mut(function).set(gimli::DW_AT_name, text("third"));
    covers(unit, function, third);
    let call = AttributeValue::DebugInfoRef(leaf);
    let call = inlined(unit, function, call, file, 52, 6);
    covers(unit, call, &(third.start + 10..third.start + 20));
}

fn covers(unit: &mut Unit, entry: UnitEntryId, range: &Range<u64>) {
    let entry = unit.get_mut(entry);
    let low = AttributeValue::Address(Address::Constant(range.start));
    entry.set(gimli::DW_AT_low_pc, low);
    let size = AttributeValue::Udata(range.end - range.start);
    entry.set(gimli::DW_AT_high_pc, size);
}

fn inlined(
    unit: &mut Unit,
    parent: UnitEntryId,
    callee: AttributeValue,
    file: FileId,
    line: u64,
    column: u64,
) -> UnitEntryId {
    let id = unit.add(parent, gimli::DW_TAG_inlined_subroutine);
    let entry = unit.get_mut(id);
    entry.set(gimli::DW_AT_abstract_origin, callee);
    entry.set(
        gimli::DW_AT_call_file,
        AttributeValue::FileIndex(Some(file)),
    );
    entry.set(gimli::DW_AT_call_line, AttributeValue::Udata(line));
    entry.set(gimli::DW_AT_call_column, AttributeValue::Udata(column));
    id
}

fn string(text: &str) -> LineString {
    LineString::String(text.as_bytes().to_vec())
}

fn line_program(encoding: Encoding, name: &str) -> LineProgram {
    let line_encoding = LineEncoding::default();
    LineProgram::new(
        encoding,
        line_encoding,
        string("/src"),
        None,
        string(name),
        None,
    )
}

fn sequence(program: &mut LineProgram, at: &Range<u64>, rows: &[(u64, FileId, u64, u64)]) {
    program.begin_sequence(Some(Address::Constant(at.start)));
    for &(offset, file, line, column) in rows {
        let row = program.row();
        row.address_offset = offset;
        row.file = file;
        row.line = line;
        row.column = column;
        program.generate_row();
    }
    program.end_sequence(at.end - at.start);
}
