//! `.debug_line`: the same programs, with other distances between the rows.
//!
//! Headers are copied, and so is every operation that does not speak of addresses. Of
//! those that do, only their sum up to the next row counts: each row gets an advance of
//! the distance that it has in the rewritten code. Where that has not changed, and that
//! is nearly everywhere, the operation comes out as it was.

use std::collections::HashMap;

use gimli::{EndianSlice, LittleEndian, Reader as _, constants};

use crate::dwarf::code::Code;
use crate::dwarf::reason::Reason;

pub(super) const SECTION: &str = ".debug_line";

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// A rewritten `.debug_line`.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) bytes: Vec<u8>,
    /// Where each program went, by where it was.
    pub(super) programs: HashMap<u64, u64>,
}

/// What a program's header says about its operations.
struct Header<'a> {
    line_range: u8,
    opcode_base: u8,
    lengths: Bytes<'a>,
}

/// Rewrites every program of the section.
pub(super) fn rewrite(section: &[u8], code: &Code<'_>) -> Result<Lines, Reason> {
    let whole = EndianSlice::new(section, LittleEndian);
    let mut rest = whole;
    let mut lines = Lines::default();
    while !rest.is_empty() {
        let offset = rest.offset_from(whole);
        let new = lines.bytes.len();
        lines.programs.insert(offset as u64, new as u64);
        let mut at = offset;
        program(&mut rest, whole, &mut at, &mut lines.bytes, code).map_err(|e| match e {
            Problem::Read(e) => Reason::damaged(SECTION, at as u64, e),
            Problem::Other(reason) => reason,
        })?;
    }
    Ok(lines)
}

enum Problem {
    Read(gimli::Error),
    Other(Reason),
}

impl From<gimli::Error> for Problem {
    fn from(e: gimli::Error) -> Self {
        Self::Read(e)
    }
}

/// Rewrites one program. `at` says how far it came.
fn program(
    rest: &mut Bytes<'_>,
    whole: Bytes<'_>,
    at: &mut usize,
    out: &mut Vec<u8>,
    code: &Code<'_>,
) -> Result<(), Problem> {
    let began = *at as u64;
    let other = |what| Problem::Other(Reason::unsupported(SECTION, began, what));
    let start = *rest;
    let (length, format) = rest.read_initial_length()?;
    let length_len = rest.offset_from(start);
    let mut bytes = rest.split(length)?;
    let unit = bytes;
    let version = bytes.read_u16()?;
    if !(2..=5).contains(&version) {
        return Err(other("a line program of another version than 2 to 5"));
    }
    if version == 5 {
        bytes.skip(2)?;
    }
    let header_length = bytes.read_length(format)?;
    let mut fields = bytes;
    bytes.skip(header_length)?;
    let header_len = bytes.offset_from(unit);
    let unit_instruction = fields.read_u8()? == 1 && (version < 4 || fields.read_u8()? == 1);
    if !unit_instruction {
        return Err(other("instructions that are not counted in bytes"));
    }
    // Whether rows are statements, and the least line advance: both stay as they are.
    fields.skip(2)?;
    let line_range = fields.read_u8()?;
    let opcode_base = fields.read_u8()?;
    if line_range == 0 || opcode_base == 0 {
        return Err(Problem::Other(Reason::damaged(
            SECTION,
            began,
            "a line range or an opcode base of zero",
        )));
    }
    let header = Header {
        line_range,
        opcode_base,
        lengths: fields.split(usize::from(opcode_base) - 1)?,
    };
    let new = out.len();
    out.extend_from_slice(&start.slice()[..length_len]);
    out.extend_from_slice(&unit.slice()[..header_len]);
    let mut sequence = Sequence::default();
    while !bytes.is_empty() {
        *at = bytes.offset_from(whole);
        sequence.operation(&mut bytes, &header, out, code)?;
    }
    let unit_len = out.len() - new - length_len;
    let word = usize::from(format.word_size());
    let field = &mut out[new + length_len - word..new + length_len];
    if word == 4 && unit_len >= 0xffff_fff0 {
        return Err(other("a program that outgrows its length"));
    }
    field.copy_from_slice(&(unit_len as u64).to_le_bytes()[..word]);
    Ok(())
}

