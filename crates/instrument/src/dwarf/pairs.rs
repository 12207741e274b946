//! `.debug_ranges` and `.debug_loc`, of DWARF 2 to 4: pairs of addresses, in place.
//!
//! ```text
//!   begin, end            a range; relative to the base, which is the unit's DW_AT_low_pc at first
//!   -1,    base           another base for what follows
//!   0,     0              the end of the list
//! ```
//!
//! A pair of `.debug_loc` that is a range has its expression behind it: two bytes of
//! length, and bytes that stay as they are.

use std::collections::HashMap;

use gimli::{EndianSlice, LittleEndian, Reader as _};

use crate::dwarf::code::Code;
use crate::dwarf::reason::Reason;

/// One of the two sections, being rewritten.
#[derive(Debug)]
pub(super) struct Pairs<'a> {
    name: &'static str,
    old: &'a [u8],
    /// The section's contents, with the lists so far rewritten.
    pub(super) new: Vec<u8>,
    /// Under which base each pair was rewritten. Lists may share their ends.
    seen: HashMap<usize, u64>,
    expressions: bool,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(name: &'static str, old: &'a [u8], expressions: bool) -> Self {
        Self {
            name,
            old,
            new: old.to_vec(),
            seen: HashMap::new(),
            expressions,
        }
    }

    /// Rewrites the list at `offset`, of a unit that starts at `base`.
    pub(super) fn list(
        &mut self,
        offset: usize,
        mut base: u64,
        address_size: u8,
        code: &Code<'_>,
    ) -> Result<(), Reason> {
        let highest = u64::MAX >> (64 - 8 * u32::from(address_size));
        let size = usize::from(address_size);
        let mut bytes = EndianSlice::new(self.old, LittleEndian);
        let whole = bytes;
        let damaged = |at: usize, e: gimli::Error| Reason::damaged(self.name, at as u64, e);
        bytes.skip(offset).map_err(|e| damaged(offset, e))?;
        loop {
            let at = bytes.offset_from(whole);
            match self.seen.insert(at, base) {
                Some(before) if before == base => return Ok(()),
                Some(_) => {
                    let what = "a list that is relative to two bases";
                    return Err(Reason::unsupported(self.name, at as u64, what));
                }
                None => {}
            }
            let begin = bytes
                .read_address(address_size)
                .map_err(|e| damaged(at, e))?;
            let end = bytes
                .read_address(address_size)
                .map_err(|e| damaged(at, e))?;
            let mut put = |begin: u64, end: u64| {
                self.new[at..at + size].copy_from_slice(&begin.to_le_bytes()[..size]);
                self.new[at + size..at + 2 * size].copy_from_slice(&end.to_le_bytes()[..size]);
            };
            if (begin, end) == (0, 0) {
                return Ok(());
            }
            if begin == highest {
                base = end;
                put(begin, code.at(base).unwrap_or(base));
                continue;
            }
            if let Some((begin, end)) = relative(begin, end, base, highest, code) {
                // What had no length keeps none, and does not become the list's end.
                let (begin, end) = if end == 0 { (1, 1) } else { (begin, end) };
                put(begin, end);
            }
            if self.expressions {
                bytes
                    .read_u16()
                    .and_then(|length| bytes.skip(length.into()))
                    .map_err(|e| damaged(at, e))?;
            }
        }
    }
}

/// Maps a range that is relative to `base`; `None` is for one of no code, which stays.
pub(super) fn relative(
    begin: u64,
    end: u64,
    base: u64,
    highest: u64,
    code: &Code<'_>,
) -> Option<(u64, u64)> {
    // The last two addresses are tombstones.
    if base >= highest - 1 || begin >= highest - 1 {
        return None;
    }
    let new_base = code.at(base).unwrap_or(base);
    let map = |offset: u64| {
        let new = code.at(base.checked_add(offset)?)?.checked_sub(new_base)?;
        (new <= highest).then_some(new)
    };
    Some((map(begin)?, map(end)?))
}
