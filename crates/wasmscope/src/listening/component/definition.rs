//! From what a component's bytes say of its functions to what listeners see.

use crate::Error;
use crate::listening::definition::value_type;
use crate::listening::module::ShownGlobals;
use std::collections::HashMap;
use std::sync::Arc;
use wasmparser::component_types::{
    ComponentDefinedType, ComponentDefinedTypeId, ComponentValType, ResourceId,
};
use wasmparser::{PrimitiveValType, types::TypesRef};
use wasmscope_address::FuncIndex;
use wasmscope_instrument::Module;
use wasmscope_instrument::ValType;
use wasmscope_instrument::component::{self as instrument, Component, shown};
use wasmscope_listen::component::{
    Abi, ComponentFunction, Direction, FunctionType, StringEncoding, Type,
};
use wasmscope_listen::{Definition, ReferenceKind, ValueType};

/// Returns the definitions of all functions that a component lifts and lowers.
pub(super) fn of(component: &Component<'_>) -> Vec<Arc<Definition>> {
    let mut types = Types {
        types: component.types().as_ref(),
        known: HashMap::new(),
        component,
        by_functions: by_functions(component),
    };
    (0..)
        .zip(component.functions())
        .map(|(number, function)| Arc::new(types.definition(number, function)))
        .collect()
}

/// Returns which globals of a core module can come with an event, and where.
pub(super) fn shown_globals(module: &Module<'_>) -> Result<ShownGlobals, Error> {
    let mut first = 0;
    let shown = shown::globals(module)?.into_iter().map(|ty| {
        let ty = value_type(module, ty?);
        let place = (ty, first);
        first += ty.words();
        Some(place)
    });
    Ok(shown.collect())
}

/// Reads types, each that is defined once.
struct Types<'a> {
    types: TypesRef<'a>,
    known: HashMap<ComponentDefinedTypeId, Type>,
    component: &'a Component<'a>,
    by_functions: HashMap<ResourceId, Arc<str>>,
}

/// Finds the names of resources that have one only in what their methods and constructors are
/// called.
fn by_functions(component: &Component<'_>) -> HashMap<ResourceId, Arc<str>> {
    let types = component.types().as_ref();
    let mut names = HashMap::new();
    for function in component.functions() {
        let name = function.name.as_deref().unwrap_or_default();
        let instrument::Signature::Function(ty) = function.ty else {
            continue;
        };
        let ty = &types[ty];
        let method = name.strip_prefix("[method]");
        let method = method.and_then(|name| Some(name.split_once('.')?.0));
        let (name, of) = match (method, name.strip_prefix("[constructor]")) {
            (Some(name), _) => (name, ty.params.first().map(|(_, ty)| *ty)),
            (None, Some(name)) => (name, ty.result),
            (None, None) => continue,
        };
        if let Some(ComponentValType::Type(id)) = of
            && let ComponentDefinedType::Own(resource) | ComponentDefinedType::Borrow(resource) =
                &types[id]
        {
            names.entry(resource.resource()).or_insert(name);
        }
    }
    let names = names.into_iter();
    names.map(|(id, name)| (id, Arc::from(name))).collect()
}

