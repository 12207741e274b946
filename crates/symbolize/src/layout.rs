//! Where the sections of a Wasm binary are, module by module.
//!
//! Reads section headers and skips bodies by their size, so that a large file
//! costs as many page reads as it has sections. Components are walked without
//! recursion; their core modules are numbered as the engine does: in the order
//! in which they start in the file, nested components included.
//!
//! Meaning is left to the readers of each section.

use std::ops::Range;

use gimli::SectionId;
use wasmparser::BinaryReader;

use crate::Error;

/// More core modules than this are not listed. Engines refuse far fewer.
const MAX_MODULES: usize = 100_000;

/// Sections of DWARF that answer where code comes from.
const DEBUG_SECTIONS: [SectionId; 11] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
    SectionId::DebugTypes,
];

/// The sections of one core module, as ranges of the file. Custom sections
/// without their names.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    /// The contents of the code section: what DWARF's addresses count from.
    pub(crate) code: Option<Range<usize>>,
    pub(crate) import: Option<Range<usize>>,
    pub(crate) name: Option<Range<usize>>,
    pub(crate) external_debug_info: Option<Range<usize>>,
    pub(crate) build_id: Option<Range<usize>>,
    pub(crate) debug: Vec<(SectionId, Range<usize>)>,
}

impl Sections {
    /// Tells whether the module carries DWARF that can answer anything.
    pub(crate) fn has_dwarf(&self) -> bool {
        self.debug(SectionId::DebugInfo).is_some()
    }

    /// Returns the range of a DWARF section.
    pub(crate) fn debug(&self, id: SectionId) -> Option<&Range<usize>> {
        self.debug
            .iter()
            .find(|(it, _)| *it == id)
            .map(|(_, range)| range)
    }
}

/// All core modules of a file.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub(crate) modules: Vec<Sections>,
    pub(crate) problem: Option<Error>,
}

/// What kind of binary a header announces.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Module,
    Component,
}

/// A module or component whose sections are being listed.
struct Open {
    end: usize,
    kind: Kind,
    /// The index of the module in the result.
    module: usize,
}

impl Layout {
    /// Lists the sections of a module or component. What is broken ends the
    /// list and is kept as the problem.
    pub(crate) fn scan(bytes: &[u8]) -> Self {
        let mut layout = Self::default();
        if let Err(error) = layout.fill(bytes) {
            layout.problem.get_or_insert(error);
        }
        layout
    }

    fn fill(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let kind = header(bytes).ok_or(Error::NotWasm)?;
        let mut at = HEADER_LEN;
        let mut open = vec![self.open(kind, bytes.len())?];
        while let Some(top) = open.last() {
            if at >= top.end {
                open.pop();
                continue;
            }
            let (id, body) = self.section_header(bytes, at, top.end)?;
            at = body.end;
            match (top.kind, id) {
                (Kind::Module, _) => {
                    let module = top.module;
                    self.module_section(bytes, module, id, body)?;
                }
                // A core module, or a nested component: step into it.
                (Kind::Component, 1 | 4) => {
                    let contents = bytes.get(body.clone()).unwrap_or_default();
                    let kind = header(contents).ok_or_else(|| Error::Malformed {
                        what: "header of a nested module or component",
                        offset: body.start,
                        reason: "not a Wasm header".to_owned(),
                    })?;
                    at = body.start + HEADER_LEN;
                    let nested = self.open(kind, body.end)?;
                    open.push(nested);
                }
                (Kind::Component, _) => {}
            }
        }
        Ok(())
    }

    fn open(&mut self, kind: Kind, end: usize) -> Result<Open, Error> {
        if kind == Kind::Module {
            if self.modules.len() == MAX_MODULES {
                return Err(Error::TooManyModules { limit: MAX_MODULES });
            }
            self.modules.push(Sections::default());
        }
        Ok(Open {
            end,
            kind,
            module: self.modules.len().saturating_sub(1),
        })
    }

    /// Reads a section's header at `at`; returns its id and the range of its
    /// contents, cut where the enclosing binary ends.
    fn section_header(
        &mut self,
        bytes: &[u8],
        at: usize,
        end: usize,
    ) -> Result<(u8, Range<usize>), Error> {
        // An id and a size take six bytes at most.
        let head = &bytes[at..end.min(at + 6)];
        let mut reader = BinaryReader::new(head, at);
        let (id, size) = (|| Ok((reader.read_u8()?, reader.read_var_u32()?)))()
            .map_err(|error| Error::malformed("section header", &error))?;
        let start = reader.original_position();
        let (claimed, available) = (size as usize, end - start);
        if claimed > available {
            self.problem.get_or_insert(Error::Truncated {
                offset: start,
                claimed,
                available,
            });
        }
        Ok((id, start..start + claimed.min(available)))
    }

    fn module_section(
        &mut self,
        bytes: &[u8],
        module: usize,
        id: u8,
        body: Range<usize>,
    ) -> Result<(), Error> {
        let sections = &mut self.modules[module];
        match id {
            0 => {
                let mut reader = BinaryReader::new(&bytes[body.clone()], body.start);
                let name = (|| {
                    let len = reader.read_var_u32()?;
                    reader.read_bytes(len as usize)
                })()
                .map_err(|error| Error::malformed("custom section's name", &error))?;
                sections.custom(name, reader.original_position()..body.end);
            }
            2 => sections.import = Some(body),
            10 => sections.code = Some(body),
            _ => {}
        }
        Ok(())
    }
}

impl Sections {
    /// Notes a custom section. The first of each name counts, except that the
    /// last name section does, as in the engine.
    fn custom(&mut self, name: &[u8], body: Range<usize>) {
        match name {
            b"name" => self.name = Some(body),
            b"external_debug_info" => {
                self.external_debug_info.get_or_insert(body);
            }
            b"build_id" => {
                self.build_id.get_or_insert(body);
            }
            _ => {
                let known = DEBUG_SECTIONS
                    .iter()
                    .find(|id| id.name().as_bytes() == name);
                if let Some(&id) = known
                    && self.debug(id).is_none()
                {
                    self.debug.push((id, body));
                }
            }
        }
    }
}

/// Magic number, version and layer.
const HEADER_LEN: usize = 8;

fn header(bytes: &[u8]) -> Option<Kind> {
    match bytes.get(..HEADER_LEN)? {
        b"\0asm\x01\0\0\0" => Some(Kind::Module),
        // Any version of the component layer: 13 today.
        [0, b'a', b's', b'm', _, _, 1, 0] => Some(Kind::Component),
        _ => None,
    }
}
