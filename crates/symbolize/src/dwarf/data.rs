//! The sections of one module's DWARF, for as long as a question lasts, and the
//! few ways in which its values refer to each other.
//!
//! Only ranges are kept between questions, so nothing borrows from the file.

use std::ops::Range;
use std::sync::Arc;

use gimli::{
    AttributeValue, DebugAddrBase, DebugRngListsBase, DebugStrOffsetsBase, EndianSlice,
    LittleEndian, RangeListsOffset, Section, SectionId, UnitHeader,
};

use super::budget::Budget;
use crate::Error;
use crate::layout::Sections;

/// A piece of a section. Wasm is little-endian.
pub(crate) type Slice<'a> = EndianSlice<'a, LittleEndian>;
/// All sections.
pub(crate) type Data<'a> = gimli::Dwarf<Slice<'a>>;
/// An attribute's value.
pub(crate) type Value<'a> = AttributeValue<Slice<'a>>;

/// Longer strings than this are no names and no paths.
const MAX_TEXT: usize = 64 << 10;

/// Makes the sections of one module ready to be read.
pub(crate) fn data<'a>(bytes: &'a [u8], sections: &Sections) -> Data<'a> {
    let section = |id: SectionId| -> Result<Slice<'a>, std::convert::Infallible> {
        let range = sections.debug(id).cloned().unwrap_or_default();
        Ok(Slice::new(
            bytes.get(range).unwrap_or_default(),
            LittleEndian,
        ))
    };
    match Data::load(section) {
        Ok(data) => data,
        Err(never) => match never {},
    }
}

/// Makes an error of what gimli says about a section.
pub(crate) fn broken(section: SectionId, offset: usize, error: gimli::Error) -> Error {
    Error::Dwarf {
        section: section.name(),
        offset,
        reason: error.to_string(),
    }
}

/// Where a unit's indirect values start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bases {
    pub(crate) str_offsets: DebugStrOffsetsBase<usize>,
    pub(crate) addr: DebugAddrBase<usize>,
    pub(crate) rng_lists: DebugRngListsBase<usize>,
    /// What addresses in old range lists count from.
    pub(crate) low_pc: u64,
}

/// A string in some section, kept as its place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Text {
    #[default]
    None,
    Str(u32),
    LineStr(u32),
    /// In the line program's header.
    Line(u32),
    Index(u32),
}

impl Text {
    /// Notes where the string of an attribute in `.debug_line` is.
    pub(crate) fn of_line(data: &Data<'_>, value: &Value<'_>) -> Self {
        let place = |offset: usize| u32::try_from(offset).ok();
        match value {
            AttributeValue::String(text) => {
                let section = *data.debug_line.reader();
                place(text.offset_from(section)).map(Self::Line)
            }
            AttributeValue::DebugStrRef(offset) => place(offset.0).map(Self::Str),
            AttributeValue::DebugLineStrRef(offset) => place(offset.0).map(Self::LineStr),
            AttributeValue::DebugStrOffsetsIndex(index) => place(index.0).map(Self::Index),
            _ => None,
        }
        .unwrap_or_default()
    }

    /// Reads the string.
    pub(crate) fn read(
        self,
        data: &Data<'_>,
        header: &UnitHeader<Slice<'_>>,
        bases: &Bases,
    ) -> Option<Arc<str>> {
        let (section, offset) = match self {
            Self::None => return None,
            Self::Str(offset) => (*data.debug_str.reader(), offset as usize),
            Self::LineStr(offset) => (*data.debug_line_str.reader(), offset as usize),
            Self::Line(offset) => (*data.debug_line.reader(), offset as usize),
            Self::Index(index) => {
                let index = gimli::DebugStrOffsetsIndex(index as usize);
                return text(
                    data,
                    header,
                    bases,
                    &AttributeValue::DebugStrOffsetsIndex(index),
                );
            }
        };
        Some(terminated(section.slice(), offset)?.into())
    }
}

/// Reads the string that an attribute of a debugging entry is or refers to.
pub(crate) fn text(
    data: &Data<'_>,
    header: &UnitHeader<Slice<'_>>,
    bases: &Bases,
    value: &Value<'_>,
) -> Option<Arc<str>> {
    let in_str = |offset| terminated(data.debug_str.reader().slice(), offset);
    let text = match value {
        AttributeValue::String(text) => {
            String::from_utf8_lossy(text.slice().get(..text.len().min(MAX_TEXT))?)
        }
        AttributeValue::DebugStrRef(offset) => in_str(offset.0)?,
        AttributeValue::DebugLineStrRef(offset) => {
            terminated(data.debug_line_str.reader().slice(), offset.0)?
        }
        AttributeValue::DebugStrOffsetsIndex(index) => {
            let offsets = &data.debug_str_offsets;
            let offset = offsets.get_str_offset(header.format(), bases.str_offsets, *index);
            in_str(offset.ok()?.0)?
        }
        _ => return None,
    };
    Some(text.into())
}

