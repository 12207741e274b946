//! The module that tells the host where a memory is.

use wasm_encoder::{EntityType, Function};

use super::builder::Builder;
use super::events::NUMBER_TYPE;
use super::name;
use crate::component::interface::Import;

/// Makes it: the host is told as soon as it is instantiated.
pub(in crate::component) fn share(key: u64) -> Vec<u8> {
    /// As many bytes as the host is shown.
    const SHOWN: i32 = 8;
    let mut module = Builder::default();
    let share = module.lowered(Import::Share);
    let nothing = module.ty([], []);
    let share = module.import(name::HOST, name::SHARE, EntityType::Function(share));
    let number = module.import(name::HOOKS, name::NUMBER, NUMBER_TYPE);
    let mut body = Function::new([]);
    body.instructions()
        .i64_const(key.cast_signed())
        .global_get(number)
        .i32_const(0)
        .i32_const(SHOWN)
        .call(share)
        .end();
    let tell = module.function(nothing, &body);
    module.start(tell);
    module.finish()
}
