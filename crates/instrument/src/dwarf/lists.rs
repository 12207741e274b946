//! `.debug_rnglists` and `.debug_loclists`, of DWARF 5: lists of entries of many kinds.
//!
//! ```text
//!   a contribution:  length, version, address size, segment size, count | offsets | list list ...
//!                                                                       ^ base
//! ```
//!
//! Entries have lengths and distances in LEB128, so lists move; the offsets that lead to
//! them follow. Each list is read with what its unit says: its start, which distances are
//! relative to, and where its addresses are in `.debug_addr`. A list that no unit speaks
//! of has no meaning; it is copied.

use std::collections::{BTreeMap, HashMap};

use gimli::{EndianSlice, LittleEndian, Reader as _, constants};

use crate::dwarf::addr::Pool;
use crate::dwarf::code::Code;
use crate::dwarf::line::leb;
use crate::dwarf::pairs::relative;
use crate::dwarf::reason::Reason;

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// What a list's unit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// The unit's start.
    pub(super) base: u64,
    /// Where its part of `.debug_addr` starts.
    pub(super) addresses: usize,
}

/// Which of the two sections: their entries differ in kinds and in expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ranges,
    Locations,
}

impl Kind {
    pub(super) fn section(self) -> &'static str {
        match self {
            Self::Ranges => ".debug_rnglists",
            Self::Locations => ".debug_loclists",
        }
    }
}

/// One of the two sections, rewritten.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) bytes: Vec<u8>,
    /// Where each list and each base went, by where it was.
    pub(super) moved: HashMap<u64, u64>,
}

/// Rewrites a section, given the units of the lists, by offset in the section.
pub(super) fn rewrite(
    kind: Kind,
    section: &[u8],
    units: &BTreeMap<u64, Unit>,
    pool: &mut Pool<'_>,
    code: &Code<'_>,
) -> Result<Lists, Reason> {
    let whole = EndianSlice::new(section, LittleEndian);
    let mut rest = whole;
    let mut lists = Lists::default();
    while !rest.is_empty() {
        let mut at = rest.offset_from(whole);
        contribution(
            kind, &mut rest, whole, &mut at, units, &mut lists, pool, code,
        )
        .map_err(|e| Reason::damaged(kind.section(), at as u64, e))?;
    }
    Ok(lists)
}

/// What an entry is read and written with.
struct Context<'a, 'p, 'c> {
    kind: Kind,
    address_size: u8,
    pool: &'a mut Pool<'p>,
    code: &'a Code<'c>,
}

/// Rewrites one contribution. `at` says how far it came.
#[expect(
    clippy::too_many_arguments,
    reason = "one call, and each is another thing"
)]
fn contribution(
    kind: Kind,
    rest: &mut Bytes<'_>,
    whole: Bytes<'_>,
    at: &mut usize,
    units: &BTreeMap<u64, Unit>,
    lists: &mut Lists,
    pool: &mut Pool<'_>,
    code: &Code<'_>,
) -> Result<(), gimli::Error> {
    let start = *rest;
    let (length, format) = rest.read_initial_length()?;
    let length_len = rest.offset_from(start);
    let mut bytes = rest.split(length)?;
    let version = bytes.read_u16()?;
    if version != 5 {
        return Err(gimli::Error::UnknownVersion(version.into()));
    }
    let address_size = bytes.read_u8()?;
    if address_size != 4 && address_size != 8 {
        return Err(gimli::Error::UnsupportedAddressSize(address_size));
    }
    bytes.skip(1)?;
    let count = bytes.read_u32()?;
    let base = bytes.offset_from(whole) as u64;
    let header_len = bytes.offset_from(start);
    let mut offsets = Vec::new();
    for _ in 0..count {
        offsets.push(bytes.read_offset(format)? as u64);
    }

    let new = lists.bytes.len();
    let out = &mut lists.bytes;
    out.extend_from_slice(&start.slice()[..header_len]);
    let new_base = out.len();
    let word = usize::from(format.word_size());
    out.resize(new_base + offsets.len() * word, 0);
    lists.moved.insert(base, new_base as u64);
    let mut context = Context {
        kind,
        address_size,
        pool,
        code,
    };
    while !bytes.is_empty() {
        *at = bytes.offset_from(whole);
        lists.moved.insert(*at as u64, out.len() as u64);
        let mut unit = units.get(&(*at as u64)).copied();
        while context.entry(&mut bytes, unit.as_mut(), out)? {}
    }

    let mut put = |at: usize, value: u64| {
        let fits = word == 8 || value < 0xffff_fff0;
        out[at..at + word].copy_from_slice(&value.to_le_bytes()[..word]);
        fits.then_some(()).ok_or(gimli::Error::AddressOverflow)
    };
    for (index, offset) in offsets.into_iter().enumerate() {
        let list = base.checked_add(offset).and_then(|at| lists.moved.get(&at));
        let list = list.ok_or(gimli::Error::OffsetOutOfBounds(offset))?;
        let distance = list
            .checked_sub(new_base as u64)
            .ok_or(gimli::Error::OffsetOutOfBounds(offset))?;
        put(new_base + index * word, distance)?;
    }
    let unit_len = (lists.bytes.len() - new - length_len) as u64;
    let field = new + length_len - word;
    lists.bytes[field..field + word].copy_from_slice(&unit_len.to_le_bytes()[..word]);
    Ok(())
}

