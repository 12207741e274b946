//! Abbreviation tables: the shapes of a unit's entries.
//!
//! Every unit has its own, and reading all of them is what makes the first
//! question to a large file slow. To find the unit of an address its first entry
//! is enough, so only that entry's shape is read then.

use std::collections::HashMap;
use std::sync::Arc;

use gimli::{Abbreviations, DebugAbbrev, LittleEndian, Reader, Section, SectionId, UnitHeader};

use super::budget::Budget;
use super::data::{Data, Slice, broken};
use crate::Error;

/// Tables kept. They are large, and needed only while a unit is read.
const MAX_KEPT: usize = 64;

/// An entry with more attributes is no work of a compiler. Attributes can take
/// no bytes at all, so this bounds the work that one byte can ask for.
const MAX_ATTRIBUTES: usize = 1024;

/// The tables last used, by their offset in `.debug_abbrev`.
#[derive(Debug, Default)]
pub(crate) struct Tables(HashMap<usize, Arc<Abbreviations>>);

impl Tables {
    /// Returns the table of a unit.
    pub(crate) fn get(
        &mut self,
        data: &Data<'_>,
        header: &UnitHeader<Slice<'_>>,
        budget: &mut Budget,
    ) -> Result<Arc<Abbreviations>, Error> {
        let offset = header.debug_abbrev_offset().0;
        if let Some(table) = self.0.get(&offset) {
            return Ok(Arc::clone(table));
        }
        let at = |error| broken(SectionId::DebugAbbrev, offset, error);
        let mut rest = at_offset(data, offset)?;
        while next(&mut rest, budget).map_err(|it| it.or(at))?.is_some() {}
        let table = Arc::new(header.abbreviations(&data.debug_abbrev).map_err(at)?);
        if self.0.len() >= MAX_KEPT {
            self.0.clear();
        }
        self.0.insert(offset, Arc::clone(&table));
        Ok(table)
    }
}

/// Reads the shape of a unit's first entry only.
pub(crate) fn of_root(
    data: &Data<'_>,
    header: &UnitHeader<Slice<'_>>,
    budget: &mut Budget,
) -> Result<Abbreviations, Error> {
    let offset = header.debug_abbrev_offset().0;
    let at = |error| broken(SectionId::DebugAbbrev, offset, error);
    let mut root = header.range_from(header.root_offset()..).map_err(at)?;
    let wanted = root.read_uleb128().map_err(at)?;
    let mut rest = at_offset(data, offset)?;
    loop {
        let start = rest;
        let code = next(&mut rest, budget).map_err(|it| it.or(at))?;
        let Some(code) = code else {
            return Err(at(gimli::Error::InvalidAbbreviationCode(wanted)));
        };
        if code == wanted {
            // A table of one: its bytes and the zero that ends a table.
            let len = start.len() - rest.len();
            let mut one = start.slice()[..len].to_vec();
            one.push(0);
            let table = DebugAbbrev::new(&one, LittleEndian);
            return table.abbreviations(gimli::DebugAbbrevOffset(0)).map_err(at);
        }
    }
}

fn at_offset<'a>(data: &Data<'a>, offset: usize) -> Result<Slice<'a>, Error> {
    let mut section = *data.debug_abbrev.reader();
    let skipped = section.skip(offset);
    skipped.map_err(|error| broken(SectionId::DebugAbbrev, offset, error))?;
    Ok(section)
}

/// Why a table could not be walked.
enum Stop {
    Broken(gimli::Error),
    Other(Error),
}

impl Stop {
    fn or(self, at: impl Fn(gimli::Error) -> Error) -> Error {
        match self {
            Self::Broken(error) => at(error),
            Self::Other(error) => error,
        }
    }
}

impl From<gimli::Error> for Stop {
    fn from(error: gimli::Error) -> Self {
        Self::Broken(error)
    }
}

/// Steps over one abbreviation and returns its code; `None` at the end.
fn next(rest: &mut Slice<'_>, budget: &mut Budget) -> Result<Option<u64>, Stop> {
    let before = rest.len();
    let code = rest.read_uleb128()?;
    if code == 0 {
        return Ok(None);
    }
    let _tag = rest.read_uleb128()?;
    let _has_children = rest.read_u8()?;
    for attributes in 0.. {
        let (name, form) = (rest.read_uleb128()?, rest.read_uleb128()?);
        if (name, form) == (0, 0) {
            break;
        }
        if attributes == MAX_ATTRIBUTES {
            return Err(Stop::Other(Error::TooMuchWork));
        }
        if form == u64::from(gimli::DW_FORM_implicit_const.0) {
            rest.read_sleb128()?;
        }
    }
    budget.step(before - rest.len()).map_err(Stop::Other)?;
    Ok(Some(code))
}
