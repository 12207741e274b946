//! The module of hooks for modules that keep their events.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, ImportSection, Module, StartSection, TypeSection, ValType,
};

use super::{MEMORY_TYPE, NUMBER_TYPE, at, load_state, name};
use crate::component::deferred::{MEMORY, QUIET};
use crate::component::interface::{INSTANTIATIONS, Import, losses_at};
use crate::hooks::{Hook, UNATTACHED};

/// Globals of the module.
mod global {
    pub(super) const NEXT: u32 = 0;
    pub(super) const NUMBER: u32 = 1;
    /// Where the instance counts what is lost, from the first place for that.
    pub(super) const LOSSES: u32 = 2;
}

const COUNT: u32 = size_of::<u64>() as u32;

/// Makes it for modules that were rewritten with this suffix.
pub(in crate::component) fn flushing(key: u64, suffix: &str) -> Vec<u8> {
    let mut types = TypeSection::new();
    let mut imports = ImportSection::new();
    for import in Import::FLUSHING {
        let (params, results) = import.lowered();
        let ty = EntityType::Function(types.len());
        types.ty().function(params, results);
        imports.import(name::HOST, &import.name(), ty);
    }
    let nothing = types.len();
    types.ty().function([], []);
    types.ty().function([ValType::I32], []);
    imports
        .import(name::EVENTS, name::NEXT, NUMBER_TYPE)
        .import(name::EVENTS, name::MEMORY, MEMORY_TYPE);
    let mut globals = GlobalSection::new();
    globals.global(NUMBER_TYPE, &ConstExpr::i32_const(UNATTACHED));
    globals.global(NUMBER_TYPE, &ConstExpr::i32_const(0));
    let first = Import::FLUSHING.len() as u32;
    let mut functions = FunctionSection::new();
    functions.function(nothing).function(nothing + 1);
    let mut code = CodeSection::new();
    code.function(&attach_body(key)).function(&flush_body());
    let mut exports = ExportSection::new();
    exports
        .export(name::NUMBER, ExportKind::Global, global::NUMBER)
        .export(&Hook::Flush.import(suffix), ExportKind::Func, first + 1);
    let mut module = Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&globals)
        .section(&exports)
        .section(&StartSection {
            function_index: first,
        })
        .section(&code);
    module.finish()
}

/// Takes the next number, and asks the host what it is to be called.
fn attach_body(key: u64) -> Function {
    const { assert!((COUNT << INSTANTIATIONS) < MEMORY, "room for each count") };
    let own = (1_i32 << INSTANTIATIONS) - 1;
    let mut body = Function::new([]);
    body.instructions()
        .global_get(global::NEXT)
        .i32_const(own)
        .i32_and()
        .i32_const(COUNT.cast_signed())
        .i32_mul()
        .global_set(global::LOSSES)
        .i64_const(key.cast_signed())
        .global_get(global::NEXT)
        .global_get(global::NEXT)
        .i32_const(1)
        .i32_add()
        .global_set(global::NEXT)
        .i32_const(0)
        .i32_const(MEMORY.cast_signed())
        .call(Import::Attach.index())
        .global_set(global::NUMBER)
        .end();
    body
}

/// Lets the host take what is in the buffer, or counts that it was lost.
fn flush_body() -> Function {
    let count = at(losses_at(0), 3);
    let mut body = Function::new([]);
    let mut code = body.instructions();
    load_state(&mut code)
        .i32_const(QUIET)
        .i32_and()
        .if_(BlockType::Empty)
        .global_get(global::LOSSES)
        .global_get(global::LOSSES)
        .i64_load(count)
        .i64_const(1)
        .i64_add()
        .i64_store(count)
        .else_()
        .global_get(global::NUMBER)
        .call(Import::Flush.index())
        .end()
        .end();
    body
}
