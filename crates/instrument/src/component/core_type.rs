//! The type of a core function, where it is of numbers only.

use wasm_encoder::ValType;
use wasmparser::types::TypesRef;

/// The types of its parameters, and of its results.
pub(super) type CoreType = (Box<[ValType]>, Box<[ValType]>);

/// Returns a core function's type, if it is of numbers only.
pub(super) fn core_type(types: &TypesRef<'_>, function: u32) -> Option<CoreType> {
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
