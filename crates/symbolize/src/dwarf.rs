//! The DWARF of one module: from an address to source frames.
//!
//! Tables are made when first needed and kept: the list of units at the first
//! question, a unit's functions and lines when it is first asked about, a
//! function's inlined calls likewise. They hold numbers and offsets only. All
//! loops are paid from one [`Budget`], so that a hostile file ends early.

use std::collections::HashMap;
use std::sync::Arc;

use gimli::{DebugInfoOffset, SectionId};

use crate::Error;
use crate::demangle::demangle;
use crate::layout::Sections;

mod abbreviations;
mod budget;
mod data;
mod functions;
mod lines;
mod units;

use abbreviations::Tables;
use budget::Budget;
use data::{Bases, Data, broken, data, text};
use functions::{Functions, InlinedCalls, Reading, reference};
use lines::{Lines, Origin};
use units::{Root, Units};

/// References followed to find a name: from an inlined call to the function, to
/// its declaration, and some to spare.
const MAX_REFERENCES: usize = 16;

/// What has been read of one module's DWARF.
#[derive(Debug)]
pub(crate) struct Dwarf {
    /// Bytes of code: addresses are below.
    len: u32,
    units: Option<Units>,
    /// Units that were asked about; `None` for one that cannot be read.
    read: HashMap<u32, Option<Unit>>,
    tables: Tables,
    /// Functions' names, by where in `.debug_info` each is.
    labels: HashMap<usize, Arc<Label>>,
    budget: Budget,
    pub(crate) problem: Option<Error>,
}

/// What has been read of one unit.
#[derive(Debug)]
struct Unit {
    bases: Bases,
    origin: Origin,
    functions: Functions,
    inlined: HashMap<u32, InlinedCalls>,
    lines: Lines,
}

/// A function as its debugging entry describes it.
#[derive(Debug, Default)]
pub(crate) struct Label {
    /// The symbol that the linker sees, else the name in the source.
    pub(crate) raw: Option<Arc<str>>,
    pub(crate) display: Option<Arc<str>>,
    pub(crate) declared_line: Option<u32>,
}

/// One source frame of an address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Located {
    pub(crate) label: Option<Arc<Label>>,
    pub(crate) file: Option<Arc<str>>,
    pub(crate) line: Option<u32>,
    pub(crate) column: Option<u32>,
}

impl Dwarf {
    /// Prepares to read the DWARF of a module with `len` bytes of code.
    pub(crate) fn new(sections: &Sections, len: u32) -> Self {
        let size = sections.debug.iter().map(|(_, range)| range.len()).sum();
        Self {
            len,
            units: None,
            read: HashMap::new(),
            tables: Tables::default(),
            labels: HashMap::new(),
            budget: Budget::new(size),
            problem: None,
        }
    }

    /// Returns the source frames of an address, which counts from the start of
    /// the code section's contents: the innermost inlined call first. Empty when
    /// nothing is known.
    pub(crate) fn locate(
        &mut self,
        bytes: &[u8],
        sections: &Sections,
        address: u32,
    ) -> Vec<Located> {
        let data = data(bytes, sections);
        match self.try_locate(&data, address) {
            Ok(frames) => frames,
            Err(error) => {
                self.problem.get_or_insert(error);
                Vec::new()
            }
        }
    }

    fn try_locate(&mut self, data: &Data<'_>, address: u32) -> Result<Vec<Located>, Error> {
        // Two rounds at most: the second after the silent units were read.
        loop {
            let units = match self.units.take() {
                Some(units) => units,
                None => Units::read(data, self.len, &mut self.budget, &mut self.problem),
            };
            let covering: Vec<u32> = units.covering(address).collect();
            let silent = !units.silent.is_empty();
            self.units = Some(units);
            for unit in covering {
                let frames = self.locate_in(data, unit, address);
                let frames = self.or_none(frames)?.unwrap_or_default();
                if !frames.is_empty() {
                    return Ok(frames);
                }
            }
            if !silent {
                return Ok(Vec::new());
            }
            self.ask_silent_units(data)?;
        }
    }

