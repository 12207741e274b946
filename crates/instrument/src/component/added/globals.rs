//! The module that shows the values of an instance's globals.

use wasm_encoder::reencode::{self, Reencode, RoundtripReencoder};
use wasm_encoder::{EntityType, Function, InstructionSink};

use super::builder::Builder;
use super::memory::{MEMORY_TYPE, at};
use super::{name, slots};
use crate::component::deferred::MEMORY;
use crate::component::interface::Import;

/// Makes it for globals, which it imports by these names.
pub(in crate::component) fn globals(
    globals: &[(String, wasmparser::GlobalType)],
) -> Result<Vec<u8>, reencode::Error> {
    let mut module = Builder::default();
    let show = module.lowered(Import::Globals);
    let nothing = module.ty([], []);
    let show = module.import(name::HOST, name::LOOK, EntityType::Function(show));
    module.import(name::EVENTS, name::MEMORY, MEMORY_TYPE);
    let mut body = Function::new([]);
    let mut code = body.instructions();
    let mut end = MEMORY;
    for (global, ty) in globals {
        let encoded = RoundtripReencoder.global_type(*ty)?;
        let index = module.import(name::GUEST, global, encoded);
        code.i32_const(0);
        let mut store = |code: &mut InstructionSink<'_>| {
            code.i64_store(at(end, 3));
            end += 8;
        };
        match ty.content_type {
            wasmparser::ValType::I32 => store(code.global_get(index).i64_extend_i32_u()),
            wasmparser::ValType::I64 => store(code.global_get(index)),
            wasmparser::ValType::F32 => store(
                code.global_get(index)
                    .i32_reinterpret_f32()
                    .i64_extend_i32_u(),
            ),
            wasmparser::ValType::F64 => store(code.global_get(index).i64_reinterpret_f64()),
            wasmparser::ValType::V128 => {
                store(code.global_get(index).i64x2_extract_lane(0));
                code.i32_const(0);
                store(code.global_get(index).i64x2_extract_lane(1));
            }
            wasmparser::ValType::Ref(_) => store(
                code.global_get(index)
                    .ref_is_null()
                    .i32_eqz()
                    .i64_extend_i32_u(),
            ),
        }
    }
    module.import(name::HOOKS, name::LOOK, slots::TABLE_TYPE);
    code.i32_const(MEMORY.cast_signed())
        .i32_const((end - MEMORY).cast_signed())
        .call(show)
        .end();
    let own = module.function(nothing, &body);
    module.fill(slots::GLOBALS, own);
    Ok(module.finish())
}
