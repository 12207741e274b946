//! The module that tells the host where a memory is.

use wasm_encoder::{
    CodeSection, EntityType, Function, FunctionSection, ImportSection, Module, StartSection,
    TypeSection,
};

use super::{NUMBER_TYPE, name};
use crate::component::interface::Import;

/// Makes it: the host is told as soon as it is instantiated.
pub(in crate::component) fn share(key: u64) -> Vec<u8> {
    const NUMBER: u32 = 0;
    const SHARE: u32 = 0;
    const TELL: u32 = 1;
    /// As many bytes as the host is shown.
    const SHOWN: i32 = 8;
    let mut types = TypeSection::new();
    let (params, results) = Import::Share.lowered();
    types.ty().function(params, results);
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    imports
        .import(name::HOST, name::SHARE, EntityType::Function(0))
        .import(name::HOOKS, name::NUMBER, NUMBER_TYPE);
    let mut functions = FunctionSection::new();
    functions.function(1);
    let mut body = Function::new([]);
    body.instructions()
        .i64_const(key.cast_signed())
        .global_get(NUMBER)
        .i32_const(0)
        .i32_const(SHOWN)
        .call(SHARE)
        .end();
    let mut code = CodeSection::new();
    code.function(&body);
    let mut module = Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&StartSection {
            function_index: TELL,
        })
        .section(&code);
    module.finish()
}
