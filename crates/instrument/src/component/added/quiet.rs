//! The module of a function that forbids calls out while it calls another.

use wasm_encoder::{EntityType, ExportKind, Function, ValType};

use super::builder::Builder;
use super::memory::{MEMORY_TYPE, at, load_state};
use super::name;
use crate::component::core_type::CoreType;
use crate::component::deferred::{QUIET, STATE};

/// Makes it for functions of this type.
pub(in crate::component) fn quiet(ty: &CoreType) -> Vec<u8> {
    let mut module = Builder::default();
    let own = module.ty(ty.0.iter().copied(), ty.1.iter().copied());
    module.import(name::EVENTS, name::MEMORY, MEMORY_TYPE);
    let inner = module.import(name::INNER, name::FUNCTION, EntityType::Function(own));
    let before = ty.0.len() as u32;
    let mut body = Function::new([(1, ValType::I32)]);
    let mut instructions = body.instructions();
    load_state(&mut instructions)
        .i32_const(QUIET)
        .i32_and()
        .local_set(before)
        .i32_const(0);
    load_state(&mut instructions)
        .i32_const(QUIET)
        .i32_or()
        .i32_store(at(STATE, 2));
    for param in 0..before {
        instructions.local_get(param);
    }
    instructions.call(inner).i32_const(0);
    load_state(&mut instructions)
        .i32_const(!QUIET)
        .i32_and()
        .local_get(before)
        .i32_or()
        .i32_store(at(STATE, 2))
        .end();
    let function = module.function(own, &body);
    module.export(name::FUNCTION, ExportKind::Func, function);
    module.finish()
}
