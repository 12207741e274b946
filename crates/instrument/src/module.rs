//! A module that may be rewritten: its sections and its functions.
//!
//! Reading validates all of it, the functions' bodies in parallel, so that whoever
//! rewrites can rely on what it finds and an invalid module is never made valid.

use std::ops::Range;
use std::sync::Arc;

use wasmparser::{
    BinaryReader, CustomSectionReader, Encoding, ExternalKind, Import, Imports, KnownCustom, Name,
    Parser, Payload, TypeRef, ValidPayload, Validator, WasmFeatures,
};
use wasmscope_address::FuncIndex;

use crate::Error;
use crate::body::{Body, Unread};
use crate::function::{Function, Signature};
use crate::hierarchy::Hierarchy;
use crate::hooks;

/// A core WebAssembly module in its binary form, read so that it can be rewritten.
///
/// Every proposal that the parser knows is accepted; whether the rewritten module may
/// use them is for the engine that compiles it.
#[derive(Debug)]
pub struct Module<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) sections: Vec<Section<'a>>,
    pub(crate) functions: Vec<Function<'a>>,
    pub(crate) counts: Counts,
    name: Option<&'a str>,
    pub(crate) types: Vec<Hierarchy>,
    /// The bodies of the functions that are defined here, in their order.
    pub(crate) bodies: Vec<Body>,
}

/// The identifiers of sections.
pub(crate) mod id {
    pub(crate) const CUSTOM: u8 = 0;
    pub(crate) const TYPE: u8 = 1;
    pub(crate) const IMPORT: u8 = 2;
    pub(crate) const FUNCTION: u8 = 3;
    pub(crate) const TABLE: u8 = 4;
    pub(crate) const MEMORY: u8 = 5;
    pub(crate) const GLOBAL: u8 = 6;
    pub(crate) const EXPORT: u8 = 7;
    pub(crate) const START: u8 = 8;
    pub(crate) const ELEMENT: u8 = 9;
    pub(crate) const CODE: u8 = 10;
    pub(crate) const DATA: u8 = 11;
    pub(crate) const DATA_COUNT: u8 = 12;
    pub(crate) const TAG: u8 = 13;
}

/// A section as it stands in the file.
#[derive(Clone, Debug)]
pub(crate) struct Section<'a> {
    pub(crate) id: u8,
    /// The name of a custom section.
    pub(crate) name: Option<&'a str>,
    /// Where its header starts.
    pub(crate) start: usize,
    /// Its contents, without the header; a custom section's with its name.
    pub(crate) contents: Range<usize>,
    /// Where a custom section's contents start behind its name.
    pub(crate) data: usize,
}

/// How many there are of what new things are appended to.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Counts {
    pub(crate) types: u32,
    pub(crate) imports: u32,
    pub(crate) imported_functions: u32,
    pub(crate) globals: u32,
    pub(crate) exports: u32,
    pub(crate) elements: u32,
    pub(crate) tags: u32,
    pub(crate) memories: u32,
}