impl Types<'_> {
    fn definition(&mut self, number: u32, function: &instrument::ComponentFunction) -> Definition {
        let types = self.types;
        let (params, result) = match function.ty {
            instrument::Signature::Function(ty) => {
                let ty = &types[ty];
                let params = ty.params.iter();
                let params = params.map(|(name, ty)| (name.as_str(), self.of(*ty)));
                (params.collect(), ty.result.map(|ty| self.of(ty)))
            }
            instrument::Signature::TaskReturn(result) => {
                let result = result.map(|ty| ("result", self.of(ty)));
                (Vec::from_iter(result), None)
            }
        };
        let direction = match function.direction {
            instrument::Direction::Import => Direction::Import,
            instrument::Direction::Export => Direction::Export,
        };
        let name = function.name.clone();
        let name = name.unwrap_or_else(|| format!("${number}"));
        let mut abi = Abi::DEFAULT;
        abi.encoding = match function.encoding {
            instrument::StringEncoding::Utf8 => StringEncoding::Utf8,
            instrument::StringEncoding::Utf16 => StringEncoding::Utf16,
            instrument::StringEncoding::CompactUtf16 => StringEncoding::Latin1OrUtf16,
        };
        abi.is_async = function.is_async;
        let mut component =
            ComponentFunction::new(direction, name, FunctionType::new(params, result))
                .with_abi(abi);
        component.interface.clone_from(&function.interface);
        Definition::guest(FuncIndex(number))
            .typed(core(&function.params), core(&function.results))
            .of_component(component)
    }

    fn of(&mut self, ty: ComponentValType) -> Type {
        match ty {
            ComponentValType::Primitive(ty) => primitive(ty),
            ComponentValType::Type(id) => {
                if let Some(known) = self.known.get(&id) {
                    return known.clone();
                }
                let ty = self.defined(id);
                self.known.insert(id, ty.clone());
                ty
            }
        }
    }

    /// Returns the name of a resource.
    fn resource(&self, resource: ResourceId) -> Option<Arc<str>> {
        let name = self.component.resource_name(resource).map(Arc::from);
        name.or_else(|| self.by_functions.get(&resource).cloned())
    }

    fn maybe(&mut self, ty: Option<ComponentValType>) -> Option<Type> {
        ty.map(|ty| self.of(ty))
    }

    fn defined(&mut self, id: ComponentDefinedTypeId) -> Type {
        let types = self.types;
        match &types[id] {
            ComponentDefinedType::Primitive(ty) => primitive(*ty),
            ComponentDefinedType::Record(record) => {
                let fields: Vec<_> = record
                    .fields
                    .iter()
                    .map(|(name, ty)| (name.as_str(), self.of(*ty)))
                    .collect();
                Type::record(fields)
            }
            ComponentDefinedType::Variant(variant) => {
                let cases: Vec<_> = variant
                    .cases
                    .iter()
                    .map(|(name, case)| (name.as_str(), self.maybe(case.ty)))
                    .collect();
                Type::variant(cases)
            }
            ComponentDefinedType::List { element, .. } => Type::list(self.of(*element)),
            ComponentDefinedType::Map { key, value, .. } => {
                Type::map(self.of(*key), self.of(*value))
            }
            ComponentDefinedType::FixedLengthList {
                element, length, ..
            } => Type::fixed_list(self.of(*element), *length),
            ComponentDefinedType::Tuple(tuple) => {
                let types: Vec<_> = tuple.types.iter().map(|ty| self.of(*ty)).collect();
                Type::tuple(types)
            }
            ComponentDefinedType::Flags(names) => {
                Type::flags(names.iter().map(|name| name.as_str()))
            }
            ComponentDefinedType::Enum(names) => {
                Type::enumeration(names.iter().map(|name| name.as_str()))
            }
            ComponentDefinedType::Option { ty, .. } => Type::option(self.of(*ty)),
            ComponentDefinedType::Result { ok, err, .. } => {
                Type::result(self.maybe(*ok), self.maybe(*err))
            }
            ComponentDefinedType::Own(resource) => Type::own(self.resource(resource.resource())),
            ComponentDefinedType::Borrow(resource) => {
                Type::borrow(self.resource(resource.resource()))
            }
            ComponentDefinedType::Future { ty, .. } => Type::future(self.maybe(*ty)),
            ComponentDefinedType::Stream { ty, .. } => Type::stream(self.maybe(*ty)),
        }
    }
}

fn core(types: &[ValType]) -> Vec<ValueType> {
    let core = |ty: &ValType| match ty {
        ValType::I32 => ValueType::I32,
        ValType::I64 => ValueType::I64,
        ValType::F32 => ValueType::F32,
        ValType::F64 => ValueType::F64,
        ValType::V128 => ValueType::V128,
        // No value of a component is passed as one; what is has no probe.
        ValType::Ref(_) => ValueType::Ref(ReferenceKind::Any),
    };
    types.iter().map(core).collect()
}

fn primitive(ty: PrimitiveValType) -> Type {
    match ty {
        PrimitiveValType::Bool => Type::BOOL,
        PrimitiveValType::S8 => Type::S8,
        PrimitiveValType::U8 => Type::U8,
        PrimitiveValType::S16 => Type::S16,
        PrimitiveValType::U16 => Type::U16,
        PrimitiveValType::S32 => Type::S32,
        PrimitiveValType::U32 => Type::U32,
        PrimitiveValType::S64 => Type::S64,
        PrimitiveValType::U64 => Type::U64,
        PrimitiveValType::F32 => Type::F32,
        PrimitiveValType::F64 => Type::F64,
        PrimitiveValType::Char => Type::CHAR,
        PrimitiveValType::String => Type::STRING,
        PrimitiveValType::ErrorContext => Type::ERROR_CONTEXT,
    }
}
