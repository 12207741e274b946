//! Debug information that follows its code into a rewritten file.
//!
//! DWARF in Wasm speaks of code by its offset in the code section. When functions grow
//! and move, every such offset must follow, or debuggers and profilers show lines of
//! other code. What a module that runs here needs is less: offsets can be mapped back.
//! This is for files.
//!
//! All that can stay where it is stays: only addresses change, in place where they have
//! a fixed size, and only the sections that pack distances are written anew
//! (`.debug_line`, and of DWARF 5 `.debug_rnglists` and `.debug_loclists`). Entries,
//! abbreviations, strings and indices are not touched, so there is nothing about types
//! and names to get wrong, and unknown attributes survive.
//!
//! Code that was inserted before an instruction belongs to what stands before that
//! instruction: its line row, its ranges, its locations. What was inserted at a
//! function's entry belongs to the function's first row if that row is at the function's
//! start or first instruction, as producers have it, and else to none. It is never
//! another function's.
//!
//! Tombstones, and all that refers to no code, stay as they are. Addresses in location
//! expressions are of data and stay too. Left out are `.debug_aranges`, an index that
//! nobody must have and whose addresses are of code and of data (which are different
//! spaces in Wasm) without saying which; sections that hardly a producer writes for Wasm,
//! `.debug_frame`, `.debug_macro` and `.gdb_index`; and those that are not known here.
//!
//! This takes no part in deciding what is inserted; it is told where instructions went.

use std::borrow::Cow;

use gimli::{AbbreviationsCacheStrategy, Dwarf, EndianSlice, LittleEndian};

use crate::dwarf::addr::Pool;
use crate::dwarf::info::{Info, Target};
use crate::dwarf::lists::Kind;
use crate::dwarf::pairs::Pairs;

mod addr;
mod code;
mod info;
mod line;
mod lists;
mod pairs;
mod reason;
#[cfg(test)]
mod tests;

pub use code::Code;
pub use reason::Reason;

/// A custom section: its name and its contents.
pub type Section<'a> = (&'a str, Cow<'a, [u8]>);

/// Rewritten debug information.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewritten<'a> {
    /// The sections, in the order in which they came.
    pub sections: Vec<Section<'a>>,
    /// The names of those that are left out.
    pub left_out: Vec<&'a str>,
}

/// What became of a module's debug information.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// There was none, or it was to be left out.
    #[default]
    Absent,
    /// It follows the code.
    Rewritten {
        /// The names of the sections that are left out.
        left_out: Vec<String>,
    },
    /// It is left out, because it could not be rewritten.
    LeftOut(Reason),
}

/// Tells whether a custom section is debug information that [`rewrite`] takes.
#[must_use]
pub fn is_debug(name: &str) -> bool {
    name.starts_with(".debug_") || name == ".gdb_index"
}

/// Rewrites debug information: of the custom sections given, those that
/// [`is_debug`] names. Other sections only tell whether the module is relocatable.
///
/// # Errors
///
/// When the sections cannot be rewritten as a whole. They must then be left out as a
/// whole: as they are, they would be false.
pub fn rewrite<'a>(
    custom: &[(&'a str, &'a [u8])],
    code: &Code<'_>,
) -> Result<Rewritten<'a>, Reason> {
    for (index, (name, _)) in custom.iter().enumerate() {
        if *name == "linking" || name.starts_with("reloc.") {
            let section = (*name).to_owned();
            return Err(Reason::Relocatable { section });
        }
        if !is_debug(name) {
            continue;
        }
        if name.ends_with(".dwo") || matches!(*name, ".debug_cu_index" | ".debug_tu_index") {
            let section = (*name).to_owned();
            return Err(Reason::Split { section, offset: 0 });
        }
        if custom[..index].iter().any(|(other, _)| other == name) {
            return Err(Reason::damaged(name, 0, "there are two of them"));
        }
    }
    let section = |name: &str| {
        let found = custom.iter().find(|(other, _)| *other == name);
        found.map_or(&[][..], |(_, bytes)| *bytes)
    };
    let mut dwarf = Dwarf::load(|id| Ok(EndianSlice::new(section(id.name()), LittleEndian)))
        .map_err(|e: gimli::Error| Reason::damaged(".debug_info", 0, e))?;
    // Units may share a long table.
    dwarf.populate_abbreviations_cache(AbbreviationsCacheStrategy::Duplicates);
    let mut info = Info {
        dwarf: &dwarf,
        code,
        info: section(".debug_info").to_vec(),
        types: section(".debug_types").to_vec(),
        ranges: Pairs::new(".debug_ranges", section(".debug_ranges"), false),
        locations: Pairs::new(".debug_loc", section(".debug_loc"), true),
        pool: Pool::new(section(".debug_addr")),
        range_lists: Default::default(),
        location_lists: Default::default(),
        references: Vec::new(),
    };
    info.units()?;
    let lines = line::rewrite(section(line::SECTION), code)?;
    let mut list = |kind: Kind| {
        let units = match kind {
            Kind::Ranges => &info.range_lists,
            Kind::Locations => &info.location_lists,
        };
        lists::rewrite(kind, section(kind.section()), units, &mut info.pool, code)
    };
    let ranges = list(Kind::Ranges)?;
    let locations = list(Kind::Locations)?;
    for reference in std::mem::take(&mut info.references) {
        let moved = match reference.target {
            Target::Lines => &lines.programs,
            Target::Ranges => &ranges.moved,
            Target::Locations => &locations.moved,
        };
        info.resolve(reference, moved.get(&reference.old))?;
    }
    let mut rewritten = Rewritten::default();
    for (name, bytes) in custom.iter().filter(|(name, _)| is_debug(name)) {
        let bytes = match *name {
            ".debug_info" => std::mem::take(&mut info.info).into(),
            ".debug_types" => std::mem::take(&mut info.types).into(),
            ".debug_ranges" => std::mem::take(&mut info.ranges.new).into(),
            ".debug_loc" => std::mem::take(&mut info.locations.new).into(),
            ".debug_addr" => std::mem::take(&mut info.pool.new).into(),
            line::SECTION => lines.bytes.clone().into(),
            ".debug_rnglists" => ranges.bytes.clone().into(),
            ".debug_loclists" => locations.bytes.clone().into(),
            ".debug_abbrev"
            | ".debug_str"
            | ".debug_line_str"
            | ".debug_str_offsets"
            | ".debug_pubnames"
            | ".debug_pubtypes"
            | ".debug_gnu_pubnames"
            | ".debug_gnu_pubtypes"
            | ".debug_names"
            | ".debug_macinfo"
            | ".debug_sup" => Cow::Borrowed(*bytes),
            _ => {
                rewritten.left_out.push(name);
                continue;
            }
        };
        rewritten.sections.push((name, bytes));
    }
    Ok(rewritten)
}
