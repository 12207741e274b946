//! The module of events: it has the memory that keeps them, and the next number of an
//! instance of hooks.

use wasm_encoder::{ConstExpr, ExportKind, GlobalType, MemoryType, ValType};

use super::builder::Builder;
use super::memory::{MEMORY_TYPE, USUAL_PAGE};
use super::name;

/// The type of the next number, and of the one that each instance of hooks has.
pub(super) const NUMBER_TYPE: GlobalType = GlobalType {
    val_type: ValType::I32,
    mutable: true,
    shared: false,
};

/// Makes it, with room for so many words of values behind the events. The instances of hooks
/// beside it take numbers from `first` on.
pub(in crate::component) fn events(first: u32, words: usize) -> Vec<u8> {
    let more = (words * size_of::<u64>()).div_ceil(1 << USUAL_PAGE);
    let pages = MEMORY_TYPE.minimum + more as u64;
    let mut module = Builder::default();
    let memory = module.memory(MemoryType {
        minimum: pages,
        maximum: Some(pages),
        ..MEMORY_TYPE
    });
    let next = module.global(NUMBER_TYPE, &ConstExpr::i32_const(first.cast_signed()));
    module.export(name::MEMORY, ExportKind::Memory, memory);
    module.export(name::NEXT, ExportKind::Global, next);
    module.finish()
}
