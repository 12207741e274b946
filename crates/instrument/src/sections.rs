//! Puts the sections of a rewritten module together.
//!
//! Sections keep their order. What is new goes to the end of its section; a section
//! that the original lacks comes right before the next one of the specification's order.

use std::ops::Range;

use crate::Error;
use crate::additions::{self, Addition};
use crate::code::Functions;
use crate::encoding;
use crate::indices::{Moved, Patches};
use crate::map::Map;
use crate::module::{Section, id};
use crate::options::Dwarf;
use crate::plan::Plan;
use crate::{dwarf, metadata, names};

/// The sections in the order that the specification wants.
const ORDER: [u8; 13] = [
    id::TYPE,
    id::IMPORT,
    id::FUNCTION,
    id::TABLE,
    id::MEMORY,
    id::TAG,
    id::GLOBAL,
    id::EXPORT,
    id::START,
    id::ELEMENT,
    id::DATA_COUNT,
    id::CODE,
    id::DATA,
];

fn rank(section: u8) -> usize {
    ORDER
        .iter()
        .position(|id| *id == section)
        .unwrap_or(ORDER.len())
}

/// Writes the module that is planned, around functions that are written. Returns the map
/// and what became of the debug information as well.
pub(crate) fn assemble(
    plan: &Plan<'_, '_>,
    functions: Functions,
) -> Result<(Vec<u8>, Map, dwarf::Outcome), Error> {
    let mut assembly = Assembly::new(plan, functions)?;
    let outcome = assembly.sections()?;
    Ok((assembly.out, assembly.map, outcome))
}

struct Assembly<'p, 'm, 'a> {
    plan: &'p Plan<'m, 'a>,
    functions: Functions,
    /// The indices of functions that change, by section.
    patches: Vec<(u8, Patches)>,
    /// The additions that are yet to be written.
    additions: Vec<(u8, Addition)>,
    map: Map,
    /// Where the contents of the code section are in `out`.
    code: Range<usize>,
    out: Vec<u8>,
}

impl<'p, 'm, 'a> Assembly<'p, 'm, 'a> {
    fn new(plan: &'p Plan<'m, 'a>, mut functions: Functions) -> Result<Self, Error> {
        let Moved { patches, declared } = Moved::find(plan)?;
        let mut undeclared = std::mem::take(&mut functions.references);
        undeclared.retain(|function| !declared.contains(function));
        let additions = additions::all(plan, &undeclared);
        let code = plan.module.code_start().unwrap_or_default() as u32;
        let map = Map {
            code: (code, 0),
            segments: std::mem::take(&mut functions.segments),
            bodies: std::mem::take(&mut functions.bodies),
            imported_functions: plan.module.counts.imported_functions,
            hooks: plan.hooks.len() as u32,
            shims: plan.shims.clone(),
        };
        let len = plan.module.bytes.len() + functions.len();
        Ok(Self {
            plan,
            functions,
            patches,
            additions,
            map,
            code: 0..0,
            out: Vec::with_capacity(len),
        })
    }

    fn sections(&mut self) -> Result<dwarf::Outcome, Error> {
        let module = self.plan.module;
        self.out.extend_from_slice(&module.bytes[..8]);
        let last = module
            .sections
            .iter()
            .rposition(|section| section.id != id::CUSTOM);
        for (at, section) in module.sections.iter().enumerate() {
            if section.id == id::CUSTOM {
                self.custom(section);
            } else {
                self.missing(rank(section.id));
                self.section(section);
            }
            if last == Some(at) {
                self.missing(ORDER.len());
            }
        }
        let outcome = match self.plan.options.dwarf {
            Dwarf::Strip => dwarf::Outcome::Absent,
            Dwarf::Rewrite => self.debug(),
        };
        match u32::try_from(self.out.len()) {
            Ok(_) => Ok(outcome),
            Err(_) => Err(Error::TooMany {
                what: "bytes",
                count: self.out.len(),
                limit: u32::MAX as usize,
            }),
        }
    }

    /// Writes the sections that the original lacks ahead of those of `rank`.
    fn missing(&mut self, end: usize) {
        while let Some((id, _)) = self.additions.first()
            && rank(*id) < end
        {
            let (id, addition) = self.additions.remove(0);
            if id == id::CODE {
                self.code(addition.count, 1);
            } else {
                let mut contents = Vec::new();
                encoding::unsigned(&mut contents, addition.count);
                contents.extend_from_slice(&addition.entries);
                write(&mut self.out, id, &contents);
            }
        }
    }

