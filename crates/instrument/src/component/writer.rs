//! Writes a rewritten component: each section where it was, with what is added between.

use std::collections::BTreeMap;

use wasm_encoder::reencode::{self, ReencodeComponent};
use wasm_encoder::{
    ComponentAliasSection, ComponentExportKind, ComponentExportSection, ComponentImportSection,
    ComponentInstanceSection, ComponentSectionId, ComponentTypeSection, InstanceSection, ModuleArg,
};
use wasmparser::{
    Chunk, ComponentAlias, ComponentInstance, ComponentType, ExternalKind,
    Instance as CoreInstance, Parser, Payload, WasmFeatures,
};

use super::numbering::{Indices, Numbering};
use super::output::{HOST_INSTANCE, Output};
use super::plan::{Part, Plan};
use super::rewritten::{Instantiation, RewrittenComponent, RewrittenModule};
use super::scope::Scope;
use crate::{Error, hooks};

/// The most instances, and the most core modules, that engines accept in a component.
const MAX_IN_COMPONENT: usize = 1_000;

/// The most components that are written one within the other: each takes some of the stack.
const MAX_NESTED: usize = 100;

/// Writes what is planned.
pub(super) struct Writer<'c, 'a> {
    pub(super) plan: Plan<'c, 'a>,
    pub(super) numbering: Numbering,
    /// How many components of the original are begun.
    scopes: usize,
    /// The modules that are written, and where each starts in its own component.
    pub(super) written: Vec<(usize, RewrittenModule)>,
    /// Which of those each module of the original is, so far.
    numbers: Vec<usize>,
    pub(super) instantiations: BTreeMap<u32, Instantiation>,
}

impl<'c, 'a> Writer<'c, 'a> {
    pub(super) fn new(plan: Plan<'c, 'a>) -> Self {
        Self {
            plan,
            numbering: Numbering::default(),
            scopes: 0,
            written: Vec::new(),
            numbers: Vec::new(),
            instantiations: BTreeMap::new(),
        }
    }

    pub(super) fn finish(mut self) -> Result<RewrittenComponent, Error> {
        let bytes = self.plan.component.bytes;
        let wasm = if self.plan.is_empty() {
            for (index, nested) in self.plan.component.modules().iter().enumerate() {
                let (module, _) = self.plan.module(index);
                self.written.push((nested.offset, module));
            }
            bytes.to_vec()
        } else {
            self.component(bytes, 0)?
        };
        if u32::try_from(wasm.len()).is_err() {
            return Err(Error::TooMany {
                what: "bytes",
                count: wasm.len(),
                limit: u32::MAX as usize,
            });
        }
        let modules = self.written.into_iter().map(|(start, mut module)| {
            if let RewrittenModule::Original(original) = &mut module {
                let before = self.plan.component.modules()[original.index].offset;
                original.map.within(before as u32, start as u32);
            }
            module
        });
        Ok(RewrittenComponent {
            wasm,
            modules: modules.collect(),
            instantiations: self.instantiations,
        })
    }

    /// Writes one component, whose bytes start at `start`.
    fn component(&mut self, bytes: &'a [u8], start: u64) -> Result<Vec<u8>, Error> {
        if self.numbering.open.len() >= MAX_NESTED {
            return Err(Error::TooMany {
                what: "components within each other",
                count: self.numbering.open.len() + 1,
                limit: MAX_NESTED,
            });
        }
        let scope = self.scopes;
        self.scopes += 1;
        self.numbering.open.push(Indices::default());
        let mut out = Output::new(scope);
        match self.plan.scopes[scope] {
            Part::None => {}
            Part::Hands => self.import(&mut out),
            Part::Probed => {
                self.import(&mut out);
                self.begin(&mut out)?;
            }
        }
        let mut parser = Parser::new(start);
        parser.set_features(WasmFeatures::all());
        let mut rest = bytes;
        while !rest.is_empty() {
            let Chunk::Parsed { consumed, payload } = parser.parse(rest, true)? else {
                break;
            };
            rest = &rest[consumed..];
            let inside = match &payload {
                Payload::ModuleSection {
                    unchecked_range, ..
                }
                | Payload::ComponentSection {
                    unchecked_range, ..
                } => unchecked_range.len(),
                _ => 0,
            };
            let (inside, behind) = rest.split_at(inside);
            rest = behind;
            self.payload(&mut out, payload, inside, bytes, start)?;
        }
        self.check(&out)?;
        self.numbering.open.pop();
        Ok(out.component.finish())
    }

