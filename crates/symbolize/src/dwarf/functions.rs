//! Which functions a unit has, and what was inlined into each.
//!
//! The unit's entries are read once, front to back, for the functions; a
//! function's own entries once more when it is first asked about. Neither
//! recurses: how deep entries nest is the file's choice.

use gimli::{Abbreviations, AttributeValue, SectionId, UnitHeader, UnitOffset};

use super::budget::Budget;
use super::data::{Bases, Coverage, Data, Slice, broken};
use crate::Error;

/// Deeper inlining than this is cut off.
const MAX_DEPTH: usize = 256;

/// What every step of reading a unit needs.
pub(crate) struct Reading<'a, 'b> {
    pub(crate) data: &'b Data<'a>,
    pub(crate) header: &'b UnitHeader<Slice<'a>>,
    pub(crate) shapes: &'b Abbreviations,
    pub(crate) bases: &'b Bases,
    /// Bytes of code.
    pub(crate) len: u32,
}

impl Reading<'_, '_> {
    fn at(&self, error: gimli::Error) -> Error {
        let offset = self.header.debug_info_offset().map_or(0, |offset| offset.0);
        broken(SectionId::DebugInfo, offset, error)
    }
}

/// A range of addresses of one function.
#[derive(Debug)]
pub(crate) struct FunctionRange {
    pub(crate) begin: u32,
    pub(crate) end: u32,
    /// The function's entry, as an offset in its unit.
    pub(crate) entry: u32,
}

/// The functions of one unit, sorted by start.
#[derive(Debug, Default)]
pub(crate) struct Functions(Vec<FunctionRange>);

impl Functions {
    /// Reads all entries of a unit. What is broken ends the list.
    pub(crate) fn read(
        unit: &Reading<'_, '_>,
        budget: &mut Budget,
        problem: &mut Option<Error>,
    ) -> Self {
        let mut functions = Self::default();
        if let Err(error) = functions.fill(unit, budget) {
            problem.get_or_insert(error);
        }
        functions.0.sort_by_key(|function| function.begin);
        functions
    }

    fn fill(&mut self, unit: &Reading<'_, '_>, budget: &mut Budget) -> Result<(), Error> {
        let entries = unit.header.entries_raw(unit.shapes, None);
        let mut entries = entries.map_err(|error| unit.at(error))?;
        while !entries.is_empty() {
            let offset = entries.next_offset();
            let shape = entries
                .read_abbreviation()
                .map_err(|error| unit.at(error))?;
            let Some(shape) = shape else {
                budget.step(1)?;
                continue;
            };
            let specs = shape.attributes();
            budget.step(1 + specs.len())?;
            if shape.tag() != gimli::DW_TAG_subprogram {
                entries
                    .skip_attributes(specs)
                    .map_err(|error| unit.at(error))?;
                continue;
            }
            let mut coverage = Coverage::default();
            for spec in specs {
                coverage.note(
                    &entries
                        .read_attribute(*spec)
                        .map_err(|error| unit.at(error))?,
                );
            }
            let before = self.0.len();
            let Reading {
                data,
                header,
                bases,
                len,
                ..
            } = *unit;
            coverage.ranges(data, header, bases, len, budget, |range| {
                // No function is at address 0: there the code section says how
                // many it has. Old linkers leave removed ones there.
                if range.start != 0 {
                    self.0.push(FunctionRange {
                        begin: range.start,
                        end: range.end,
                        entry: offset.0 as u32,
                    });
                }
            })?;
            budget.keep::<FunctionRange>(self.0.len() - before)?;
        }
        Ok(())
    }

    /// Returns the entry of the function at an address.
    pub(crate) fn find(&self, address: u32) -> Option<u32> {
        let past = self.0.partition_point(|it| it.begin <= address);
        let function = self.0.get(past.checked_sub(1)?)?;
        (address < function.end).then_some(function.entry)
    }
}

/// A call that the compiler replaced by the callee's body.
#[derive(Debug)]
pub(crate) struct Inlined {
    /// The callee's entry, as an offset in `.debug_info`, if it is known.
    pub(crate) callee: Option<usize>,
    /// The file of the call by its number in the unit, `u32::MAX` for unknown.
    pub(crate) file: u32,
    /// Its line and column, zero for unknown.
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A range of addresses of one inlined call.
#[derive(Debug)]
struct InlinedRange {
    /// How many inlined calls are around this one.
    depth: u32,
    begin: u32,
    end: u32,
    call: u32,
}

/// The calls that were inlined into one function.
#[derive(Debug, Default)]
pub(crate) struct InlinedCalls {
    calls: Vec<Inlined>,
    /// Sorted by depth, then by start.
    ranges: Vec<InlinedRange>,
}

impl InlinedCalls {
    /// Reads the entries of the function at `entry` of its unit.
    pub(crate) fn read(
        unit: &Reading<'_, '_>,
        entry: u32,
        budget: &mut Budget,
        problem: &mut Option<Error>,
    ) -> Self {
        let mut calls = Self::default();
        if let Err(error) = calls.fill(unit, entry, budget) {
            problem.get_or_insert(error);
        }
        calls.ranges.sort_by_key(|range| (range.depth, range.begin));
        calls
    }

