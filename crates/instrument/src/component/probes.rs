//! Writes what is added to a component with probes.

use std::collections::BTreeMap;

use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption, ComponentAliasSection, ComponentExportKind,
    ComponentImportSection, ComponentSectionId, ComponentTypeRef, ComponentTypeSection, ExportKind,
    InstanceSection, ModuleArg,
};
use wasmparser::MemoryType;
use wasmscope_address::FuncIndex;

use super::added::{self, name};
use super::interface::{self, INSTANTIATIONS, Import};
use super::output::{Added, HOST_INSTANCE, Output};
use super::rewritten::{Instantiation, RewrittenModule};
use super::shown::{Contents, can_be_shown};
use super::writer::{Writer, reencoding};
use crate::control::{self, Place};
use crate::{Error, Module, Options, hooks};

impl Writer<'_, '_> {
    /// Imports the host's instance.
    pub(super) fn import(&mut self, out: &mut Output) {
        let here = self.numbering.here();
        let mut types = ComponentTypeSection::new();
        types.instance(&interface::instance_type(self.plan.options));
        let mut imports = ComponentImportSection::new();
        imports.import(
            self.plan.import.as_str(),
            ComponentTypeRef::Instance(here.types),
        );
        here.types += 1;
        here.instances += 1;
        out.component.section(&types).section(&imports);
    }

    /// Writes what every component with probes has: the host's functions, lowered, the
    /// module of hooks and where events are kept.
    pub(super) fn begin(&mut self, out: &mut Output) -> Result<(), Error> {
        let first = u32::try_from(out.scope).ok();
        let first = first.and_then(|scope| scope.checked_mul(1 << INSTANTIATIONS));
        let first = first.filter(|first| *first < i32::MAX.cast_unsigned());
        let Some(first) = first else {
            return Err(Error::TooMany {
                what: "components",
                count: out.scope,
                limit: 1 << (31 - INSTANTIATIONS),
            });
        };
        let mut aliases = ComponentAliasSection::new();
        let used = Import::used(self.plan.options);
        for import in &used {
            aliases.alias(Alias::InstanceExport {
                instance: HOST_INSTANCE,
                kind: ComponentExportKind::Func,
                name: &import.name(),
            });
        }
        out.component.section(&aliases);
        self.numbering.here().functions += used.len() as u32;

        let words = self.words(out)?;
        let events_module = self.add_module(out, &added::events(first, words));
        let Options {
            key,
            ref suffix,
            events,
            ..
        } = *self.plan.options;
        let hooks = match events {
            Some(_) => added::flushing(key, suffix),
            None => added::hooks(key, suffix),
        };
        let hooks = self.add_module(out, &hooks);
        let events = self.instantiate(out, events_module, &[]);
        let memory = self.alias_memory(out, events, name::MEMORY);
        let mut section = CanonicalFunctionSection::new();
        let mut exports = Vec::new();
        let mut share = None;
        for (place, import) in (0..).zip(&used) {
            if *import == Import::Share {
                share = Some(place);
                continue;
            }
            let options = [CanonicalOption::Memory(memory)];
            let options = &options[..usize::from(import.takes_list())];
            section.lower(place, options.iter().copied());
            let index = self.numbering.here().core_functions.add();
            exports.push((import.name(), ExportKind::Func, index));
        }
        out.component.section(&section);
        out.added = Added {
            hooks,
            events,
            host: self.instance_of(out, &exports),
            look: Import::Look.index(),
            memory: Import::Memory.index(),
            events_memory: memory,
            share,
        };
        Ok(())
    }

    fn add_module(&mut self, out: &mut Output, bytes: &[u8]) -> u32 {
        self.add_written(out, bytes, RewrittenModule::Added)
    }

    fn add_written(&mut self, out: &mut Output, bytes: &[u8], module: RewrittenModule) -> u32 {
        let start = out.raw(ComponentSectionId::CoreModule, bytes);
        self.written.push((start, module));
        self.numbering.here().core_modules.add()
    }

