//! `.debug_info` and `.debug_types`: the addresses in the attributes, in place.
//!
//! Nothing moves here, so whatever refers to entries by offset stays true: references
//! between entries, `.debug_pubnames`, `.debug_names`. Addresses in expressions are of
//! data, in Wasm of linear memory, and stay; so do Wasm's own operations, because locals,
//! globals and operands keep their numbers.

use std::collections::BTreeMap;

use gimli::{
    Attribute, AttributeValue, Dwarf, EndianSlice, LittleEndian, SectionId, Unit, UnitHeader,
    UnitType, constants,
};

use crate::dwarf::addr::Pool;
use crate::dwarf::code::Code;
use crate::dwarf::lists;
use crate::dwarf::pairs::Pairs;
use crate::dwarf::reason::Reason;

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// The sections that units lead to, being rewritten.
#[derive(Debug)]
pub(super) struct Info<'a, 'c> {
    pub(super) dwarf: &'a Dwarf<Bytes<'a>>,
    pub(super) code: &'a Code<'c>,
    pub(super) info: Vec<u8>,
    pub(super) types: Vec<u8>,
    pub(super) ranges: Pairs<'a>,
    pub(super) locations: Pairs<'a>,
    pub(super) pool: Pool<'a>,
    /// The lists of DWARF 5 that units speak of, by offset.
    pub(super) range_lists: BTreeMap<u64, lists::Unit>,
    pub(super) location_lists: BTreeMap<u64, lists::Unit>,
    /// Offsets into sections whose contents move.
    pub(super) references: Vec<Reference>,
}

/// An attribute that is an offset into a section whose contents move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    field: Field,
    pub(super) target: Target,
    pub(super) old: u64,
}

/// Which section a reference leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Lines,
    Ranges,
    Locations,
}

/// Where an attribute's value is.
#[derive(Clone, Copy, Debug)]
struct Field {
    section: SectionId,
    at: usize,
    len: usize,
}

/// What is known of an entry that attributes of it are relative to.
#[derive(Default)]
struct Entry<'a> {
    low: Option<u64>,
    relative: Vec<(Field, Attribute<Bytes<'a>>)>,
}

