//! Which line an instruction comes from: one unit's line program, run once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use gimli::{ColumnType, DebugLineOffset, Section, SectionId, UnitHeader};

use super::budget::Budget;
use super::data::{Bases, Data, Slice, Text, broken};
use crate::Error;

/// The rows of one unit.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Sorted by start.
    sequences: Vec<Sequence>,
    /// Of all sequences; those of one are adjacent, ascending by address.
    rows: Vec<Row>,
    version: u16,
    directories: Vec<Text>,
    files: Vec<FileEntry>,
    /// Paths that have been asked for.
    paths: HashMap<u32, Option<Arc<str>>>,
}

/// A run of rows without gaps.
#[derive(Debug)]
struct Sequence {
    start: u32,
    end: u32,
    first: u32,
    last: u32,
}

/// From this address on, this line. Zero means unknown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    address: u32,
    pub(crate) file: u32,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

#[derive(Debug)]
struct FileEntry {
    name: Text,
    directory: u32,
}

/// What a unit says of itself that paths are made with.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) comp_dir: Option<Arc<str>>,
}

impl Lines {
    /// Runs the line program at `offset` of `.debug_line` for `len` bytes of
    /// code. What is broken ends it; the rows before are kept.
    pub(crate) fn read(
        data: &Data<'_>,
        offset: usize,
        address_size: u8,
        len: u32,
        budget: &mut Budget,
        problem: &mut Option<Error>,
    ) -> Self {
        let mut lines = Self::default();
        if let Err(error) = lines.fill(data, offset, address_size, len, budget) {
            problem.get_or_insert(error);
        }
        lines.sequences.sort_by_key(|sequence| sequence.start);
        lines
    }

    fn fill(
        &mut self,
        data: &Data<'_>,
        offset: usize,
        address_size: u8,
        len: u32,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        let at = |error| broken(SectionId::DebugLine, offset, error);
        // The size is paid for before it is read: several units may share one.
        budget.step(program_len(data, offset))?;
        let program = data
            .debug_line
            .program(DebugLineOffset(offset), address_size, None, None)
            .map_err(at)?;

        let header = program.header();
        self.version = header.version();
        budget.keep::<Text>(header.include_directories().len())?;
        budget.keep::<FileEntry>(header.file_names().len())?;
        let directories = header.include_directories().iter();
        self.directories = directories.map(|it| Text::of_line(data, it)).collect();
        let files = header.file_names().iter().map(|file| FileEntry {
            name: Text::of_line(data, &file.path_name()),
            directory: u32::try_from(file.directory_index()).unwrap_or(u32::MAX),
        });
        self.files = files.collect();

        let mut rows = program.rows();
        let mut first = 0;
        while let Some((_, row)) = rows.next_row().map_err(at)? {
            let address = row.address();
            if row.end_sequence() {
                self.end_sequence(first, address, len);
                budget.keep::<Row>(self.rows.len() - first)?;
                budget.keep::<Sequence>(1)?;
                first = self.rows.len();
                continue;
            }
            let Ok(address) = u32::try_from(address) else {
                continue;
            };
            let row = Row {
                address,
                file: u32::try_from(row.file_index()).unwrap_or(u32::MAX),
                line: row
                    .line()
                    .map_or(0, |line| u32::try_from(line.get()).unwrap_or(0)),
                column: match row.column() {
                    ColumnType::LeftEdge => 0,
                    ColumnType::Column(column) => u32::try_from(column.get()).unwrap_or(0),
                },
            };
            match self.rows.get_mut(first..).and_then(<[Row]>::last_mut) {
                // Of several rows for one address the last holds.
                Some(last) if last.address == address => *last = row,
                _ => self.rows.push(row),
            }
        }
        // Rows of a sequence that was never ended.
        self.rows.truncate(first);
        Ok(())
    }

