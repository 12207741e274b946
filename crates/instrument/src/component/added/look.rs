//! The module that shows the memories of an instance.

use wasm_encoder::{EntityType, Function, InstructionSink, MemoryType};

use super::builder::Builder;
use super::memory::USUAL_PAGE;
use super::{name, slots};
use crate::component::interface::Import;

/// Makes it for memories, by their indices and the size of their pages as a power of two;
/// `None` is the usual size. Those that are not the first go ahead of it.
pub(in crate::component) fn look(key: u64, memories: &[(u32, Option<u32>)]) -> Vec<u8> {
    let mut module = Builder::default();
    let first = module.lowered(Import::Look);
    let other = module.lowered(Import::Memory);
    let nothing = module.ty([], []);
    let look = module.import(name::HOST, name::LOOK, EntityType::Function(first));
    for (n, (_, page_size_log2)) in memories.iter().enumerate() {
        let memory = MemoryType {
            minimum: 0,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: *page_size_log2,
        };
        module.import(name::HOST, &name::nth(name::MEMORY, n), memory);
    }
    let others = memories.iter().filter(|(index, _)| *index > 0);
    let mut shows = Vec::new();
    for n in 0..others.count() {
        let ty = EntityType::Function(other);
        shows.push(module.import(name::HOST, &name::nth(name::LOOK, n), ty));
    }
    module.import(name::HOOKS, name::LOOK, slots::TABLE_TYPE);
    let mut body = Function::new([]);
    let mut code = body.instructions();
    let mut shows = shows.into_iter();
    let mut first = None;
    for (memory, (index, page_size_log2)) in (0..).zip(memories) {
        if *index == 0 {
            first = Some((memory, page_size_log2));
        } else if let Some(show) = shows.next() {
            code.i64_const(key.cast_signed())
                .i32_const(index.cast_signed());
            place_of_memory(&mut code, memory, *page_size_log2).call(show);
        }
    }
    code.i64_const(key.cast_signed());
    match first {
        Some((memory, page_size_log2)) => place_of_memory(&mut code, memory, *page_size_log2),
        None => code.i32_const(0).i32_const(0).i64_const(0),
    };
    code.call(look).end();
    let own = module.function(nothing, &body);
    module.fill(slots::MEMORIES, own);
    module.finish()
}

/// Puts where a memory is: a list of its first byte, if it has one, and how many it has.
fn place_of_memory<'a, 'b>(
    code: &'a mut InstructionSink<'b>,
    memory: u32,
    page_size_log2: Option<u32>,
) -> &'a mut InstructionSink<'b> {
    code.i32_const(0)
        .memory_size(memory)
        .i32_const(0)
        .i32_ne()
        .memory_size(memory)
        .i64_extend_i32_u()
        .i64_const(i64::from(page_size_log2.unwrap_or(USUAL_PAGE)))
        .i64_shl()
}
