//! The memory of events, as the modules that are added import it and code in them reads it.

use wasm_encoder::{InstructionSink, MemArg, MemoryType};

use crate::component::deferred::{LOST, MEMORY, STATE};

/// What the usual size of a memory's pages is a power of two of.
pub(super) const USUAL_PAGE: u32 = 16;

/// Behind the events there may be room for the values of globals.
pub(super) const MEMORY_TYPE: MemoryType = MemoryType {
    minimum: (MEMORY >> USUAL_PAGE) as u64,
    maximum: None,
    memory64: false,
    shared: false,
    page_size_log2: None,
};

/// Returns the place of something in it, of so many bytes as a power of two.
pub(super) fn at(offset: u32, align: u32) -> MemArg {
    MemArg {
        offset: u64::from(offset),
        align,
        memory_index: 0,
    }
}

/// Puts how many bytes of events there are, and whether calls out are forbidden.
pub(super) fn load_state<'a, 'b>(code: &'a mut InstructionSink<'b>) -> &'a mut InstructionSink<'b> {
    code.i32_const(0).i32_load(at(STATE, 2))
}

/// Puts how many events are lost.
pub(super) fn load_lost<'a, 'b>(code: &'a mut InstructionSink<'b>) -> &'a mut InstructionSink<'b> {
    code.i32_const(0).i64_load(at(LOST, 3))
}
