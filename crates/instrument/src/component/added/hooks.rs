//! The module of hooks: it tells the host of events, or keeps them.

use wasm_encoder::{BlockType, ConstExpr, ExportKind, Function, ValType};

use super::builder::Builder;
use super::events::NUMBER_TYPE;
use super::memory::{MEMORY_TYPE, at, load_lost, load_state};
use super::{name, slots};
use crate::component::deferred::{HEAD, LOST, MEMORY, QUIET, RECORDS, STATE};
use crate::component::interface::{self, GLOBALS, Import, LOOK};
use crate::hooks::{Hook, UNATTACHED};

/// Globals of the module.
mod global {
    pub(super) const NEXT: u32 = 0;
    pub(super) const NUMBER: u32 = 1;
    pub(super) const LOOKS: u32 = 2;
}

/// Makes it for modules that were rewritten with this suffix.
pub(in crate::component) fn hooks(key: u64, suffix: &str) -> Vec<u8> {
    let mut module = Builder::default();
    for import in Import::all() {
        module.import_lowered(import);
    }
    let nothing = module.ty([], []);
    module.import(name::EVENTS, name::NEXT, NUMBER_TYPE);
    module.import(name::EVENTS, name::MEMORY, MEMORY_TYPE);
    let looks = module.table(slots::TABLE_TYPE);
    module.global(NUMBER_TYPE, &ConstExpr::i32_const(UNATTACHED));
    module.global(NUMBER_TYPE, &ConstExpr::i32_const(0));
    module.export(name::LOOK, ExportKind::Table, looks);
    module.export(name::NUMBER, ExportKind::Global, global::NUMBER);

    let attach = module.function(nothing, &attach_body(key));
    let drain = module.function(nothing, &drain_body());
    let look = module.function(nothing, &look_body(nothing));
    module.start(attach);
    for (at, hook) in interface::hooks().iter().enumerate() {
        let import = Import::Hook(at as u32);
        let params: Vec<_> = hook
            .params()
            .into_iter()
            .map(interface::core_type)
            .collect();
        let body = hook_body(&params, import, *hook, drain, look);
        let ty = module.ty(params, []);
        let function = module.function(ty, &body);
        module.export(&hook.import(suffix), ExportKind::Func, function);
    }
    module.finish()
}

/// Takes the next number, and asks the host what it is to be called.
fn attach_body(key: u64) -> Function {
    let mut body = Function::new([(1, ValType::I32)]);
    body.instructions()
        .i64_const(key.cast_signed())
        .global_get(global::NEXT)
        .global_get(global::NEXT)
        .i32_const(1)
        .i32_add()
        .global_set(global::NEXT)
        .i32_const(0)
        .i32_const(MEMORY.cast_signed())
        .call(Import::Attach.index())
        .local_tee(0)
        .i32_const((!(LOOK | GLOBALS)).cast_signed())
        .i32_and()
        .global_set(global::NUMBER)
        .local_get(0)
        .i32_const((LOOK | GLOBALS).cast_signed())
        .i32_and()
        .global_set(global::LOOKS)
        .end();
    body
}

/// Tells what was kept.
fn drain_body() -> Function {
    let mut body = Function::new([(1, ValType::I32), (1, ValType::I64)]);
    let mut code = body.instructions();
    load_state(&mut code).local_set(0);
    load_lost(&mut code)
        .local_set(1)
        .i32_const(0)
        .i32_const(0)
        .i32_store(at(STATE, 2))
        .i32_const(0)
        .i64_const(0)
        .i64_store(at(LOST, 3))
        .i32_const(RECORDS.cast_signed())
        .local_get(0)
        .local_get(1)
        .call(Import::Deferred.index())
        .end();
    body
}

