//! DWARF byte by byte, for files that no library writes.

use gimli::constants::*;
use gimli::{DwAt, DwForm, DwTag};
use wasmscope_address::{FuncIndex, ModuleIndex, WasmOffset};
use wasmscope_symbolize::{Error, SourceFrame, Symbols};

/// Bytes of code. DWARF's addresses are below.
pub(crate) const CODE: u32 = 1000;

pub(crate) fn leb(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        out.push(low | if value == 0 { 0 } else { 0x80 });
        if value == 0 {
            break;
        }
    }
}

pub(crate) fn section(out: &mut Vec<u8>, id: u8, contents: &[u8]) {
    out.push(id);
    leb(out, contents.len() as u64);
    out.extend_from_slice(contents);
}

/// A module of `CODE` bytes of code that no one reads, and custom sections.
/// Returns the offset of its code, too.
pub(crate) fn module(customs: &[(&str, &[u8])]) -> (Vec<u8>, u32) {
    let mut out = b"\0asm\x01\0\0\0".to_vec();
    section(&mut out, 10, &[0xff; CODE as usize]);
    let code = out.len() as u32 - CODE;
    for (name, data) in customs {
        let mut contents = Vec::new();
        leb(&mut contents, name.len() as u64);
        contents.extend_from_slice(name.as_bytes());
        contents.extend_from_slice(data);
        section(&mut out, 0, &contents);
    }
    (out, code)
}

/// Asks about an address and returns the answer and the problem.
pub(crate) fn ask(customs: &[(&str, &[u8])], address: u32) -> (Vec<SourceFrame>, Option<Error>) {
    let (bytes, code) = module(customs);
    let symbols = Symbols::new(bytes);
    let offset = WasmOffset(code + address);
    let frames = symbols.frames(ModuleIndex(0), FuncIndex(7), offset);
    (frames.to_vec(), symbols.problem())
}

#[derive(Default)]
pub(crate) struct Abbrevs(Vec<u8>);

impl Abbrevs {
    pub(crate) fn add(
        mut self,
        code: u64,
        tag: DwTag,
        children: bool,
        attributes: &[(DwAt, DwForm)],
    ) -> Self {
        leb(&mut self.0, code);
        leb(&mut self.0, u64::from(tag.0));
        self.0.push(u8::from(children));
        for (name, form) in attributes {
            leb(&mut self.0, u64::from(name.0));
            leb(&mut self.0, u64::from(form.0));
        }
        self.0.extend([0, 0]);
        self
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.push(0);
        self.0
    }
}

/// A version 4 unit around entries.
pub(crate) fn unit(entries: &[u8]) -> Vec<u8> {
    let mut unit = (entries.len() as u32 + 7).to_le_bytes().to_vec();
    unit.extend([4, 0, 0, 0, 0, 0, 4]);
    unit.extend_from_slice(entries);
    unit
}

/// An abbreviation's code, a first address and a size.
pub(crate) fn covering(code: u8) -> Vec<u8> {
    let mut entry = vec![code];
    entry.extend(1_u32.to_le_bytes());
    entry.extend(900_u32.to_le_bytes());
    entry
}

pub(crate) const COVERS: [(DwAt, DwForm); 2] =
    [(DW_AT_low_pc, DW_FORM_addr), (DW_AT_high_pc, DW_FORM_data4)];

/// The first two abbreviations of each test: a unit and a function.
pub(crate) fn abbrevs() -> Abbrevs {
    Abbrevs::default()
        .add(1, DW_TAG_compile_unit, true, &COVERS)
        .add(2, DW_TAG_subprogram, true, &COVERS)
}

/// A unit that starts with a function, then `rest`.
pub(crate) fn function(rest: &[u8]) -> Vec<u8> {
    unit(&[covering(1), covering(2), rest.to_vec()].concat())
}

/// A version 4 line program around instructions.
pub(crate) fn line_program(instructions: &[u8]) -> Vec<u8> {
    let mut header = vec![1, 1, 1, 0xfb, 14, 13];
    header.extend([0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1]);
    header.extend([0, 0]);
    let mut program = (header.len() as u32 + 6 + instructions.len() as u32)
        .to_le_bytes()
        .to_vec();
    program.extend([4, 0]);
    program.extend((header.len() as u32).to_le_bytes());
    program.extend_from_slice(&header);
    program.extend_from_slice(instructions);
    program
}

pub(crate) fn name_only(frames: &[SourceFrame]) {
    assert_eq!(frames.len(), 1);
    assert_eq!(
        (&*frames[0].function, frames[0].line),
        ("<wasm function 7>", None)
    );
}
