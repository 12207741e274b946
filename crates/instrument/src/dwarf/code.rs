//! Where each address went: from the original code section to the rewritten one.
//!
//! An address of Wasm DWARF is an offset from the start of the code section's contents.
//! The rewriter tells where it put each instruction; DWARF also speaks of places
//! between instructions, and of the places where no function is:
//!
//! ```text
//!   size LEB | locals | instruction | instruction | ... | end |  next function's size LEB
//!   ^size    ^start   ^code                                   ^end = size of the next
//! ```
//!
//! One rule serves starts and ends alike, so adjacent ranges stay adjacent: what was
//! inserted before an instruction belongs to what stands before that instruction, and
//! what was inserted at a function's entry belongs to the function's start. An end is
//! the start of what follows, and a function's end is the next one's start.

use std::fmt;

use wasmparser::{BinaryReader, CodeSectionReader, OperatorsReader};

use crate::dwarf::reason::Reason;

/// Offsets of one function's entry in the contents of its code section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Body {
    /// Of the LEB that holds the body's size: where the function before it ends.
    size: u64,
    /// Of the locals: where producers say that the function starts.
    start: u64,
    /// Of the first instruction.
    code: u64,
    /// Past the last instruction.
    end: u64,
}

/// The code sections before and after, and where the instructions went.
pub struct Code<'a> {
    old: Vec<Body>,
    new: Vec<Body>,
    /// The contents of the rewritten section.
    contents: &'a [u8],
    instruction: &'a dyn Fn(u64) -> Option<u64>,
}

impl fmt::Debug for Code<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code")
            .field("functions", &self.old.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Code<'a> {
    /// Reads where the functions are in the contents of the two code sections (from the
    /// function count on). The functions of `old` are the first ones of `new`, in the
    /// same order. `instruction` maps the offset of an instruction in `old` to that of
    /// the same instruction in `new`, without what was inserted before it; it may know
    /// offsets within instructions as well.
    ///
    /// # Errors
    ///
    /// When a section is not a code section, or `new` has fewer functions.
    pub fn new(
        old: &[u8],
        new: &'a [u8],
        instruction: &'a dyn Fn(u64) -> Option<u64>,
    ) -> Result<Self, Reason> {
        let contents = new;
        let (old, mut new) = (bodies(old)?, bodies(new)?);
        if new.len() < old.len() {
            return Err(Reason::damaged("code", 0, "functions are missing"));
        }
        new.truncate(old.len());
        Ok(Self {
            old,
            new,
            contents,
            instruction,
        })
    }

    /// Returns the index of the function whose entry, from its size on, holds `address`.
    pub(super) fn function(&self, address: u64) -> Option<usize> {
        let index = self.old.partition_point(|body| body.size <= address);
        let index = index.checked_sub(1)?;
        (address < self.old[index].end).then_some(index)
    }

    /// Maps a start or an end. `None` is for addresses of no code: tombstones, and
    /// whatever else lies outside of the functions. Never decreases.
    pub(super) fn at(&self, address: u64) -> Option<u64> {
        let Some(index) = self.function(address) else {
            let last = self.old.last()?;
            return (last.end == address).then(|| self.new[self.old.len() - 1].end);
        };
        let (old, new) = (self.old[index], self.new[index]);
        Some(if address < old.start {
            new.size
        } else if address < old.code {
            new.start
        } else {
            // Within an instruction, where producers never point: the instruction.
            // Those that are rewritten are short.
            (old.code.max(address.saturating_sub(32))..=address)
                .rev()
                .find_map(self.instruction)
                .unwrap_or(new.start)
        })
    }

    /// Maps where a call returns to: the call's end, without what was inserted behind it.
    pub(super) fn after(&self, address: u64) -> Option<u64> {
        let at = self.at(address)?;
        // The call's last byte; or, where its function has another index, its first.
        let end = (address.saturating_sub(16)..address)
            .rev()
            .find_map(|byte| Some((byte, (self.instruction)(byte)?)))
            .and_then(|(byte, new)| match byte + 1 == address {
                true => new.checked_add(1),
                false => self.operator_end(new),
            });
        Some(end.map_or(at, |end| end.min(at)))
    }

    fn operator_end(&self, start: u64) -> Option<u64> {
        let start = usize::try_from(start).ok()?;
        let reader = BinaryReader::new(self.contents.get(start..)?, start);
        let mut operators = OperatorsReader::new(reader);
        operators.read().ok()?;
        Some(operators.original_position() as u64)
    }

    /// Maps a line row's address. A row of the first instruction that is the function's
    /// first row takes the whole entry with it, so that what is inserted there is never
    /// another function's.
    pub(super) fn row(&self, address: u64, previous: Option<usize>) -> Option<u64> {
        match self.function(address) {
            Some(index) if previous != Some(index) && address == self.old[index].code => {
                Some(self.new[index].start)
            }
            _ => self.at(address),
        }
    }
}

fn bodies(contents: &[u8]) -> Result<Vec<Body>, Reason> {
    let damaged = |e: wasmparser::BinaryReaderError| {
        Reason::damaged("code", e.offset() as u64, e.message().to_owned())
    };
    let reader = CodeSectionReader::new(BinaryReader::new(contents, 0)).map_err(damaged)?;
    let mut size = reader.original_position() as u64;
    let mut bodies = Vec::new();
    for body in reader {
        let body = body.map_err(damaged)?;
        let code = body.get_operators_reader().map_err(damaged)?;
        bodies.push(Body {
            size,
            start: body.range().start as u64,
            code: code.original_position() as u64,
            end: body.range().end as u64,
        });
        size = body.range().end as u64;
    }
    Ok(bodies)
}
