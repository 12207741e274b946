//! Reads a component: validates it and notes where the items of each index space come
//! from.

use std::collections::HashMap;
use std::ops::Range;

use wasm_encoder::ValType;
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentEntityType, ComponentValType, ResourceId,
};
use wasmparser::types::TypesRef;
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, Encoding, ExternalKind, Parser, Payload,
    ValidPayload, Validator, WasmFeatures,
};

use super::added::CoreType;
use super::core::{CoreFunction, CoreInstance};
use super::function::{ComponentFunction, Direction, Signature, StringEncoding};
use super::interface;
use super::scope::{Function, Instance, Item, Names, Scope};
use crate::Error;

/// What the function is called that hands over the results of a task.
const TASK_RETURN: &str = "task.return";

/// What was read of a component, apart from its core modules.
pub(super) struct Reading<'a> {
    validator: Validator,
    pub(super) scopes: Vec<Scope<'a>>,
    /// The scopes that are being read, the innermost last.
    open: Vec<usize>,
    in_module: bool,
    /// The bytes of each core module.
    pub(super) modules: Vec<Range<usize>>,
    pub(super) functions: Vec<ComponentFunction>,
    /// The modules and components that are used as values, and by which names.
    pub(super) escaped_modules: Vec<(usize, &'a str)>,
    pub(super) escaped_scopes: Vec<(usize, &'a str)>,
    pub(super) types: Option<wasmparser::types::Types>,
    /// The names of resources.
    pub(super) resources: HashMap<ResourceId, String>,
}

impl<'a> Reading<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reading = Self {
            validator: Validator::new_with_features(WasmFeatures::all()),
            scopes: Vec::new(),
            open: Vec::new(),
            in_module: false,
            modules: Vec::new(),
            functions: Vec::new(),
            escaped_modules: Vec::new(),
            escaped_scopes: Vec::new(),
            types: None,
            resources: HashMap::new(),
        };
        let mut parser = Parser::new(0);
        parser.set_features(WasmFeatures::all());
        for payload in parser.parse_all(bytes) {
            let payload = payload?;
            // The parser takes the end of the file for that of what is nested at its end.
            if let Payload::ModuleSection {
                unchecked_range: nested,
                ..
            }
            | Payload::ComponentSection {
                unchecked_range: nested,
                ..
            } = &payload
                && nested.end > bytes.len()
            {
                return Err(Error::Invalid {
                    offset: nested.start,
                    reason: "unexpected end of what is nested here".to_owned(),
                });
            }
            reading.payload(payload)?;
        }
        let names = Names::find(&reading.scopes, reading.functions.len());
        for (function, name) in reading.functions.iter_mut().zip(names) {
            if let Some((interface, name)) = name {
                function.interface = interface.map(str::to_owned);
                function.name = Some(name.to_owned());
            }
        }
        Ok(reading)
    }

    fn payload(&mut self, payload: Payload<'a>) -> Result<(), Error> {
        if let Payload::Version {
            encoding: Encoding::Module,
            ..
        } = payload
            && self.open.is_empty()
        {
            return Err(Error::NotComponent);
        }
        if let Payload::End(_) = payload
            && !self.in_module
        {
            self.name_resources();
        }
        match self.validator.payload(&payload)? {
            // Bodies are validated in parallel, with the modules.
            ValidPayload::Func(..) | ValidPayload::Parser(_) => {}
            ValidPayload::Ok => {}
            ValidPayload::End(types) => self.types = Some(types),
        }
        if self.in_module {
            self.in_module = !matches!(payload, Payload::End(_));
            return Ok(());
        }
        match payload {
            Payload::Version { encoding, .. } => match encoding {
                Encoding::Module => self.in_module = true,
                Encoding::Component => {
                    self.scopes.push(Scope::default());
                    self.open.push(self.scopes.len() - 1);
                }
            },
            Payload::End(_) => {
                let inner = self.open.pop();
                if let Some(outer) = self.open.last() {
                    self.scopes[*outer].components.push(inner);
                }
            }
            Payload::ModuleSection {
                unchecked_range, ..
            } => {
                let module = self.modules.len();
                self.modules.push(unchecked_range);
                self.scope().modules.push(Some(module));
            }
            Payload::ComponentImportSection(reader) => {
                for import in reader.into_iter_with_offsets() {
                    let (offset, import) = import?;
                    let name = import.name.name;
                    reserved("import of", name, offset)?;
                    let scope = self.scope();
                    match import.ty {
                        ComponentTypeRef::Module(_) => scope.modules.push(None),
                        ComponentTypeRef::Component(_) => scope.components.push(None),
                        ComponentTypeRef::Func(_) => scope.functions.push(Function::Import(name)),
                        ComponentTypeRef::Instance(_) => {
                            scope.instances.push(Instance::Import(name));
                        }
                        ComponentTypeRef::Type(_) => scope.imported_types.push(name),
                        ComponentTypeRef::Value(_) => {}
                    }
                }
            }
            Payload::ComponentExportSection(reader) => {
                for export in reader.into_iter_with_offsets() {
                    let (offset, export) = export?;
                    let name = export.name.name;
                    reserved("export", name, offset)?;
                    let item = Item {
                        name,
                        kind: export.kind,
                        index: export.index,
                    };
                    self.escape(&item);
                    let scope = self.scope();
                    scope.exports.push(item);
                    scope.copy(item.kind, item.index);
                }
            }
            Payload::ComponentAliasSection(reader) => {
                for alias in reader {
                    self.alias(alias?);
                }
            }
            Payload::InstanceSection(reader) => {
                for instance in reader {
                    let scope = self.scope();
                    let module = |module| scope.modules[module as usize];
                    let instance = CoreInstance::new(&instance?, module);
                    if let CoreInstance::Instantiated(module, _) = instance {
                        scope.core_instantiations.push(module);
                    }
                    scope.core.instances.push(instance);
                }
            }
            Payload::ComponentInstanceSection(reader) => {
                for instance in reader {
                    self.instance(instance?);
                }
            }
            Payload::ComponentCanonicalSection(reader) => {
                // Lowering adds core functions from here on.
                let mut core_function = self
                    .validator
                    .types(0)
                    .map_or(0, |types| types.function_count());
                let items = reader.into_iter().collect::<Result<Vec<_>, _>>()?;
                let lifts =
                    |item: &&CanonicalFunction| matches!(item, CanonicalFunction::Lift { .. });
                core_function -= (items.len() - items.iter().filter(lifts).count()) as u32;
                for item in items {
                    self.canonical(&item, core_function);
                    if !lifts(&&item) {
                        core_function += 1;
                        let known = self.scope().core.functions.len() as u32;
                        if known < core_function {
                            self.scope().core.functions.push(CoreFunction::BuiltIn);
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes what the component that ends here calls resources: by its imports, its exports, and
    /// those of its instances.
    fn name_resources(&mut self) {
        let (Some(types), Some(open)) = (self.validator.types(0), self.open.last()) else {
            return;
        };
        let scope = &self.scopes[*open];
        let imports = scope.imported_types.iter();
        let imports =
            imports.filter_map(|name| Some((*name, types.component_item_for_import(name)?)));
        let exports = scope.exports.iter().map(|item| item.name);
        let exports =
            exports.filter_map(|name| Some((name, types.component_item_for_export(name)?)));
        let instances = 0..types.component_instance_count();
        let instances = instances.map(|index| &types[types.component_instance_at(index)]);
        let of_instances = instances.flat_map(|instance| &instance.exports);
        let of_instances = of_instances.map(|(name, item)| (name.as_str(), item));
        for (name, item) in imports.chain(exports).chain(of_instances) {
            if let ComponentEntityType::Type {
                created: ComponentAnyTypeId::Resource(resource),
                ..
            } = item.ty
            {
                let named = self.resources.entry(resource.resource());
                named.or_insert_with(|| name.to_owned());
            }
        }
    }

    fn scope(&mut self) -> &mut Scope<'a> {
        let open = self.open.last().copied().unwrap_or_default();
        &mut self.scopes[open]
    }

    /// Notes that something is used as a value.
    fn escape(&mut self, item: &Item<'a>) {
        let index = item.index as usize;
        match item.kind {
            ComponentExternalKind::Module => {
                if let Some(module) = self.scope().modules[index] {
                    self.escaped_modules.push((module, item.name));
                }
            }
            ComponentExternalKind::Component => {
                if let Some(inner) = self.scope().components[index] {
                    self.escaped_scopes.push((inner, item.name));
                }
            }
            _ => {}
        }
    }

    fn alias(&mut self, alias: ComponentAlias<'a>) {
        match alias {
            ComponentAlias::InstanceExport {
                kind,
                instance_index,
                name,
            } => {
                let scope = self.scope();
                match kind {
                    ComponentExternalKind::Module => scope.modules.push(None),
                    ComponentExternalKind::Component => scope.components.push(None),
                    ComponentExternalKind::Func => {
                        scope.functions.push(Function::Of(instance_index, name));
                    }
                    ComponentExternalKind::Instance => {
                        scope.instances.push(Instance::Of(name));
                    }
                    ComponentExternalKind::Value | ComponentExternalKind::Type => {}
                }
            }
            ComponentAlias::CoreInstanceExport {
                kind,
                instance_index,
                name,
            } => match kind {
                ExternalKind::Memory => {
                    let known = self.scope().memories.len() as u32;
                    // The section is validated, so what it adds is known already.
                    let types = self.validator.types(0);
                    let memory = types.map(|types| types.memory_at(known));
                    self.scope().memories.extend(memory);
                }
                ExternalKind::Func | ExternalKind::FuncExact => {
                    let function = CoreFunction::Of(instance_index, name);
                    self.scope().core.functions.push(function);
                }
                ExternalKind::Table => self.scope().core.tables.push((instance_index, name)),
                ExternalKind::Global | ExternalKind::Tag => {}
            },
            ComponentAlias::Outer { kind, count, index } => {
                let outer = self.open[self.open.len() - 1 - count as usize];
                let index = index as usize;
                match kind {
                    ComponentOuterAliasKind::CoreModule => {
                        let module = self.scopes[outer].modules[index];
                        self.scope().modules.push(module);
                    }
                    ComponentOuterAliasKind::Component => {
                        let component = self.scopes[outer].components[index];
                        self.scope().components.push(component);
                    }
                    ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => {}
                }
            }
        }
    }

    fn instance(&mut self, instance: ComponentInstance<'a>) {
        let items = |items: &mut dyn Iterator<Item = Item<'a>>| items.collect::<Vec<_>>();
        let (made, items) = match &instance {
            ComponentInstance::Instantiate {
                component_index,
                args,
            } => {
                let component = self.scope().components[*component_index as usize];
                let items = items(&mut args.iter().map(|arg| Item {
                    name: arg.name,
                    kind: arg.kind,
                    index: arg.index,
                }));
                self.scope().instantiations.push(component);
                (Instance::Instantiated(component, items.clone()), items)
            }
            ComponentInstance::FromExports(exports) => {
                let items = items(&mut exports.iter().map(|export| Item {
                    name: export.name.name,
                    kind: export.kind,
                    index: export.index,
                }));
                (Instance::Made(items.clone()), items)
            }
        };
        for item in &items {
            self.escape(item);
        }
        self.scope().instances.push(made);
    }

    /// Notes what is lifted or lowered. A function that is lowered has the index
    /// `core_function`.
    fn canonical(&mut self, item: &CanonicalFunction, core_function: u32) {
        let Some(types) = self.validator.types(0) else {
            return;
        };
        let open = self.open.last().copied().unwrap_or_default();
        let (direction, core_function, ty, options) = match item {
            CanonicalFunction::Lift {
                core_func_index,
                type_index,
                options,
            } => {
                let ty = types.component_any_type_at(*type_index).unwrap_func();
                let ty = Signature::Function(ty);
                (Direction::Export, *core_func_index, ty, options)
            }
            CanonicalFunction::Lower {
                func_index,
                options,
            } => {
                let ty = Signature::Function(types.component_function_at(*func_index));
                (Direction::Import, core_function, ty, options)
            }
            CanonicalFunction::TaskReturn { result, options } => {
                let result = result.map(|result| match result {
                    wasmparser::ComponentValType::Primitive(ty) => ComponentValType::Primitive(ty),
                    wasmparser::ComponentValType::Type(index) => {
                        ComponentValType::Type(types.component_any_type_at(index).unwrap_defined())
                    }
                });
                let ty = Signature::TaskReturn(result);
                (Direction::Import, core_function, ty, options)
            }
            _ => {
                for option in options(item) {
                    note_quiet(&mut self.scopes[open], &types, *option);
                }
                return;
            }
        };
        let mut function = ComponentFunction {
            direction,
            interface: None,
            name: None,
            ty,
            encoding: StringEncoding::Utf8,
            memory: None,
            is_async: false,
            has_callback: false,
            params: Box::default(),
            results: Box::default(),
            core: core_type(&types, core_function),
        };
        let core = types[types.core_function_at(core_function)].unwrap_func();
        function.params = core.params().into();
        function.results = core.results().into();
        let scope = &mut self.scopes[open];
        for option in options.iter() {
            note_quiet(scope, &types, *option);
            match *option {
                CanonicalOption::UTF8 => function.encoding = StringEncoding::Utf8,
                CanonicalOption::UTF16 => function.encoding = StringEncoding::Utf16,
                CanonicalOption::CompactUTF16 => function.encoding = StringEncoding::CompactUtf16,
                CanonicalOption::Memory(memory) => function.memory = Some(memory),
                CanonicalOption::Async => function.is_async = true,
                CanonicalOption::Callback(_) => function.has_callback = true,
                CanonicalOption::Gc => function.core = None,
                CanonicalOption::Realloc(_)
                | CanonicalOption::PostReturn(_)
                | CanonicalOption::CoreType(_) => {}
            }
        }
        let number = self.functions.len();
        scope.lifted_or_lowered.push(number);
        match item {
            CanonicalFunction::Lower { func_index, .. } => {
                let (interface, name) = scope.imported(*func_index);
                function.interface = interface.map(str::to_owned);
                function.name = name.map(str::to_owned);
                scope.core.functions.push(CoreFunction::Lowered(number));
            }
            CanonicalFunction::TaskReturn { .. } => {
                function.name = Some(TASK_RETURN.to_owned());
                scope.core.functions.push(CoreFunction::Lowered(number));
            }
            _ => scope.functions.push(Function::Lifted(number)),
        }
        self.functions.push(function);
    }
}

impl Scope<'_> {
    /// Adds what exporting something adds to its index space.
    fn copy(&mut self, kind: ComponentExternalKind, index: u32) {
        let index = index as usize;
        match kind {
            ComponentExternalKind::Module => self.modules.push(self.modules[index]),
            ComponentExternalKind::Component => self.components.push(self.components[index]),
            ComponentExternalKind::Func => self.functions.push(self.functions[index]),
            ComponentExternalKind::Instance => self.instances.push(self.instances[index].clone()),
            ComponentExternalKind::Value | ComponentExternalKind::Type => {}
        }
    }
}

/// Notes the core function of an option that is called where calls out are forbidden.
fn note_quiet(scope: &mut Scope<'_>, types: &TypesRef<'_>, option: CanonicalOption) {
    if let CanonicalOption::Realloc(function) | CanonicalOption::PostReturn(function) = option {
        let ty = core_type(types, function);
        scope.quiet.insert(function, ty);
    }
}

/// Returns the options of a canonical function.
pub(super) fn options(item: &CanonicalFunction) -> &[CanonicalOption] {
    match item {
        CanonicalFunction::Lift { options, .. }
        | CanonicalFunction::Lower { options, .. }
        | CanonicalFunction::TaskReturn { options, .. }
        | CanonicalFunction::StreamRead { options, .. }
        | CanonicalFunction::StreamWrite { options, .. }
        | CanonicalFunction::FutureRead { options, .. }
        | CanonicalFunction::FutureWrite { options, .. }
        | CanonicalFunction::ErrorContextNew { options }
        | CanonicalFunction::ErrorContextDebugMessage { options } => options,
        _ => &[],
    }
}

/// Returns a core function's type, if it is of numbers only.
fn core_type(types: &TypesRef<'_>, function: u32) -> Option<CoreType> {
    let ty = types[types.core_function_at(function)].unwrap_func();
    let number = |ty: &wasmparser::ValType| match ty {
        wasmparser::ValType::I32 => Some(ValType::I32),
        wasmparser::ValType::I64 => Some(ValType::I64),
        wasmparser::ValType::F32 => Some(ValType::F32),
        wasmparser::ValType::F64 => Some(ValType::F64),
        wasmparser::ValType::V128 | wasmparser::ValType::Ref(_) => None,
    };
    let numbers = |types: &[wasmparser::ValType]| types.iter().map(number).collect::<Option<_>>();
    Some((numbers(ty.params())?, numbers(ty.results())?))
}

/// Refuses names that are kept for the host.
fn reserved(what: &'static str, name: &str, offset: usize) -> Result<(), Error> {
    if name.starts_with(interface::PREFIX) {
        return Err(Error::Reserved {
            what,
            name: name.to_owned(),
            offset,
        });
    }
    Ok(())
}