impl<'a> Module<'a> {
    /// Reads the module in `bytes`.
    ///
    /// # Errors
    ///
    /// When the bytes are not a valid core module, when a reserved name is used (see
    /// [`hooks`]), or when the module is an object file.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reading = Reading::new(bytes);
        let mut parser = Parser::new(0);
        parser.set_features(WasmFeatures::all());
        for payload in parser.parse_all(bytes) {
            reading.payload(payload?)?;
        }
        reading.names();
        let bodies = Body::read_all(reading.bodies)?;
        let mut module = reading.module;
        if u32::try_from(bytes.len()).is_err() {
            return Err(Error::TooMany {
                what: "bytes",
                count: bytes.len(),
                limit: u32::MAX as usize,
            });
        }
        module.bodies = bodies;
        module.sections = sections(bytes)?;
        for section in &module.sections {
            if let Some(name) = section.name
                && (name == "linking" || name.starts_with("reloc."))
            {
                return Err(Error::Relocatable {
                    section: name.to_owned(),
                    offset: section.start,
                });
            }
        }
        Ok(module)
    }

    /// Returns the module's own name, from its name section.
    #[must_use]
    pub fn name(&self) -> Option<&'a str> {
        self.name
    }

    /// Returns how many memories it has, imported ones included.
    #[must_use]
    pub fn memories(&self) -> u32 {
        self.counts.memories
    }

    /// Returns how many globals it has, imported ones included.
    #[must_use]
    pub fn globals(&self) -> u32 {
        self.counts.globals
    }

    /// Returns every function of the module's index space, by index: the imported ones
    /// first.
    #[must_use]
    pub fn functions(&self) -> &[Function<'a>] {
        &self.functions
    }

    /// Returns where the contents of the code section start.
    pub(crate) fn code_start(&self) -> Option<usize> {
        let code = self
            .sections
            .iter()
            .find(|section| section.id == id::CODE)?;
        Some(code.contents.start)
    }

    /// Returns the functions that are imported.
    pub(crate) fn imports(&self) -> &[Function<'a>] {
        &self.functions[..self.counts.imported_functions as usize]
    }

    /// Returns the functions that are defined here.
    pub(crate) fn defined(&self) -> &[Function<'a>] {
        &self.functions[self.counts.imported_functions as usize..]
    }
}

/// Lists the sections of a file that was validated.
fn sections(bytes: &[u8]) -> Result<Vec<Section<'_>>, Error> {
    let mut reader = BinaryReader::new(bytes, 0);
    reader.read_bytes(8)?;
    let mut sections = Vec::new();
    while !reader.eof() {
        let start = reader.original_position();
        let id = reader.read_u8()?;
        let mut contents = reader.read_reader()?;
        let range = contents.range();
        let name = if id == id::CUSTOM {
            Some(contents.read_unlimited_string()?)
        } else {
            None
        };
        sections.push(Section {
            id,
            name,
            start,
            contents: range,
            data: contents.original_position(),
        });
    }
    Ok(sections)
}

/// A module while it is being read.
struct Reading<'a> {
    validator: Validator,
    types: Vec<Option<Arc<Signature>>>,
    name_section: Option<CustomSectionReader<'a>>,
    bodies: Vec<Unread<'a>>,
    module: Module<'a>,
}

