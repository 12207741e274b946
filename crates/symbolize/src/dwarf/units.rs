//! Which unit of `.debug_info` covers an address.
//!
//! Reads each unit's header and first entry and nothing more. `.debug_aranges`
//! is not used: many producers leave units out of it, so the units have to be
//! looked at anyway.

use std::ops::Range;

use gimli::{
    AttributeValue, DebugInfoOffset, DebugRngListsBase, DebugStrOffsetsBase, DwarfFileType,
    SectionId, UnitHeader, UnitType,
};

use super::abbreviations;
use super::budget::Budget;
use super::data::{Bases, Coverage, Data, Slice, Value, broken};
use crate::Error;

/// Ranges looked at for one address. Honest units do not overlap, but for those
/// that old linkers removed and left at address 0.
const MAX_LOOKED_AT: usize = 4096;
/// Units tried for one address.
const MAX_COVERING: usize = 16;

/// The units of one module, and what each covers.
#[derive(Debug, Default)]
pub(crate) struct Units {
    /// Where each unit starts in `.debug_info`, ascending.
    offsets: Vec<usize>,
    /// Sorted by start.
    ranges: Vec<UnitRange>,
    /// Units that do not say what they cover; only their lines tell.
    pub(crate) silent: Vec<u32>,
}

/// One range of addresses that a unit covers.
#[derive(Debug)]
struct UnitRange {
    begin: u32,
    end: u32,
    unit: u32,
    /// The largest end of this range and those before it, so that a search
    /// backwards knows when to stop.
    max_end: u32,
}

/// The first entry of a unit.
pub(crate) struct Root<'a> {
    pub(crate) bases: Bases,
    pub(crate) name: Option<Value<'a>>,
    pub(crate) comp_dir: Option<Value<'a>>,
    pub(crate) line_program: Option<usize>,
    coverage: Coverage<'a>,
}

impl Units {
    /// Lists the units, and what they cover of `len` bytes of code. Stops at the
    /// first header that is broken; skips units whose first entry is.
    pub(crate) fn read(
        data: &Data<'_>,
        len: u32,
        budget: &mut Budget,
        problem: &mut Option<Error>,
    ) -> Self {
        let mut units = Self::default();
        if let Err(error) = units.fill(data, len, budget, problem) {
            problem.get_or_insert(error);
        }
        units.sort();
        units
    }