    /// Checks that engines accept as many of what was added to a component.
    fn check(&mut self, out: &Output) -> Result<(), Error> {
        let instances = self.scope(out).instances.len() as u32;
        let here = self.numbering.here();
        let instances = instances + here.instances + here.core_instances.count();
        let modules = here.core_modules.count();
        for (what, count) in [("instances", instances), ("core modules", modules)] {
            let count = count as usize;
            if count > MAX_IN_COMPONENT {
                return Err(Error::TooMany {
                    what,
                    count,
                    limit: MAX_IN_COMPONENT,
                });
            }
        }
        Ok(())
    }

    fn payload(
        &mut self,
        out: &mut Output,
        payload: Payload<'a>,
        inside: &'a [u8],
        bytes: &'a [u8],
        start: u64,
    ) -> Result<(), Error> {
        match payload {
            Payload::ModuleSection { .. } => {
                let (module, rewritten) = self.plan.module(self.numbers.len());
                self.numbers.push(self.written.len());
                let bytes = rewritten.as_deref().unwrap_or(inside);
                let start = out.raw(ComponentSectionId::CoreModule, bytes);
                self.written.push((start, module));
                self.numbering.here().core_modules.keep();
            }
            Payload::ComponentSection {
                unchecked_range, ..
            } => {
                let first = self.written.len();
                let inner = self.component(inside, unchecked_range.start as u64)?;
                let start = out.raw(ComponentSectionId::Component, &inner);
                for (module, _) in &mut self.written[first..] {
                    *module += start;
                }
            }
            Payload::ComponentTypeSection(reader) => {
                let mut used = Vec::new();
                for ty in reader.clone() {
                    if let ComponentType::Resource { dtor, .. } = ty? {
                        used.extend(dtor);
                    }
                }
                self.wrap_lowered_if(out, &used)?;
                let mut section = ComponentTypeSection::new();
                self.numbering
                    .parse_component_type_section(&mut section, reader)
                    .map_err(reencoding)?;
                out.component.section(&section);
            }
            Payload::ComponentImportSection(reader) => {
                let mut section = ComponentImportSection::new();
                self.numbering
                    .parse_component_import_section(&mut section, reader)
                    .map_err(reencoding)?;
                out.component.section(&section);
            }
            Payload::ComponentExportSection(reader) => {
                let exports = reader.clone().into_iter();
                let mut section = ComponentExportSection::new();
                self.numbering
                    .parse_component_export_section(&mut section, reader)
                    .map_err(reencoding)?;
                out.component.section(&section);
                for export in exports {
                    self.exported(export?.kind);
                }
            }
            Payload::ComponentStartSection { start, .. } => {
                self.numbering
                    .parse_component_start_section(&mut out.component, start)
                    .map_err(reencoding)?;
            }
            Payload::ComponentAliasSection(reader) => {
                let mut section = ComponentAliasSection::new();
                for alias in reader {
                    let alias = alias?;
                    let encoded = self.numbering.component_alias(alias.clone());
                    section.alias(encoded.map_err(reencoding)?);
                    self.aliased(&alias);
                }
                out.component.section(&section);
            }
            Payload::InstanceSection(reader) => {
                self.wrap_lowered(out)?;
                for instance in reader {
                    self.core_instance(out, instance?)?;
                }
            }
            Payload::ComponentInstanceSection(reader) => {
                let mut section = ComponentInstanceSection::new();
                for instance in reader {
                    self.instance(out, &mut section, instance?)?;
                }
                out.component.section(&section);
            }
            Payload::ComponentCanonicalSection(reader) => {
                let items = reader.into_iter().collect::<Result<Vec<_>, _>>()?;
                self.canonical(out, &items)?;
            }
            Payload::CustomSection(reader) => {
                if let wasmparser::KnownCustom::ComponentName(names) = reader.as_known()
                    && self.plan.scopes[out.scope] != Part::None
                {
                    // Names that cannot be read say nothing that matters.
                    if let Ok(names) = self.numbering.custom_component_name_section(names) {
                        out.component.section(&names);
                    }
                } else {
                    let range = reader.range();
                    let contents = &bytes[range.start - start as usize..range.end - start as usize];
                    out.raw(ComponentSectionId::CoreCustom, contents);
                }
            }
            Payload::CoreTypeSection(reader) => {
                let range = reader.range();
                let contents = &bytes[range.start - start as usize..range.end - start as usize];
                out.raw(ComponentSectionId::CoreType, contents);
            }
            // There are no other sections in a valid component.
            _ => {}
        }
        Ok(())
    }