    fn instantiate(&mut self, out: &mut Output, module: u32, args: &[(&str, u32)]) -> u32 {
        let mut section = InstanceSection::new();
        let args = args
            .iter()
            .map(|(name, instance)| (*name, ModuleArg::Instance(*instance)));
        section.instantiate(module, args.collect::<Vec<_>>());
        out.component.section(&section);
        self.numbering.here().core_instances.add()
    }

    /// Makes a core instance of things.
    fn instance_of(&mut self, out: &mut Output, exports: &[(String, ExportKind, u32)]) -> u32 {
        let mut section = InstanceSection::new();
        let exports = exports
            .iter()
            .map(|(name, kind, index)| (name.as_str(), *kind, *index));
        section.export_items(exports.collect::<Vec<_>>());
        out.component.section(&section);
        self.numbering.here().core_instances.add()
    }

    fn alias(&mut self, out: &mut Output, instance: u32, kind: ExportKind, name: &str) {
        let mut section = ComponentAliasSection::new();
        section.alias(Alias::CoreInstanceExport {
            instance,
            kind,
            name,
        });
        out.component.section(&section);
    }

    fn alias_function(&mut self, out: &mut Output, instance: u32, name: &str) -> u32 {
        self.alias(out, instance, ExportKind::Func, name);
        self.numbering.here().core_functions.add()
    }

    fn alias_memory(&mut self, out: &mut Output, instance: u32, name: &str) -> u32 {
        self.alias(out, instance, ExportKind::Memory, name);
        self.numbering.here().core_memories.add()
    }

    /// Makes the hooks of something that is about to be instantiated.
    pub(super) fn hooks(
        &mut self,
        out: &mut Output,
        instantiation: Instantiation,
    ) -> Result<u32, Error> {
        if out.numbered >> INSTANTIATIONS > 0 {
            return Err(Error::TooMany {
                what: "instances with probes",
                count: out.numbered as usize,
                limit: 1 << INSTANTIATIONS,
            });
        }
        let number = (out.scope << INSTANTIATIONS) as u32 + out.numbered;
        out.numbered += 1;
        self.instantiations.insert(number, instantiation);
        let Added {
            hooks,
            events,
            host,
            ..
        } = out.added;
        let args = [(name::EVENTS, events), (name::HOST, host)];
        Ok(self.instantiate(out, hooks, &args))
    }

    /// Tells the host where the memory is that it shares with an instance.
    pub(super) fn share(&mut self, out: &mut Output, hooks: u32, instance: u32) {
        let Some(share) = out.added.share else {
            return;
        };
        let export = control::shared_export(&self.plan.options.suffix);
        let memory = self.alias_memory(out, instance, &export);
        let module = match out.share {
            Some(module) => module,
            None => {
                let module = self.add_module(out, &added::share(self.plan.options.key));
                out.share = Some(module);
                module
            }
        };
        let mut section = CanonicalFunctionSection::new();
        section.lower(share, [CanonicalOption::Memory(memory)]);
        out.component.section(&section);
        let function = self.numbering.here().core_functions.add();
        let exports = [(name::SHARE.to_owned(), ExportKind::Func, function)];
        let host = self.instance_of(out, &exports);
        let args = [(name::HOST, host), (name::HOOKS, hooks)];
        self.instantiate(out, module, &args);
    }

    /// Returns how many words the globals of each instance that may be shown are, at most.
    fn words(&self, out: &Output) -> Result<usize, Error> {
        if !self.plan.options.expose || !self.plan.options.show_globals {
            return Ok(0);
        }
        let modules = self.scope(out).core_instantiations.iter().flatten();
        let probed = modules.filter(|module| self.plan.probed[**module]);
        let mut words = probed.map(|module| {
            let module = &self.plan.component.modules()[*module].module;
            Contents::of(module).map(|contents| contents.words())
        });
        words.try_fold(0, |most, words| Ok(most.max(words?)))
    }