impl Context<'_, '_, '_> {
    /// Rewrites one entry; tells whether there are more in the list. Without a unit it
    /// is copied.
    fn entry(
        &mut self,
        bytes: &mut Bytes<'_>,
        unit: Option<&mut Unit>,
        out: &mut Vec<u8>,
    ) -> Result<bool, gimli::Error> {
        let start = *bytes;
        let kind = bytes.read_u8()?;
        // The kinds of locations; ranges have the same without the default.
        let location = match self.kind {
            Kind::Ranges if kind >= 5 => kind.saturating_add(1),
            _ => kind,
        };
        let size = self.address_size;
        let (first, second) = match constants::DwLle(location) {
            constants::DW_LLE_end_of_list => {
                out.push(kind);
                return Ok(false);
            }
            constants::DW_LLE_base_addressx => (bytes.read_uleb128()?, 0),
            constants::DW_LLE_startx_endx
            | constants::DW_LLE_startx_length
            | constants::DW_LLE_offset_pair => (bytes.read_uleb128()?, bytes.read_uleb128()?),
            constants::DW_LLE_default_location => (0, 0),
            constants::DW_LLE_base_address => (bytes.read_address(size)?, 0),
            constants::DW_LLE_start_end => (bytes.read_address(size)?, bytes.read_address(size)?),
            constants::DW_LLE_start_length => (bytes.read_address(size)?, bytes.read_uleb128()?),
            _ if self.kind == Kind::Ranges => {
                return Err(gimli::Error::UnknownRangeListsEntry(constants::DwRle(kind)));
            }
            _ => return Err(gimli::Error::UnknownLocListsEntry(constants::DwLle(kind))),
        };
        let copied = &start.slice()[..bytes.offset_from(start)];
        match unit {
            Some(unit) => self.addresses(location, first, second, copied, unit, out)?,
            None => out.extend_from_slice(copied),
        }
        let base = matches!(
            constants::DwLle(location),
            constants::DW_LLE_base_addressx | constants::DW_LLE_base_address
        );
        if self.kind == Kind::Locations && !base {
            let expression = *bytes;
            let length = bytes.read_uleb128()?;
            bytes.skip(usize::try_from(length).unwrap_or(usize::MAX))?;
            out.extend_from_slice(&expression.slice()[..bytes.offset_from(expression)]);
        }
        Ok(true)
    }

    /// Rewrites the addresses of an entry, its kind included.
    fn addresses(
        &mut self,
        location: u8,
        first: u64,
        second: u64,
        copied: &[u8],
        unit: &mut Unit,
        out: &mut Vec<u8>,
    ) -> Result<(), gimli::Error> {
        let size = usize::from(self.address_size);
        let highest = u64::MAX >> (64 - 8 * u32::from(self.address_size));
        let code = self.code;
        let range = |begin: u64, end: Option<u64>| Some((code.at(begin)?, code.at(end?)?));
        let kind = &copied[..1];
        match constants::DwLle(location) {
            constants::DW_LLE_base_addressx => {
                unit.base = self.pooled(unit, first)?;
                out.extend_from_slice(copied);
            }
            constants::DW_LLE_startx_endx => {
                self.pooled(unit, first)?;
                self.pooled(unit, second)?;
                out.extend_from_slice(copied);
            }
            constants::DW_LLE_startx_length => {
                let begin = self.pooled(unit, first)?;
                let length = range(begin, begin.checked_add(second))
                    .map_or(second, |(begin, end)| end.saturating_sub(begin));
                out.extend_from_slice(kind);
                leb(first, out);
                leb(length, out);
            }
            constants::DW_LLE_offset_pair => {
                match relative(first, second, unit.base, highest, code) {
                    Some((begin, end)) => {
                        out.extend_from_slice(kind);
                        leb(begin, out);
                        leb(end, out);
                    }
                    None => out.extend_from_slice(copied),
                }
            }
            constants::DW_LLE_base_address => {
                unit.base = first;
                let new = code.at(first).unwrap_or(first);
                out.extend_from_slice(kind);
                out.extend_from_slice(&new.to_le_bytes()[..size]);
            }
            constants::DW_LLE_start_end => {
                let (begin, end) = range(first, Some(second)).unwrap_or((first, second));
                out.extend_from_slice(kind);
                out.extend_from_slice(&begin.to_le_bytes()[..size]);
                out.extend_from_slice(&end.to_le_bytes()[..size]);
            }
            constants::DW_LLE_start_length => {
                let (begin, length) = range(first, first.checked_add(second))
                    .map_or((first, second), |(begin, end)| {
                        (begin, end.saturating_sub(begin))
                    });
                out.extend_from_slice(kind);
                out.extend_from_slice(&begin.to_le_bytes()[..size]);
                leb(length, out);
            }
            _ => out.extend_from_slice(copied),
        }
        Ok(())
    }

    fn pooled(&mut self, unit: &Unit, index: u64) -> Result<u64, gimli::Error> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let index = gimli::DebugAddrIndex(index);
        self.pool
            .code(unit.addresses, index, self.address_size, self.code)
    }
}