    /// Counts what exporting something adds to its index space.
    fn exported(&mut self, kind: wasmparser::ComponentExternalKind) {
        if kind == wasmparser::ComponentExternalKind::Module {
            self.numbering.here().core_modules.keep();
        }
    }

    fn aliased(&mut self, alias: &ComponentAlias<'_>) {
        let here = self.numbering.here();
        match alias {
            ComponentAlias::CoreInstanceExport { kind, .. } => match kind {
                ExternalKind::Func | ExternalKind::FuncExact => {
                    here.core_functions.keep();
                }
                ExternalKind::Memory => {
                    here.core_memories.keep();
                }
                ExternalKind::Table | ExternalKind::Global | ExternalKind::Tag => {}
            },
            ComponentAlias::InstanceExport { kind, .. } => {
                if *kind == wasmparser::ComponentExternalKind::Module {
                    here.core_modules.keep();
                }
            }
            ComponentAlias::Outer { kind, .. } => {
                if *kind == wasmparser::ComponentOuterAliasKind::CoreModule {
                    here.core_modules.keep();
                }
            }
        }
    }

    pub(super) fn scope(&self, out: &Output) -> &'c Scope<'a> {
        &self.plan.component.scopes[out.scope]
    }

    /// Writes an instance of a core module. One with probes gets its hooks.
    fn core_instance(&mut self, out: &mut Output, instance: CoreInstance<'a>) -> Result<(), Error> {
        let place = out.core_instantiations;
        let probed = match &instance {
            CoreInstance::Instantiate { args, .. } => {
                let module = self.scope(out).core_instantiations[place];
                out.core_instantiations += 1;
                let module = module.filter(|module| self.plan.probed[*module]);
                module.map(|module| (module, args))
            }
            CoreInstance::FromExports(_) => None,
        };
        let mut section = InstanceSection::new();
        let Some((module, args)) = probed else {
            self.numbering
                .parse_instance(&mut section, instance)
                .map_err(reencoding)?;
            out.component.section(&section);
            self.numbering.here().core_instances.keep();
            return Ok(());
        };
        let instantiation = Instantiation::Core {
            module: self.numbers[module],
            lowered: self.plan.component.lowered_at(out.scope, place),
        };
        let hooks = self.hooks(out, instantiation)?;
        let here = self.numbering.here();
        let args = args.iter().map(|arg| {
            let instance = here.core_instances.moved(arg.index);
            (arg.name, ModuleArg::Instance(instance))
        });
        let mut args = args.collect::<Vec<_>>();
        args.push((hooks::MODULE, ModuleArg::Instance(hooks)));
        let CoreInstance::Instantiate { module_index, .. } = &instance else {
            return Ok(());
        };
        section.instantiate(here.core_modules.moved(*module_index), args);
        out.component.section(&section);
        let instance = here.core_instances.keep();
        self.share(out, hooks, instance);
        self.look_at_instance(out, hooks, instance, module)
    }

    /// Writes an instance of a component. One that has to do with probes gets what it
    /// imports now.
    fn instance(
        &mut self,
        out: &mut Output,
        section: &mut ComponentInstanceSection,
        instance: ComponentInstance<'a>,
    ) -> Result<(), Error> {
        if let ComponentInstance::Instantiate {
            component_index,
            args,
        } = &instance
        {
            let inner = self.scope(out).instantiations[out.instantiations];
            out.instantiations += 1;
            if inner.is_some_and(|inner| self.plan.scopes[inner] != Part::None) {
                let numbering = &mut self.numbering;
                let args = args.iter().map(|arg| {
                    let index = numbering.component_external_index(arg.kind, arg.index);
                    (arg.name, ComponentExportKind::from(arg.kind), index)
                });
                let mut args = args.collect::<Vec<_>>();
                let import = self.plan.import.as_str();
                args.push((import, ComponentExportKind::Instance, HOST_INSTANCE));
                section.instantiate(*component_index, args);
                return Ok(());
            }
        }
        self.numbering
            .parse_component_instance(section, instance)
            .map_err(reencoding)
    }
}

/// What was validated can be written again; should it not be, that is said.
pub(super) fn reencoding(error: reencode::Error) -> Error {
    Error::NotYet {
        what: format!("a component with something in it that cannot be copied ({error})"),
    }
}