    fn fill(
        &mut self,
        unit: &Reading<'_, '_>,
        entry: u32,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        let offset = UnitOffset(entry as usize);
        let entries = unit.header.entries_raw(unit.shapes, Some(offset));
        let mut entries = entries.map_err(|error| unit.at(error))?;
        // The levels of the inlined calls around the entry being read.
        let mut around: Vec<isize> = Vec::new();
        // The level of a function within this one; its entries are not ours.
        let mut other: Option<isize> = None;
        let mut is_function = true;
        while !entries.is_empty() {
            let level = entries.next_depth();
            if level <= 0 && !is_function {
                break;
            }
            let shape = entries
                .read_abbreviation()
                .map_err(|error| unit.at(error))?;
            let Some(shape) = shape else {
                budget.step(1)?;
                continue;
            };
            let specs = shape.attributes();
            budget.step(1 + specs.len())?;
            if other.is_some_and(|other| level <= other) {
                other = None;
            }
            while around.last().is_some_and(|&around| level <= around) {
                around.pop();
            }
            let tag = shape.tag();
            if tag == gimli::DW_TAG_inlined_subroutine && other.is_none() {
                if around.len() == MAX_DEPTH {
                    return Err(Error::TooMuchWork);
                }
                let depth = around.len() as u32;
                around.push(level);
                let mut coverage = Coverage::default();
                let mut call = Inlined {
                    callee: None,
                    file: u32::MAX,
                    line: 0,
                    column: 0,
                };
                for spec in specs {
                    let read = entries.read_attribute(*spec);
                    let attribute = read.map_err(|error| unit.at(error))?;
                    coverage.note(&attribute);
                    call.note(unit, &attribute);
                }
                self.add(unit, &coverage, call, depth, budget)?;
                continue;
            }
            if tag == gimli::DW_TAG_subprogram && !is_function && other.is_none() {
                other = Some(level);
            }
            is_function = false;
            entries
                .skip_attributes(specs)
                .map_err(|error| unit.at(error))?;
        }
        Ok(())
    }

    fn add<'a>(
        &mut self,
        unit: &Reading<'a, '_>,
        coverage: &Coverage<'a>,
        call: Inlined,
        depth: u32,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        let Reading {
            data,
            header,
            bases,
            len,
            ..
        } = *unit;
        let (number, before) = (self.calls.len() as u32, self.ranges.len());
        coverage.ranges(data, header, bases, len, budget, |range| {
            self.ranges.push(InlinedRange {
                depth,
                begin: range.start,
                end: range.end,
                call: number,
            });
        })?;
        budget.keep::<InlinedRange>(self.ranges.len() - before)?;
        budget.keep::<Inlined>(1)?;
        self.calls.push(call);
        Ok(())
    }

    /// Returns the inlined calls around an address, the outermost first.
    pub(crate) fn find(&self, address: u32) -> impl Iterator<Item = &Inlined> {
        (0..).map_while(move |depth| {
            let key = (depth, address);
            let past = self
                .ranges
                .partition_point(|it| (it.depth, it.begin) <= key);
            let range = self.ranges.get(past.checked_sub(1)?)?;
            if range.depth != depth || address >= range.end {
                return None;
            }
            self.calls.get(range.call as usize)
        })
    }
}

impl Inlined {
    /// Takes what an attribute says of the call.
    fn note(&mut self, unit: &Reading<'_, '_>, attribute: &gimli::Attribute<Slice<'_>>) {
        let number = |value: AttributeValue<_>| {
            let number = match value {
                AttributeValue::FileIndex(number) => Some(number),
                other => other.udata_value(),
            };
            number.and_then(|number| u32::try_from(number).ok())
        };
        let value = attribute.value();
        match attribute.name() {
            gimli::DW_AT_call_file => self.file = number(value).unwrap_or(u32::MAX),
            gimli::DW_AT_call_line => self.line = number(value).unwrap_or(0),
            gimli::DW_AT_call_column => self.column = number(value).unwrap_or(0),
            gimli::DW_AT_abstract_origin => {
                self.callee = reference(unit.header, &value);
            }
            _ => {}
        }
    }
}

/// Returns where in `.debug_info` a reference to another entry leads.
pub(crate) fn reference(
    header: &UnitHeader<Slice<'_>>,
    value: &AttributeValue<Slice<'_>>,
) -> Option<usize> {
    match value {
        AttributeValue::UnitRef(offset) => Some(offset.to_debug_info_offset(header)?.0),
        AttributeValue::DebugInfoRef(offset) => Some(offset.0),
        _ => None,
    }
}