    /// Reads the lines of the units that do not say what they cover.
    fn ask_silent_units(&mut self, data: &Data<'_>) -> Result<(), Error> {
        let silent = self
            .units
            .as_mut()
            .map(|units| std::mem::take(&mut units.silent));
        for unit in silent.unwrap_or_default() {
            let read = self.read(data, unit);
            self.or_none(read)?;
            if let (Some(units), Some(Some(it))) = (&mut self.units, self.read.get(&unit)) {
                units.extend(unit, it.lines.ranges());
            }
        }
        Ok(())
    }

    fn units(&self) -> Result<&Units, Error> {
        self.units.as_ref().ok_or(Error::TooMuchWork)
    }

    /// Notes that one unit is broken, which does not hide the others; having
    /// worked too much does.
    fn or_none<T>(&mut self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        match result {
            Ok(it) => Ok(Some(it)),
            Err(Error::TooMuchWork) => Err(Error::TooMuchWork),
            Err(error) => {
                self.problem.get_or_insert(error);
                Ok(None)
            }
        }
    }

    /// Reads a unit's functions and lines, once.
    fn read(&mut self, data: &Data<'_>, number: u32) -> Result<(), Error> {
        if self.read.contains_key(&number) {
            return Ok(());
        }
        // Should it fail, it is not tried again.
        self.read.insert(number, None);
        let unit = self.read_unit(data, number)?;
        self.read.insert(number, Some(unit));
        Ok(())
    }