    /// Lets hooks show the memories of an instance, and its globals.
    pub(super) fn look_at_instance(
        &mut self,
        out: &mut Output,
        hooks: u32,
        instance: u32,
        module: usize,
    ) -> Result<(), Error> {
        if !self.plan.options.expose {
            return Ok(());
        }
        let contents = Contents::of(&self.plan.component.modules()[module].module)?;
        let suffix = self.plan.options.suffix.clone();
        let memories = contents.shown_memories().map(|(index, ty)| {
            let export = hooks::memory_export(index, &suffix);
            (index, self.alias_memory(out, instance, &export), ty)
        });
        let memories = memories.collect::<Vec<_>>();
        if !memories.is_empty() {
            self.look(out, hooks, &memories);
        }
        let globals = contents
            .shown_globals()
            .map(|(index, ty)| (hooks::global_export(index, &suffix), ty));
        let globals = globals.collect::<Vec<_>>();
        if self.plan.options.show_globals && !globals.is_empty() {
            let bytes = added::globals(&globals).map_err(reencoding)?;
            let module = self.shower(out, bytes);
            let show = self.lower(out, Import::Globals.index(), out.added.events_memory);
            let show = (name::LOOK.to_owned(), ExportKind::Func, show);
            let host = self.instance_of(out, &[show]);
            let args = [
                (name::HOST, host),
                (name::EVENTS, out.added.events),
                (name::HOOKS, hooks),
                (name::GUEST, instance),
            ];
            self.instantiate(out, module, &args);
        }
        Ok(())
    }

    /// Lets hooks show memories, by their indices in their module and in the component.
    fn look(&mut self, out: &mut Output, hooks: u32, memories: &[(u32, u32, MemoryType)]) {
        let types = memories
            .iter()
            .map(|(index, _, ty)| (*index, ty.page_size_log2));
        let bytes = added::look(self.plan.options.key, &types.collect::<Vec<_>>());
        let module = self.shower(out, bytes);
        let mut shown = Vec::new();
        let mut others = 0;
        let mut first = out.added.events_memory;
        for (n, (index, memory, _)) in memories.iter().enumerate() {
            shown.push((name::nth(name::MEMORY, n), ExportKind::Memory, *memory));
            if *index == 0 {
                first = *memory;
                continue;
            }
            let show = self.lower(out, out.added.memory, *memory);
            shown.push((name::nth(name::LOOK, others), ExportKind::Func, show));
            others += 1;
        }
        let look = self.lower(out, out.added.look, first);
        shown.push((name::LOOK.to_owned(), ExportKind::Func, look));
        let host = self.instance_of(out, &shown);
        let args = [(name::HOST, host), (name::HOOKS, hooks)];
        self.instantiate(out, module, &args);
    }

    /// Adds a module that shows something, once for all that need the same.
    fn shower(&mut self, out: &mut Output, bytes: Vec<u8>) -> u32 {
        if let Some(module) = out.look.get(&bytes) {
            return *module;
        }
        let module = self.add_module(out, &bytes);
        out.look.insert(bytes, module);
        module
    }

    /// Lowers a function of the host's that takes a list.
    fn lower(&mut self, out: &mut Output, function: u32, memory: u32) -> u32 {
        let mut section = CanonicalFunctionSection::new();
        section.lower(function, [CanonicalOption::Memory(memory)]);
        out.component.section(&section);
        self.numbering.here().core_functions.add()
    }

    /// Tells whether a function goes without something in front of it that forbids calls
    /// out, or has that.
    pub(super) fn is_quiet(&self, out: &Output, function: u32) -> bool {
        let indices = self.numbering.open.last();
        let types = &self.plan.component.scopes[out.scope].quiet;
        let made = indices.is_some_and(|indices| indices.quiet.contains_key(&function));
        made || !matches!(types.get(&function), Some(Some(_)))
    }