/// Shows what is wanted and there: globals, memories, or that there are none.
fn look_body(nothing: u32) -> Function {
    let mut body = Function::new([]);
    body.instructions()
        .global_get(global::LOOKS)
        .i32_const(GLOBALS.cast_signed())
        .i32_and()
        .if_(BlockType::Empty)
        .i32_const(slots::GLOBALS)
        .table_get(0)
        .ref_is_null()
        .i32_eqz()
        .if_(BlockType::Empty)
        .i32_const(slots::GLOBALS)
        .call_indirect(0, nothing)
        .end()
        .end()
        .global_get(global::LOOKS)
        .i32_const(LOOK.cast_signed())
        .i32_and()
        .if_(BlockType::Empty)
        .i32_const(slots::MEMORIES)
        .table_get(0)
        .ref_is_null()
        .i32_eqz()
        .if_(BlockType::Empty)
        .i32_const(slots::MEMORIES)
        .call_indirect(0, nothing)
        .return_()
        .end()
        .end()
        .i64_const(0)
        .i32_const(0)
        .i32_const(0)
        .i64_const(0)
        .call(Import::Look.index())
        .end();
    body
}

/// Tells the host of one event, or keeps it while calls out are forbidden.
fn hook_body(params: &[ValType], import: Import, hook: Hook, drain: u32, look: u32) -> Function {
    let first_value = params.iter().position(|ty| *ty == ValType::I64);
    let first_value = first_value.unwrap_or(params.len()) as u32;
    let values = params.len() as u32 - first_value;
    let end = params.len() as u32;
    // The bytes that are kept.
    let kept = end;
    let mut body = Function::new([(1, ValType::I32)]);
    let mut code = body.instructions();
    load_state(&mut code).if_(BlockType::Empty);
    load_state(&mut code)
        .i32_const(QUIET)
        .i32_and()
        .if_(BlockType::Empty);

    // Keep it, unless one before it had no room.
    let size = HEAD + values * 8;
    load_state(&mut code)
        .i32_const(!QUIET)
        .i32_and()
        .local_tee(kept)
        .i32_const((MEMORY - RECORDS - size).cast_signed())
        .i32_gt_u();
    load_lost(&mut code)
        .i64_eqz()
        .i32_eqz()
        .i32_or()
        .if_(BlockType::Empty)
        .i32_const(0);
    load_lost(&mut code)
        .i64_const(1)
        .i64_add()
        .i64_store(at(LOST, 3))
        .return_()
        .end();
    let Import::Hook(place) = import else {
        unreachable!("only hooks have such a body");
    };
    code.local_get(kept)
        .i32_const((place | values << 8).cast_signed())
        .i32_store(at(RECORDS, 2))
        .local_get(kept)
        .global_get(global::NUMBER)
        .i32_store(at(RECORDS + 4, 2))
        .local_get(kept);
    match hook {
        // The module's own number stays what it is at first.
        Hook::Before(_) => code.local_get(0).i32_const(UNATTACHED).i32_sub(),
        _ => code.i32_const(0),
    };
    code.i32_store(at(RECORDS + 8, 2))
        .local_get(kept)
        .i32_const(0)
        .i32_store(at(RECORDS + 12, 2));
    for value in 0..values {
        code.local_get(kept)
            .local_get(first_value + value)
            .i64_store(at(RECORDS + HEAD + value * 8, 3));
    }
    code.i32_const(0);
    load_state(&mut code)
        .i32_const(size.cast_signed())
        .i32_add()
        .i32_store(at(STATE, 2))
        .return_()
        .end();

    code.call(drain).end();
    for param in 0..end {
        match (hook, param) {
            (Hook::Before(_), 0) => code
                .global_get(global::NUMBER)
                .local_get(0)
                .i32_const(UNATTACHED)
                .i32_sub(),
            _ => code.local_get(param),
        };
    }
    code.call(import.index());
    if hook != Hook::Stage {
        code.global_get(global::LOOKS)
            .if_(BlockType::Empty)
            .call(look)
            .end();
    }
    code.end();
    body
}