impl<'a> Reading<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            validator: Validator::new_with_features(WasmFeatures::all()),
            types: Vec::new(),
            name_section: None,
            bodies: Vec::new(),
            module: Module {
                bytes,
                sections: Vec::new(),
                functions: Vec::new(),
                counts: Counts::default(),
                name: None,
                types: Vec::new(),
                bodies: Vec::new(),
            },
        }
    }

    fn payload(&mut self, payload: Payload<'a>) -> Result<(), Error> {
        if let Payload::Version {
            encoding: Encoding::Component,
            ..
        } = payload
        {
            return Err(Error::Component);
        }
        if let ValidPayload::Func(to_validate, body) = self.validator.payload(&payload)? {
            if let Some(function) = self.module.functions.get_mut(to_validate.index as usize) {
                function.body = Some(body.range());
            }
            self.bodies.push((to_validate, body));
            return Ok(());
        }
        match payload {
            Payload::TypeSection(reader) => {
                for group in reader {
                    for ty in group?.types() {
                        let signature = Signature::new(self.types.len() as u32, ty);
                        self.types.push(signature.map(Arc::new));
                        let hierarchy = Hierarchy::of_defined(&ty.composite_type.inner);
                        self.module.types.push(hierarchy);
                    }
                }
                self.module.counts.types = self.types.len() as u32;
            }
            Payload::ImportSection(reader) => {
                for group in reader.into_iter_with_offsets() {
                    let (offset, group) = group?;
                    self.imports(offset, group)?;
                }
                self.module.counts.imported_functions = self.module.functions.len() as u32;
            }
            Payload::FunctionSection(reader) => {
                for ty in reader {
                    self.function(ty?, None);
                }
            }
            Payload::GlobalSection(reader) => self.module.counts.globals += reader.count(),
            Payload::MemorySection(reader) => self.module.counts.memories += reader.count(),
            Payload::TagSection(reader) => self.module.counts.tags += reader.count(),
            Payload::ElementSection(reader) => self.module.counts.elements = reader.count(),
            Payload::ExportSection(reader) => {
                self.module.counts.exports = reader.count();
                for export in reader.into_iter_with_offsets() {
                    let (offset, export) = export?;
                    self.export(offset, export)?;
                }
            }
            Payload::CustomSection(reader) if reader.name() == "name" => {
                self.name_section.get_or_insert(reader);
            }
            _ => {}
        }
        Ok(())
    }

    fn imports(&mut self, offset: usize, group: Imports<'a>) -> Result<(), Error> {
        match group {
            Imports::Single(_, import) => self.import(offset, import),
            Imports::Compact1 { module, items } => items.into_iter().try_for_each(|item| {
                let item = item?;
                let (name, ty) = (item.name, item.ty);
                self.import(offset, Import { module, name, ty })
            }),
            Imports::Compact2 { module, ty, names } => names.into_iter().try_for_each(|name| {
                let name = name?;
                self.import(offset, Import { module, name, ty })
            }),
        }
    }

    fn import(&mut self, offset: usize, import: Import<'a>) -> Result<(), Error> {
        if hooks::is_reserved_module(import.module) {
            return Err(Error::Reserved {
                what: "import from",
                name: import.module.to_owned(),
                offset,
            });
        }
        let counts = &mut self.module.counts;
        counts.imports += 1;
        match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                self.function(ty, Some((import.module, import.name)));
            }
            TypeRef::Global(_) => counts.globals += 1,
            TypeRef::Memory(_) => counts.memories += 1,
            TypeRef::Tag(_) => counts.tags += 1,
            TypeRef::Table(_) => {}
        }
        Ok(())
    }

    /// Adds a function to the index space. The validator has checked its type.
    fn function(&mut self, ty: u32, import: Option<(&'a str, &'a str)>) {
        let Some(Some(signature)) = self.types.get(ty as usize) else {
            return;
        };
        self.module.functions.push(Function {
            index: FuncIndex(self.module.functions.len() as u32),
            signature: signature.clone(),
            import,
            exports: Vec::new(),
            name: None,
            param_names: Vec::new(),
            body: None,
        });
    }

    fn export(&mut self, offset: usize, export: wasmparser::Export<'a>) -> Result<(), Error> {
        if hooks::is_reserved_export(export.name) {
            return Err(Error::Reserved {
                what: "export",
                name: export.name.to_owned(),
                offset,
            });
        }
        let index = export.index as usize;
        let module = &mut self.module;
        match export.kind {
            ExternalKind::Func | ExternalKind::FuncExact => {
                if let Some(function) = module.functions.get_mut(index) {
                    function.exports.push(export.name);
                }
            }
            ExternalKind::Memory
            | ExternalKind::Global
            | ExternalKind::Table
            | ExternalKind::Tag => {}
        }
        Ok(())
    }

    /// Gives functions and parameters their names, as far as the name section can be
    /// read: it says nothing that matters to the engine, and broken ones are common.
    fn names(&mut self) {
        let Some(section) = self.name_section.take() else {
            return;
        };
        let KnownCustom::Name(names) = section.as_known() else {
            return;
        };
        let functions = &mut self.module.functions;
        for subsection in names {
            match subsection {
                Ok(Name::Module { name, .. }) => self.module.name = Some(name),
                Ok(Name::Function(names)) => {
                    for naming in names.into_iter().map_while(Result::ok) {
                        if let Some(function) = functions.get_mut(naming.index as usize) {
                            function.name = Some(naming.name);
                        }
                    }
                }
                Ok(Name::Local(names)) => {
                    for locals in names.into_iter().map_while(Result::ok) {
                        if let Some(function) = functions.get_mut(locals.index as usize) {
                            name_params(function, locals.names);
                        }
                    }
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

fn name_params<'a>(function: &mut Function<'a>, locals: wasmparser::NameMap<'a>) {
    let params = function.signature.params.len();
    for naming in locals.into_iter().map_while(Result::ok) {
        let index = naming.index as usize;
        if index < params {
            function.param_names.resize(params, None);
            function.param_names[index] = Some(naming.name);
        }
    }
}
