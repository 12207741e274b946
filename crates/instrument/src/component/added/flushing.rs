//! The module of hooks for modules that keep their events.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, ImportSection, MemoryType, Module, StartSection, TypeSection,
    ValType,
};

use super::{QUIET, STATE_TYPE, at, name};
use crate::component::deferred::ROOM;
use crate::component::interface::Import;
use crate::hooks::{Hook, UNATTACHED};

/// Globals of the module.
mod global {
    pub(super) const STATE: u32 = 0;
    pub(super) const NEXT: u32 = 1;
    pub(super) const NUMBER: u32 = 2;
    /// Where the instance counts what is lost.
    pub(super) const LOSSES: u32 = 3;
}

const COUNT: u32 = size_of::<u64>() as u32;

/// Makes it for modules that were rewritten with this suffix. The numbers of instances have a
/// part of their own in each component: that of the bits in `own`.
pub(in crate::component) fn flushing(key: u64, suffix: &str, own: u32) -> Vec<u8> {
    debug_assert!(own < ROOM / COUNT, "there is room for each count");
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
        .import(name::EVENTS, name::STATE, STATE_TYPE)
        .import(name::EVENTS, name::NEXT, STATE_TYPE)
        .import(
            name::EVENTS,
            name::MEMORY,
            MemoryType {
                minimum: u64::from(ROOM >> 16),
                maximum: None,
                memory64: false,
                shared: false,
                page_size_log2: None,
            },
        );
    let mut globals = GlobalSection::new();
    globals.global(STATE_TYPE, &ConstExpr::i32_const(UNATTACHED));
    globals.global(STATE_TYPE, &ConstExpr::i32_const(0));
    let first = Import::FLUSHING.len() as u32;
    let mut functions = FunctionSection::new();
    functions.function(nothing).function(nothing + 1);
    let mut code = CodeSection::new();
    code.function(&attach_body(key, own))
        .function(&flush_body());
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

/// Takes the next number, asks the host what it is to be called, and tells where losses are
/// counted.
fn attach_body(key: u64, own: u32) -> Function {
    let mut body = Function::new([]);
    body.instructions()
        .i64_const(key.cast_signed())
        .global_get(global::NEXT)
        .call(Import::Attach.index())
        .global_set(global::NUMBER)
        .global_get(global::NEXT)
        .i32_const(own.cast_signed())
        .i32_and()
        .i32_const(COUNT.cast_signed())
        .i32_mul()
        .global_set(global::LOSSES)
        .global_get(global::NEXT)
        .i32_const(1)
        .i32_add()
        .global_set(global::NEXT)
        .global_get(global::NUMBER)
        .global_get(global::LOSSES)
        .i32_const(COUNT.cast_signed())
        .call(Import::Losses.index())
        .end();
    body
}

/// Lets the host take what is in the buffer, or counts that it was lost.
fn flush_body() -> Function {
    let mut body = Function::new([]);
    body.instructions()
        .global_get(global::STATE)
        .i32_const(QUIET)
        .i32_and()
        .if_(BlockType::Empty)
        .global_get(global::LOSSES)
        .global_get(global::LOSSES)
        .i64_load(at(0, 3))
        .i64_const(1)
        .i64_add()
        .i64_store(at(0, 3))
        .else_()
        .global_get(global::NUMBER)
        .call(Import::Flush.index())
        .end()
        .end();
    body
}
