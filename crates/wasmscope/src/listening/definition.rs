//! From what a module's bytes say of its functions to what listeners see.

use std::sync::Arc;
use wasmscope_instrument::{Function, Hierarchy, Module, ValType};
use wasmscope_listen::{Definition, ReferenceKind, ValueType};

/// Returns the definitions of all functions of a module, by index.
pub(super) fn of(module: &Module<'_>) -> Vec<Arc<Definition>> {
    let definition = |function: &Function<'_>| Arc::new(one(module, function));
    module.functions().iter().map(definition).collect()
}

fn one(module: &Module<'_>, function: &Function<'_>) -> Definition {
    let mut definition = match function.import {
        Some((from, name)) => Definition::import(function.index, from, name),
        None => Definition::guest(function.index),
    };
    definition.module = module.name().map(str::to_owned);
    definition.name = function.name.map(str::to_owned);
    definition.export_names = function
        .exports
        .iter()
        .map(|&name| name.to_owned())
        .collect();
    let types = |types: &[ValType]| types.iter().map(|ty| value_type(module, *ty)).collect();
    definition.params = types(function.params());
    definition.results = types(function.results());
    let name = |name: &Option<&str>| name.map(str::to_owned);
    definition.param_names = function.param_names.iter().map(name).collect();
    definition
}

pub(super) fn value_type(module: &Module<'_>, ty: ValType) -> ValueType {
    match ty {
        ValType::I32 => ValueType::I32,
        ValType::I64 => ValueType::I64,
        ValType::F32 => ValueType::F32,
        ValType::F64 => ValueType::F64,
        ValType::V128 => ValueType::V128,
        ValType::Ref(ty) => ValueType::Ref(match module.hierarchy(ty) {
            Hierarchy::Func => ReferenceKind::Func,
            Hierarchy::Extern => ReferenceKind::Extern,
            Hierarchy::Any => ReferenceKind::Any,
            Hierarchy::Exn => ReferenceKind::Exn,
            Hierarchy::Cont => ReferenceKind::Cont,
        }),
    }
}