    /// Puts something in front of a function that forbids calls out.
    pub(super) fn make_quiet(&mut self, out: &mut Output, function: u32) -> Result<(), Error> {
        let types = &self.plan.component.scopes[out.scope].quiet;
        let Some(Some(ty)) = types.get(&function) else {
            return Ok(());
        };
        let bytes = added::quiet(ty);
        let module = match out.quiet.get(&bytes) {
            Some(module) => *module,
            None => {
                let module = self.add_module(out, &bytes);
                out.quiet.insert(bytes, module);
                module
            }
        };
        let inner = self.numbering.here().core_functions.moved(function);
        let exports = [(name::FUNCTION.to_owned(), ExportKind::Func, inner)];
        let inner = self.instance_of(out, &exports);
        let args = [(name::EVENTS, out.added.events), (name::INNER, inner)];
        let instance = self.instantiate(out, module, &args);
        let quiet = self.alias_function(out, instance, name::FUNCTION);
        self.numbering.here().quiet.insert(function, quiet);
        Ok(())
    }

    /// Wraps functions, each with its original index and which of those that are lifted or
    /// lowered it is. Returns the wrappers.
    pub(super) fn wrap(
        &mut self,
        out: &mut Output,
        functions: &[(u32, usize)],
    ) -> Result<Vec<(usize, u32)>, Error> {
        // An instance shows one memory.
        let mut groups = BTreeMap::<Option<u32>, Vec<(u32, usize)>>::new();
        for (function, number) in functions {
            let memory = self.plan.component.functions()[*number].memory;
            groups.entry(memory).or_default().push((*function, *number));
        }
        let mut wrappers = Vec::new();
        for (memory, group) in groups {
            let instance = self.wrap_group(out, memory, &group)?;
            for (at, (_, number)) in group.iter().enumerate() {
                let wrapper = self.alias_function(out, instance, &added::wrapped(at));
                wrappers.push((*number, wrapper));
            }
        }
        Ok(wrappers)
    }

    fn wrap_group(
        &mut self,
        out: &mut Output,
        memory: Option<u32>,
        group: &[(u32, usize)],
    ) -> Result<u32, Error> {
        let component = self.plan.component;
        let mut types = Vec::new();
        let mut inner = Vec::new();
        for (at, (function, number)) in group.iter().enumerate() {
            // What cannot be wrapped was refused when this was planned.
            types.extend(component.functions()[*number].core.clone());
            let index = self.numbering.here().core_functions.moved(*function);
            inner.push((added::wrapped(at), ExportKind::Func, index));
        }
        let bytes = added::wrapper(&types);
        let module = Module::parse(&bytes)?;
        let options = Options {
            suffix: self.plan.options.suffix.clone(),
            key: self.plan.options.key,
            events: self.plan.options.events,
            switches: self.plan.options.switches,
            ..Options::default()
        };
        let first = FuncIndex(group.len() as u32);
        let rewritten =
            module.rewrite_in(Place::Memory, &options, &|function| function >= first)?;
        let functions = group.iter().map(|(_, number)| *number).collect::<Vec<_>>();
        let number = self.written.len();
        let wrapper = RewrittenModule::Wrapper {
            functions: functions.clone(),
        };
        let module = self.add_written(out, &rewritten.wasm, wrapper);
        let hooks = self.hooks(
            out,
            Instantiation::Functions {
                module: number,
                functions,
            },
        )?;
        if self.plan.options.expose
            && let Some(memory) = memory
            && let Some(ty) = component.scopes[out.scope].memories.get(memory as usize)
            && can_be_shown(ty)
        {
            let memory = self.numbering.here().core_memories.moved(memory);
            self.look(out, hooks, &[(0, memory, *ty)]);
        }
        let inner = self.instance_of(out, &inner);
        let args = [(name::INNER, inner), (hooks::MODULE, hooks)];
        let instance = self.instantiate(out, module, &args);
        self.share(out, hooks, instance);
        Ok(instance)
    }
}
