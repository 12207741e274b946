//! The module of hooks for modules that keep their events.

use wasm_encoder::{BlockType, ConstExpr, ExportKind, Function, ValType};

use super::builder::Builder;
use super::events::NUMBER_TYPE;
use super::memory::{MEMORY_TYPE, at, load_state};
use super::name;
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
    let mut module = Builder::default();
    for import in Import::FLUSHING {
        module.import_lowered(import);
    }
    let nothing = module.ty([], []);
    let of_probe = module.ty([ValType::I32], []);
    module.import(name::EVENTS, name::NEXT, NUMBER_TYPE);
    module.import(name::EVENTS, name::MEMORY, MEMORY_TYPE);
    module.global(NUMBER_TYPE, &ConstExpr::i32_const(UNATTACHED));
    module.global(NUMBER_TYPE, &ConstExpr::i32_const(0));
    let attach = module.function(nothing, &attach_body(key));
    let flush = module.function(of_probe, &flush_body());
    module.start(attach);
    module.export(name::NUMBER, ExportKind::Global, global::NUMBER);
    module.export(&Hook::Flush.import(suffix), ExportKind::Func, flush);
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