    fn section(&mut self, section: &Section<'_>) {
        let addition = self
            .additions
            .iter()
            .position(|(id, _)| *id == section.id)
            .map(|at| self.additions.remove(at).1);
        let bytes = self.plan.module.bytes;
        if section.id == id::CODE {
            let (count, width) = encoding::read_unsigned(&bytes[section.contents.clone()]);
            let added = addition.map_or(0, |addition| addition.count);
            self.code(count + added, width);
            return;
        }
        let mut at = section.contents.start;
        let mut contents = Vec::with_capacity(section.contents.len());
        if let Some(addition) = &addition {
            let (count, width) = encoding::read_unsigned(&bytes[at..]);
            encoding::unsigned_padded(&mut contents, count + addition.count, width);
            at += width;
        }
        let patches = self.patches.iter().find(|(id, _)| *id == section.id);
        for (offset, index) in patches.map_or(&[][..], |(_, patches)| patches) {
            contents.extend_from_slice(&bytes[at..*offset]);
            let (_, width) = encoding::read_unsigned(&bytes[*offset..]);
            encoding::unsigned_padded(&mut contents, *index, width);
            at = offset + width;
        }
        contents.extend_from_slice(&bytes[at..section.contents.end]);
        if let Some(addition) = &addition {
            contents.extend_from_slice(&addition.entries);
        }
        write(&mut self.out, section.id, &contents);
    }

    /// Writes the code section, and gives the map its place.
    fn code(&mut self, count: u32, width: usize) {
        let mut head = Vec::new();
        let counted = encoding::unsigned_padded(&mut head, count, width);
        let len = counted + self.functions.len();
        self.out.push(id::CODE);
        encoding::unsigned(&mut self.out, len as u32);
        self.map.place(self.out.len() as u32, counted as u32);
        self.out.extend_from_slice(&head);
        for piece in &self.functions.pieces {
            self.out.extend_from_slice(piece);
        }
        self.code = self.out.len() - len..self.out.len();
    }

    /// Writes the debug information, which needs to know where the code is.
    fn debug(&mut self) -> dwarf::Outcome {
        let module = self.plan.module;
        let code = |section: &&Section<'_>| section.id == id::CODE;
        let custom = module.sections.iter().filter_map(|section| {
            let contents = &module.bytes[section.data..section.contents.end];
            section.name.map(|name| (name, contents))
        });
        let custom = custom.collect::<Vec<_>>();
        let Some(original) = module.sections.iter().find(code) else {
            return dwarf::Outcome::Absent;
        };
        if !custom.iter().any(|(name, _)| dwarf::is_debug(name)) {
            return dwarf::Outcome::Absent;
        }
        let original = &module.bytes[original.contents.clone()];
        let segments = &self.map.segments;
        let moved = |offset: u64| Some(segments.rewritten(offset.try_into().ok()?)?.into());
        let rewritten = dwarf::Code::new(original, &self.out[self.code.clone()], &moved)
            .and_then(|code| dwarf::rewrite(&custom, &code));
        match rewritten {
            Ok(rewritten) => {
                for (name, data) in &rewritten.sections {
                    self.named(name, data);
                }
                let left_out = rewritten.left_out.into_iter().map(str::to_owned);
                dwarf::Outcome::Rewritten {
                    left_out: left_out.collect(),
                }
            }
            Err(reason) => dwarf::Outcome::LeftOut(reason),
        }
    }

    fn custom(&mut self, section: &Section<'_>) {
        let module = self.plan.module;
        let data = section.data..section.contents.end;
        let name = section.name.unwrap_or_default();
        let data = match name {
            "name" if !self.plan.probes.is_empty() => {
                names::rewrite(self.plan, &module.bytes[data])
            }
            // They say where in the file something is.
            "sourceMappingURL" | "external_debug_info" => return,
            // Behind all others, if at all.
            _ if dwarf::is_debug(name) => return,
            _ if name.starts_with("metadata.code.") => {
                let Some(data) = metadata::rewrite(&self.map, &module.bytes[data]) else {
                    return;
                };
                data
            }
            _ => {
                self.out
                    .extend_from_slice(&module.bytes[section.start..section.contents.end]);
                return;
            }
        };
        self.named(name, &data);
    }

    fn named(&mut self, name: &str, data: &[u8]) {
        let mut contents = Vec::with_capacity(data.len() + name.len() + 1);
        encoding::name(&mut contents, name);
        contents.extend_from_slice(data);
        write(&mut self.out, id::CUSTOM, &contents);
    }
}

fn write(out: &mut Vec<u8>, id: u8, contents: &[u8]) {
    out.push(id);
    encoding::unsigned(out, contents.len() as u32);
    out.extend_from_slice(contents);
}