    fn fill(
        &mut self,
        data: &Data<'_>,
        len: u32,
        budget: &mut Budget,
        problem: &mut Option<Error>,
    ) -> Result<(), Error> {
        let mut headers = data.units();
        let mut next = 0;
        while let Some(header) = headers
            .next()
            .map_err(|error| broken(SectionId::DebugInfo, next, error))?
        {
            budget.step(1)?;
            budget.keep::<usize>(1)?;
            let offset = next;
            next += header.length_including_self();
            let unit = self.offsets.len() as u32;
            self.offsets.push(offset);
            if !matches!(
                header.type_(),
                UnitType::Compilation | UnitType::Skeleton(_)
            ) {
                continue;
            }
            match self.add(data, &header, unit, len, budget) {
                Err(Error::TooMuchWork) => return Err(Error::TooMuchWork),
                Err(error) => {
                    problem.get_or_insert(error);
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        data: &Data<'_>,
        header: &UnitHeader<Slice<'_>>,
        unit: u32,
        len: u32,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        let root = Root::read(data, header, budget)?;
        let before = self.ranges.len();
        let Root {
            bases, coverage, ..
        } = &root;
        let ranges = &mut self.ranges;
        coverage.ranges(data, header, bases, len, budget, |range| {
            ranges.push(UnitRange::new(range, unit));
        })?;
        budget.keep::<UnitRange>(self.ranges.len() - before)?;
        if self.ranges.len() == before && !coverage.is_stated() && root.line_program.is_some() {
            self.silent.push(unit);
        }
        Ok(())
    }

    /// Adds ranges of silent units that their lines have told.
    pub(crate) fn extend(&mut self, unit: u32, ranges: impl Iterator<Item = Range<u32>>) {
        self.ranges
            .extend(ranges.map(|range| UnitRange::new(range, unit)));
        self.sort();
    }

    fn sort(&mut self) {
        self.ranges.sort_by_key(|range| range.begin);
        let mut max = 0;
        for range in &mut self.ranges {
            max = max.max(range.end);
            range.max_end = max;
        }
    }

    /// Returns the units that cover `address`, the closest start first. Usually
    /// there is one.
    pub(crate) fn covering(&self, address: u32) -> impl Iterator<Item = u32> {
        let past = self.ranges.partition_point(|range| range.begin <= address);
        let before = self.ranges[..past].iter().rev();
        before
            .take_while(move |range| range.max_end > address)
            .take(MAX_LOOKED_AT)
            .filter(move |range| range.end > address)
            .map(|range| range.unit)
            .take(MAX_COVERING)
    }

    /// Reads the header of a unit again.
    pub(crate) fn header<'a>(
        &self,
        data: &Data<'a>,
        unit: u32,
    ) -> Result<UnitHeader<Slice<'a>>, Error> {
        let offset = self
            .offsets
            .get(unit as usize)
            .copied()
            .unwrap_or(usize::MAX);
        data.unit_header(DebugInfoOffset(offset))
            .map_err(|error| broken(SectionId::DebugInfo, offset, error))
    }

    /// Returns the unit that has the entry at `offset` of `.debug_info`.
    pub(crate) fn at(&self, offset: usize) -> Option<u32> {
        let past = self.offsets.partition_point(|&start| start <= offset);
        past.checked_sub(1).map(|unit| unit as u32)
    }
}

impl UnitRange {
    fn new(range: Range<u32>, unit: u32) -> Self {
        Self {
            begin: range.start,
            end: range.end,
            unit,
            max_end: 0,
        }
    }
}

impl<'a> Root<'a> {
    /// Reads the first entry of a unit.
    pub(crate) fn read(
        data: &Data<'a>,
        header: &UnitHeader<Slice<'a>>,
        budget: &mut Budget,
    ) -> Result<Self, Error> {
        let offset = header.debug_info_offset().map_or(0, |offset| offset.0);
        let at = |error| broken(SectionId::DebugInfo, offset, error);
        let shapes = abbreviations::of_root(data, header, budget)?;
        let mut entries = header.entries_raw(&shapes, None).map_err(at)?;
        let shape = entries.read_abbreviation().map_err(at)?;
        let shape = shape.ok_or_else(|| at(gimli::Error::MissingUnitDie))?;
        budget.step(shape.attributes().len())?;

        let (encoding, main) = (header.encoding(), DwarfFileType::Main);
        let mut root = Self {
            bases: Bases {
                str_offsets: DebugStrOffsetsBase::default_for_encoding_and_file(encoding, main),
                addr: gimli::DebugAddrBase(0),
                rng_lists: DebugRngListsBase::default_for_encoding_and_file(encoding, main),
                low_pc: 0,
            },
            name: None,
            comp_dir: None,
            line_program: None,
            coverage: Coverage::default(),
        };
        for spec in shape.attributes() {
            let attribute = entries.read_attribute(*spec).map_err(at)?;
            root.coverage.note(&attribute);
            match (attribute.name(), attribute.value()) {
                (gimli::DW_AT_name, value) => root.name = Some(value),
                (gimli::DW_AT_comp_dir, value) => root.comp_dir = Some(value),
                (gimli::DW_AT_stmt_list, AttributeValue::DebugLineRef(program)) => {
                    root.line_program = Some(program.0);
                }
                (_, AttributeValue::DebugStrOffsetsBase(base)) => root.bases.str_offsets = base,
                (_, AttributeValue::DebugAddrBase(base)) => root.bases.addr = base,
                (_, AttributeValue::DebugRngListsBase(base)) => root.bases.rng_lists = base,
                _ => {}
            }
        }
        let low = root.coverage.low(data, header, root.bases.addr);
        root.bases.low_pc = low.unwrap_or(0);
        Ok(root)
    }
}