    fn read_unit(&mut self, data: &Data<'_>, number: u32) -> Result<Unit, Error> {
        let header = self.units()?.header(data, number)?;
        let (budget, problem) = (&mut self.budget, &mut self.problem);
        let root = Root::read(data, &header, budget)?;
        let shapes = self.tables.get(data, &header, budget)?;
        let reading = Reading {
            data,
            header: &header,
            shapes: &shapes,
            bases: &root.bases,
            len: self.len,
        };
        let functions = Functions::read(&reading, budget, problem);
        let lines = match root.line_program {
            Some(offset) => Lines::read(
                data,
                offset,
                header.address_size(),
                self.len,
                budget,
                problem,
            ),
            None => Lines::default(),
        };
        let string = |value: Option<data::Value<'_>>| {
            value.and_then(|value| text(data, &header, &root.bases, &value))
        };
        let origin = Origin {
            name: string(root.name),
            comp_dir: string(root.comp_dir),
        };
        let len = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        budget.keep::<u8>(size_of::<Unit>() + len(&origin.name) + len(&origin.comp_dir))?;
        Ok(Unit {
            bases: root.bases,
            origin,
            functions,
            inlined: HashMap::new(),
            lines,
        })
    }

    fn locate_in(
        &mut self,
        data: &Data<'_>,
        number: u32,
        address: u32,
    ) -> Result<Vec<Located>, Error> {
        self.read(data, number)?;
        let header = self.units()?.header(data, number)?;
        let Some(Some(unit)) = self.read.get_mut(&number) else {
            return Ok(Vec::new());
        };
        let budget = &mut self.budget;
        let function = unit.functions.find(address);

        // The line of the innermost frame, then that of each inlined call.
        let mut frames = Vec::new();
        let mut place = Located::default();
        if let Some(row) = unit.lines.find(address, function.is_some()) {
            let Unit {
                lines,
                bases,
                origin,
                ..
            } = unit;
            place = Located {
                label: None,
                file: lines.path(row.file, data, &header, bases, origin, budget),
                line: known(row.line),
                // Without a line a column says nothing.
                column: known(row.line).and(known(row.column)),
            };
        }
        let Some(entry) = function else {
            if place.line.is_some() || place.file.is_some() {
                frames.push(place);
            }
            return Ok(frames);
        };

        if !unit.inlined.contains_key(&entry) {
            let shapes = self.tables.get(data, &header, budget)?;
            let reading = Reading {
                data,
                header: &header,
                shapes: &shapes,
                bases: &unit.bases,
                len: self.len,
            };
            budget.keep::<(u32, InlinedCalls)>(1)?;
            let calls = InlinedCalls::read(&reading, entry, budget, &mut self.problem);
            unit.inlined.insert(entry, calls);
        }
        let Unit {
            lines,
            bases,
            origin,
            inlined,
            ..
        } = unit;
        let calls: Vec<_> = inlined
            .get(&entry)
            .into_iter()
            .flat_map(|it| it.find(address))
            .collect();
        let mut callees = Vec::with_capacity(calls.len() + 1);
        for call in calls.iter().rev() {
            callees.push(call.callee);
            let caller = Located {
                label: None,
                file: match call.file {
                    // Before DWARF 5, 0 means that the file is not known.
                    0 if header.version() <= 4 => None,
                    file => lines.path(file, data, &header, bases, origin, budget),
                },
                line: known(call.line),
                column: known(call.column),
            };
            frames.push(std::mem::replace(&mut place, caller));
        }
        frames.push(place);
        let entry = gimli::UnitOffset(entry as usize).to_debug_info_offset(&header);
        callees.push(entry.map(|entry| entry.0));
        for (frame, callee) in frames.iter_mut().zip(callees) {
            frame.label = callee.and_then(|callee| self.label(data, callee));
        }
        Ok(frames)
    }

    /// Returns what the function at an entry is called.
    fn label(&mut self, data: &Data<'_>, entry: usize) -> Option<Arc<Label>> {
        if let Some(label) = self.labels.get(&entry) {
            return Some(Arc::clone(label));
        }
        let label = match self.make_label(data, entry) {
            Ok(label) => Arc::new(label),
            Err(error) => {
                self.problem.get_or_insert(error);
                return None;
            }
        };
        let len = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        let size = size_of::<Label>() + 64 + len(&label.raw) + len(&label.display);
        if self.budget.keep::<u8>(size).is_ok() {
            self.labels.insert(entry, Arc::clone(&label));
        }
        Some(label)
    }

    fn make_label(&mut self, data: &Data<'_>, entry: usize) -> Result<Label, Error> {
        let mut label = Label::default();
        let (mut linkage, mut plain) = (None, None);
        let mut next = Some(entry);
        for _ in 0..MAX_REFERENCES {
            let Some(entry) = next.take() else {
                break;
            };
            let at = |error| broken(SectionId::DebugInfo, entry, error);
            let nowhere = || at(gimli::Error::NoEntryAtGivenOffset(entry as u64));
            let units = self.units()?;
            let header = units.header(data, units.at(entry).ok_or_else(nowhere)?)?;
            let offset = DebugInfoOffset(entry)
                .to_unit_offset(&header)
                .ok_or_else(nowhere)?;
            let bases = Root::read(data, &header, &mut self.budget)?.bases;
            let shapes = self.tables.get(data, &header, &mut self.budget)?;
            let mut entries = header.entries_raw(&shapes, Some(offset)).map_err(at)?;
            let shape = entries
                .read_abbreviation()
                .map_err(at)?
                .ok_or_else(nowhere)?;
            for spec in shape.attributes() {
                let attribute = entries.read_attribute(*spec).map_err(at)?;
                let value = attribute.value();
                match attribute.name() {
                    gimli::DW_AT_linkage_name | gimli::DW_AT_MIPS_linkage_name
                        if linkage.is_none() =>
                    {
                        linkage = text(data, &header, &bases, &value);
                    }
                    gimli::DW_AT_name if plain.is_none() => {
                        plain = text(data, &header, &bases, &value);
                    }
                    gimli::DW_AT_decl_line if label.declared_line.is_none() => {
                        let line = value.udata_value();
                        label.declared_line = line
                            .and_then(|line| u32::try_from(line).ok())
                            .and_then(known);
                    }
                    gimli::DW_AT_abstract_origin | gimli::DW_AT_specification => {
                        next = reference(&header, &value);
                    }
                    _ => {}
                }
            }
            if linkage.is_some() {
                break;
            }
        }
        label.raw = linkage.or(plain);
        label.display = label.raw.as_ref().map(|raw| match demangle(raw) {
            Some(name) => name.into(),
            None => Arc::clone(raw),
        });
        Ok(label)
    }
}

/// Zero stands for unknown.
fn known(number: u32) -> Option<u32> {
    (number != 0).then_some(number)
}
