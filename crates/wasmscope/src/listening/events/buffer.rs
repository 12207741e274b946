//! Where an instance keeps its events until they are taken.

use super::super::shared_memory::SharedMemory;
use wasmscope_instrument::events::Event;
use wasmtime::{AsContextMut, Global, Memory, StoreContextMut, Val};

/// The records of an instance that nobody has taken yet.
pub(super) enum Buffer {
    /// Of a module: what it exports.
    Exported { memory: Memory, position: Global },
    /// Within a component.
    Shared(SharedMemory),
}

impl Buffer {
    /// Returns how many bytes of records there are.
    pub(super) fn position<T: 'static>(&self, store: &mut StoreContextMut<'_, T>) -> u32 {
        match self {
            Self::Exported { position, .. } => match position.get(store) {
                Val::I32(position) => position.cast_unsigned(),
                // Of this type: the rewriter made it.
                _ => 0,
            },
            Self::Shared(memory) => memory.position(),
        }
    }

    /// Makes the next record the first.
    pub(super) fn begin_again<T: 'static>(&self, store: &mut StoreContextMut<'_, T>) {
        match self {
            Self::Exported { position, .. } => {
                // Of this type, and mutable: the rewriter made it.
                let set = position.set(store.as_context_mut(), Val::I32(0));
                debug_assert!(set.is_ok(), "the position is a number that changes");
            }
            Self::Shared(memory) => memory.begin_again(),
        }
    }

    /// Returns the records between two positions.
    pub(super) fn records<'s, T: 'static>(
        &'s self,
        store: &'s StoreContextMut<'_, T>,
        start: u32,
        end: u32,
    ) -> &'s [[u8; Event::SIZE as usize]] {
        match self {
            Self::Exported { memory, .. } => {
                let bytes = memory.data(store).get(start as usize..end as usize);
                bytes.unwrap_or_default().as_chunks().0
            }
            Self::Shared(memory) => memory.records(start, end),
        }
    }
}