    /// Closes the sequence that starts at row `first`, or drops it if it
    /// describes no code.
    fn end_sequence(&mut self, first: usize, end: u64, len: u32) {
        let end = u32::try_from(end).unwrap_or(u32::MAX).min(len);
        match self.rows.get(first).map(|row| row.address) {
            Some(start) if start < end => self.sequences.push(Sequence {
                start,
                end,
                first: first as u32,
                last: self.rows.len() as u32,
            }),
            _ => self.rows.truncate(first),
        }
    }

    /// Returns the row of an address. `certain` is whether the address is known
    /// to be in this unit; old linkers leave the lines of what they removed at
    /// address 0, where no function is.
    pub(crate) fn find(&self, address: u32, certain: bool) -> Option<Row> {
        let past = self.sequences.partition_point(|it| it.start <= address);
        let sequence = &self.sequences[past.checked_sub(1)?];
        if address >= sequence.end || (sequence.start == 0 && !certain) {
            return None;
        }
        let rows = self
            .rows
            .get(sequence.first as usize..sequence.last as usize)?;
        let past = rows.partition_point(|row| row.address <= address);
        rows.get(past.checked_sub(1)?).copied()
    }

    /// Returns what the sequences cover.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<u32>> {
        self.sequences.iter().map(|it| it.start..it.end)
    }

    /// Returns the path of a file by its number in this unit.
    pub(crate) fn path(
        &mut self,
        file: u32,
        data: &Data<'_>,
        header: &UnitHeader<Slice<'_>>,
        bases: &Bases,
        origin: &Origin,
        budget: &mut Budget,
    ) -> Option<Arc<str>> {
        if let Some(path) = self.paths.get(&file) {
            return path.clone();
        }
        let path = self.make_path(file, data, header, bases, origin);
        // An answer costs its memory once. When too many were asked for, they
        // are no longer remembered, but still given.
        let len = path.as_ref().map_or(0, |path| path.len());
        if budget.keep::<u8>(len + 64).is_ok() {
            self.paths.insert(file, path.clone());
        }
        path
    }

    fn make_path(
        &self,
        file: u32,
        data: &Data<'_>,
        header: &UnitHeader<Slice<'_>>,
        bases: &Bases,
        origin: &Origin,
    ) -> Option<Arc<str>> {
        // Until DWARF 5, files and directories count from 1, and 0 is the unit
        // itself. Since then they count from 0, and directory 0 is again the one
        // that the compiler ran in.
        let old = u32::from(self.version <= 4);
        let comp_dir = origin.comp_dir.as_deref().unwrap_or_default();
        let mut path = comp_dir.to_owned();
        let Some(index) = file.checked_sub(old) else {
            join(&mut path, origin.name.as_deref()?);
            return Some(path.into());
        };
        let entry = self.files.get(index as usize)?;
        let directory = match entry.directory {
            0 if !path.is_empty() => None,
            directory => directory.checked_sub(old),
        };
        let directory = directory.and_then(|index| self.directories.get(index as usize));
        if let Some(directory) = directory.and_then(|it| it.read(data, header, bases)) {
            join(&mut path, &directory);
        }
        join(&mut path, &entry.name.read(data, header, bases)?);
        Some(path.into())
    }
}

/// Returns how many bytes the line program at `offset` takes.
fn program_len(data: &Data<'_>, offset: usize) -> usize {
    let section = data.debug_line.reader().slice();
    let rest = section.get(offset..).unwrap_or_default();
    let length = rest.first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
    // A length of all ones announces a 64-bit length; then the rest counts.
    rest.len().min((length as usize).saturating_add(4))
}

/// Appends a path, or puts it in place of the first if it is absolute.
fn join(path: &mut String, next: &str) {
    let drive = next.get(1..3).is_some_and(|it| it == ":/" || it == ":\\");
    if next.starts_with(['/', '\\']) || drive {
        next.clone_into(path);
        return;
    }
    let windows = path.starts_with('\\') || path.get(1..3) == Some(":\\");
    let separator = if windows { '\\' } else { '/' };
    if !path.is_empty() && !path.ends_with(separator) {
        path.push(separator);
    }
    path.push_str(next);
}