/// The rows between two `end_sequence`.
#[derive(Default)]
struct Sequence {
    /// The address register, as the original program left it.
    old: u64,
    /// The address register that the operations written so far make.
    new: u64,
    /// The size of the address that was set last. `None` is for rows of code that the
    /// linker removed, or of no code: their addresses stay, tombstones most of all.
    live: Option<usize>,
    /// Whether an address was set that is not yet written.
    set: bool,
    /// The function of the row before.
    function: Option<usize>,
}

impl Sequence {
    fn operation(
        &mut self,
        bytes: &mut Bytes<'_>,
        header: &Header<'_>,
        out: &mut Vec<u8>,
        code: &Code<'_>,
    ) -> Result<(), gimli::Error> {
        let start = *bytes;
        let opcode = bytes.read_u8()?;
        if opcode >= header.opcode_base {
            let adjusted = opcode - header.opcode_base;
            self.old = self
                .old
                .wrapping_add(u64::from(adjusted / header.line_range));
            let target = self.row(code);
            let advance = self.advance(target, out);
            let line = adjusted % header.line_range;
            // At least as small as the original with an advance of zero.
            let plain = u64::from(header.opcode_base) + u64::from(line);
            let special = advance
                .checked_mul(header.line_range.into())
                .and_then(|by| by.checked_add(plain));
            match special.map(u8::try_from) {
                Some(Ok(special)) => out.push(special),
                _ => {
                    advance_pc(advance, out);
                    out.push(plain as u8);
                }
            }
            return Ok(());
        }
        match constants::DwLns(opcode) {
            constants::DwLns(0) => {
                let length = bytes.read_uleb128()?;
                let mut operation = bytes.split(length as usize)?;
                let whole = &start.slice()[..bytes.offset_from(start)];
                match constants::DwLne(operation.read_u8()?) {
                    constants::DW_LNE_end_sequence => {
                        let target = self.to(code.at(self.old));
                        let advance = self.advance(target, out);
                        advance_pc(advance, out);
                        out.extend_from_slice(whole);
                        *self = Self::default();
                    }
                    constants::DW_LNE_set_address => {
                        let size = operation.len();
                        self.old = match size {
                            4 => operation.read_u32()?.into(),
                            _ => operation.read_u64()?,
                        };
                        self.live = code.at(self.old).map(|_| size.min(8));
                        self.set = self.live.is_some();
                        if !self.set {
                            self.new = self.old;
                            out.extend_from_slice(whole);
                        }
                    }
                    _ => out.extend_from_slice(whole),
                }
            }
            constants::DW_LNS_copy => {
                let target = self.row(code);
                let advance = self.advance(target, out);
                advance_pc(advance, out);
                out.push(opcode);
            }
            constants::DW_LNS_advance_pc => {
                self.old = self.old.wrapping_add(bytes.read_uleb128()?);
            }
            constants::DW_LNS_fixed_advance_pc => {
                self.old = self.old.wrapping_add(bytes.read_u16()?.into());
            }
            constants::DW_LNS_const_add_pc => {
                let by = (255 - header.opcode_base) / header.line_range;
                self.old = self.old.wrapping_add(by.into());
            }
            _ => {
                for _ in 0..header.lengths.slice()[usize::from(opcode) - 1] {
                    bytes.skip_leb128()?;
                }
                out.extend_from_slice(&start.slice()[..bytes.offset_from(start)]);
            }
        }
        Ok(())
    }

    /// The new address of a row at the current one.
    fn row(&mut self, code: &Code<'_>) -> u64 {
        let previous = std::mem::replace(&mut self.function, code.function(self.old));
        self.to(code.row(self.old, previous))
    }

    fn to(&self, mapped: Option<u64>) -> u64 {
        self.live.and(mapped).unwrap_or(self.old)
    }

    /// Returns by how much to advance to `target`, and has the address set where an
    /// advance would not do.
    fn advance(&mut self, target: u64, out: &mut Vec<u8>) -> u64 {
        let from = std::mem::replace(&mut self.new, target);
        let set = std::mem::take(&mut self.set);
        match self.live {
            Some(size) if set || target < from => {
                out.extend_from_slice(&[0, size as u8 + 1, constants::DW_LNE_set_address.0]);
                out.extend_from_slice(&target.to_le_bytes()[..size]);
                0
            }
            _ => target.wrapping_sub(from),
        }
    }
}

fn advance_pc(by: u64, out: &mut Vec<u8>) {
    if by != 0 {
        out.push(constants::DW_LNS_advance_pc.0);
        leb(by, out);
    }
}

/// Writes an unsigned LEB128.
pub(super) fn leb(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