impl<'a> Info<'a, '_> {
    /// Rewrites all units, and the lists of DWARF 2 to 4 with them.
    pub(super) fn units(&mut self) -> Result<(), Reason> {
        let mut next = 0;
        let mut units = self.dwarf.units();
        while let Some(header) = units
            .next()
            .map_err(|e| Reason::damaged(SectionId::DebugInfo.name(), next, e))?
        {
            let start = header.offset().0;
            next = (start + header.length_including_self()) as u64;
            self.unit(header)?;
        }
        let mut next = 0;
        let mut units = self.dwarf.type_units();
        while let Some(header) = units
            .next()
            .map_err(|e| Reason::damaged(SectionId::DebugTypes.name(), next, e))?
        {
            let start = header.offset().0;
            next = (start + header.length_including_self()) as u64;
            self.unit(header)?;
        }
        Ok(())
    }

    fn unit(&mut self, header: UnitHeader<Bytes<'a>>) -> Result<(), Reason> {
        let section = header.section();
        let start = header.offset().0;
        let damaged =
            |at: usize| move |e: gimli::Error| Reason::damaged(section.name(), at as u64, e);
        let unsupported = |what| Reason::unsupported(section.name(), start as u64, what);
        let size = header.encoding().address_size;
        if size != 4 && size != 8 {
            return Err(unsupported("addresses of another size than 4 or 8"));
        }
        let split = || Reason::Split {
            section: section.name().to_owned(),
            offset: start as u64,
        };
        if !matches!(
            header.type_(),
            UnitType::Compilation | UnitType::Partial | UnitType::Type { .. }
        ) {
            return Err(split());
        }
        let unit = Unit::new(self.dwarf, header).map_err(damaged(start))?;
        if unit.dwo_id.is_some() {
            return Err(split());
        }
        let mut entries = unit.entries_raw(None).map_err(damaged(start))?;
        while !entries.is_empty() {
            let at = start + entries.next_offset().0;
            let Some(abbreviation) = entries.read_abbreviation().map_err(damaged(at))? else {
                continue;
            };
            let mut entry = Entry::default();
            for specification in abbreviation.attributes() {
                let at = start + entries.next_offset().0;
                let attribute = entries
                    .read_attribute(*specification)
                    .map_err(damaged(at))?;
                if specification.form() == constants::DW_FORM_indirect {
                    return Err(unsupported("a form that is said in the entry"));
                }
                if attribute.name() == constants::DW_AT_GNU_dwo_name
                    || attribute.name() == constants::DW_AT_dwo_name
                {
                    return Err(split());
                }
                let len = start + entries.next_offset().0 - at;
                let field = Field { section, at, len };
                let returns = abbreviation.tag() == constants::DW_TAG_GNU_call_site
                    || attribute.name() == constants::DW_AT_call_return_pc;
                self.attribute(&unit, field, attribute, returns, &mut entry)?;
            }
            for (field, attribute) in std::mem::take(&mut entry.relative) {
                self.relative(field, &attribute, entry.low)?;
            }
        }
        Ok(())
    }

    /// Rewrites one attribute, or keeps it for when the entry's start is known.
    /// `returns` says that an address is where a call returns to.
    fn attribute(
        &mut self,
        unit: &Unit<Bytes<'a>>,
        field: Field,
        attribute: Attribute<Bytes<'a>>,
        returns: bool,
        entry: &mut Entry<'a>,
    ) -> Result<(), Reason> {
        let damaged = |e: gimli::Error| Reason::damaged(field.section.name(), field.at as u64, e);
        let size = unit.encoding().address_size;
        let is_code = matches!(
            attribute.name(),
            constants::DW_AT_low_pc
                | constants::DW_AT_high_pc
                | constants::DW_AT_entry_pc
                | constants::DW_AT_call_pc
                | constants::DW_AT_call_return_pc
        );
        let base = lists::Unit {
            base: unit.low_pc,
            addresses: unit.addr_base.0,
        };
        match attribute.value() {
            AttributeValue::Addr(address) if is_code => {
                if attribute.name() == constants::DW_AT_low_pc {
                    entry.low = Some(address);
                }
                let new = match returns {
                    true => self.code.after(address),
                    false => self.code.at(address),
                };
                if let Some(new) = new {
                    self.put(field, new)?;
                }
            }
            AttributeValue::DebugAddrIndex(index) if is_code => {
                let address = self
                    .pool
                    .code(unit.addr_base.0, index, size, self.code)
                    .map_err(damaged)?;
                if attribute.name() == constants::DW_AT_low_pc {
                    entry.low = Some(address);
                }
            }
            _ if is_code => entry.relative.push((field, attribute)),
            AttributeValue::DebugLineRef(offset) => {
                self.reference(field, Target::Lines, offset.0);
            }
            AttributeValue::DebugRngListsBase(offset) => {
                self.reference(field, Target::Ranges, offset.0);
            }
            AttributeValue::DebugLocListsBase(offset) => {
                self.reference(field, Target::Locations, offset.0);
            }
            AttributeValue::RangeListsRef(offset) => {
                if unit.encoding().version < 5 {
                    return self.ranges.list(offset.0, base.base, size, self.code);
                }
                self.reference(field, Target::Ranges, offset.0);
                list(&mut self.range_lists, field, offset.0, base)?;
            }
            AttributeValue::LocationListsRef(offset) => {
                if unit.encoding().version < 5 {
                    return self.locations.list(offset.0, base.base, size, self.code);
                }
                self.reference(field, Target::Locations, offset.0);
                list(&mut self.location_lists, field, offset.0, base)?;
            }
            AttributeValue::DebugRngListsIndex(index) => {
                let offset = self.dwarf.ranges_offset(unit, index).map_err(damaged)?;
                list(&mut self.range_lists, field, offset.0, base)?;
            }
            AttributeValue::DebugLocListsIndex(index) => {
                let offset = self.dwarf.locations_offset(unit, index).map_err(damaged)?;
                list(&mut self.location_lists, field, offset.0, base)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Rewrites an attribute that is a distance from the entry's start.
    fn relative(
        &mut self,
        field: Field,
        attribute: &Attribute<Bytes<'a>>,
        low: Option<u64>,
    ) -> Result<(), Reason> {
        let (Some(low), Some(old)) = (low, attribute.udata_value()) else {
            return Ok(());
        };
        let ends = low.checked_add(old).and_then(|end| self.code.at(end));
        match (self.code.at(low), ends) {
            (Some(low), Some(end)) if end.saturating_sub(low) != old => match attribute.form() {
                constants::DW_FORM_data1
                | constants::DW_FORM_data2
                | constants::DW_FORM_data4
                | constants::DW_FORM_data8 => self.put(field, end.saturating_sub(low)),
                constants::DW_FORM_udata => self.put_leb(field, end.saturating_sub(low)),
                _ => Err(field.unsupported("a length in a form of no fixed size")),
            },
            _ => Ok(()),
        }
    }

    fn reference(&mut self, field: Field, target: Target, old: usize) {
        self.references.push(Reference {
            field,
            target,
            old: old as u64,
        });
    }

    /// Writes where a reference leads now; `None` is for a place that is not known.
    pub(super) fn resolve(
        &mut self,
        reference: Reference,
        new: Option<&u64>,
    ) -> Result<(), Reason> {
        let Reference { field, old, .. } = reference;
        let Some(new) = new else {
            let e = gimli::Error::OffsetOutOfBounds(old);
            return Err(Reason::damaged(field.section.name(), field.at as u64, e));
        };
        self.put(field, *new)
    }

    fn bytes(&mut self, field: Field) -> &mut [u8] {
        let section = match field.section {
            SectionId::DebugTypes => &mut self.types,
            _ => &mut self.info,
        };
        &mut section[field.at..field.at + field.len]
    }

    /// Writes a value into a field of up to 8 bytes.
    fn put(&mut self, field: Field, value: u64) -> Result<(), Reason> {
        let bytes = value.to_le_bytes();
        match bytes.split_at_checked(field.len) {
            Some((kept, lost)) if lost.iter().all(|byte| *byte == 0) => {
                self.bytes(field).copy_from_slice(kept);
                Ok(())
            }
            _ => Err(field.unsupported("a value that outgrows its form")),
        }
    }

    /// Writes an unsigned LEB128 of as many bytes as it has had.
    fn put_leb(&mut self, field: Field, mut value: u64) -> Result<(), Reason> {
        let bytes = self.bytes(field);
        let last = bytes.len() - 1;
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = (value & 0x7f) as u8 | if index < last { 0x80 } else { 0 };
            value >>= 7;
        }
        match value {
            0 => Ok(()),
            _ => Err(field.unsupported("a value that outgrows its form")),
        }
    }
}

impl Field {
    fn unsupported(self, what: &'static str) -> Reason {
        Reason::unsupported(self.section.name(), self.at as u64, what)
    }
}

/// Notes which unit a list is of.
fn list(
    lists: &mut BTreeMap<u64, lists::Unit>,
    field: Field,
    offset: usize,
    unit: lists::Unit,
) -> Result<(), Reason> {
    match lists.insert(offset as u64, unit) {
        Some(before) if before != unit => {
            Err(field.unsupported("a list that is relative to two bases"))
        }
        _ => Ok(()),
    }
}