/// Reads the zero-terminated string at `offset`, if it is not absurdly long.
fn terminated(section: &[u8], offset: usize) -> Option<std::borrow::Cow<'_, str>> {
    let rest = section.get(offset..)?;
    let near = &rest[..rest.len().min(MAX_TEXT)];
    let len = near.iter().position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(&near[..len]))
}

/// The attributes of an entry that say which addresses it covers.
#[derive(Default)]
pub(crate) struct Coverage<'a> {
    low: Option<Value<'a>>,
    high: Option<Value<'a>>,
    list: Option<Value<'a>>,
}

impl<'a> Coverage<'a> {
    /// Notes an attribute, if it is one of them.
    pub(crate) fn note(&mut self, attribute: &gimli::Attribute<Slice<'a>>) {
        match attribute.name() {
            // Some writers have a number there, which says nothing.
            gimli::DW_AT_low_pc => self.low = Some(attribute.value()).filter(is_address),
            gimli::DW_AT_high_pc => self.high = Some(attribute.value()),
            gimli::DW_AT_ranges => self.list = Some(attribute.value()),
            _ => {}
        }
    }

    /// Tells whether the entry says what it covers, be it nothing.
    pub(crate) fn is_stated(&self) -> bool {
        self.list.is_some() || (self.low.is_some() && self.high.is_some())
    }

    /// Returns the lowest address as it is written.
    pub(crate) fn low(
        &self,
        data: &Data<'a>,
        header: &UnitHeader<Slice<'a>>,
        addr: DebugAddrBase<usize>,
    ) -> Option<u64> {
        address(data, header, addr, self.low.as_ref()?)
    }

    /// Calls `each` with every range that is not empty and starts within `len`
    /// bytes of code. Linkers move what they removed beyond that.
    pub(crate) fn ranges(
        &self,
        data: &Data<'a>,
        header: &UnitHeader<Slice<'a>>,
        bases: &Bases,
        len: u32,
        budget: &mut Budget,
        mut each: impl FnMut(Range<u32>),
    ) -> Result<(), Error> {
        let mut add = |begin: u64, end: u64| {
            if begin < end && begin < u64::from(len) {
                // Both fit: the code section is shorter than 4 GiB.
                each(begin as u32..end.min(u64::from(len)) as u32);
            }
        };
        let Some(list) = &self.list else {
            let low = self.low(data, header, bases.addr);
            let high = self.high.as_ref();
            if let (Some(begin), Some(high)) = (low, high) {
                let end = match high.udata_value() {
                    Some(size) => begin.checked_add(size),
                    None => address(data, header, bases.addr, high),
                };
                add(begin, end.unwrap_or(0));
            }
            return Ok(());
        };
        let encoding = header.encoding();
        let at = |error| broken(SectionId::DebugRanges, 0, error);
        let offset = match *list {
            AttributeValue::RangeListsRef(offset) => RangeListsOffset(offset.0),
            AttributeValue::DebugRngListsIndex(index) => data
                .ranges
                .get_offset(encoding, bases.rng_lists, index)
                .map_err(at)?,
            _ => return Ok(()),
        };
        let at = |error| {
            let old = encoding.version <= 4;
            let section = if old {
                SectionId::DebugRanges
            } else {
                SectionId::DebugRngLists
            };
            broken(section, offset.0, error)
        };
        let mut list = data
            .ranges
            .ranges(offset, encoding, bases.low_pc, &data.debug_addr, bases.addr)
            .map_err(at)?;
        // Raw entries, so that each one is paid for.
        while let Some(raw) = list.next_raw().map_err(at)? {
            budget.step(1)?;
            if let Some(range) = list.convert_raw(raw).map_err(at)? {
                add(range.begin, range.end);
            }
        }
        Ok(())
    }
}

/// Tells whether a value is of a form that addresses have.
fn is_address(value: &Value<'_>) -> bool {
    matches!(
        value,
        AttributeValue::Addr(_) | AttributeValue::DebugAddrIndex(_)
    )
}

/// Reads an address, or the address that an index refers to.
fn address<'a>(
    data: &Data<'a>,
    header: &UnitHeader<Slice<'a>>,
    base: DebugAddrBase<usize>,
    value: &Value<'a>,
) -> Option<u64> {
    match *value {
        AttributeValue::Addr(address) => Some(address),
        AttributeValue::DebugAddrIndex(index) => {
            let size = header.address_size();
            data.debug_addr.get_address(size, base, index).ok()
        }
        _ => None,
    }
}
