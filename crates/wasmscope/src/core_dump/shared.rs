//! Memories that threads share: which there are, and what they hold.
//!
//! The engine's dump leaves them out. An instance that exports one hands it out all the same, as
//! modules with threads do, since every thread's instance is given the same.

#![expect(
    unsafe_code,
    reason = "reads bytes that other threads may write, each by itself"
)]

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU8, Ordering};
use wasmscope_coredump::{Memory, MemoryType};
use wasmtime::{AsContextMut, Instance, SharedMemory};

/// The shared memories that instances export, each once.
#[derive(Default)]
pub(super) struct Shared(Vec<SharedMemory>);

impl Shared {
    /// Adds those that an instance exports. Returns the number of it if there is but one.
    pub(super) fn add(
        &mut self,
        instance: &Instance,
        mut store: impl AsContextMut,
    ) -> Option<usize> {
        let exports = instance.exports(&mut store);
        let exported: Vec<SharedMemory> = exports
            .filter_map(|export| export.into_extern().into_shared_memory())
            .collect();
        let mut numbers: Vec<usize> = exported.into_iter().map(|it| self.number(it)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        match *numbers {
            [number] => Some(number),
            _ => None,
        }
    }

    fn number(&mut self, memory: SharedMemory) -> usize {
        let place = |memory: &SharedMemory| memory.data().as_ptr();
        let known = self.0.iter().position(|it| place(it) == place(&memory));
        known.unwrap_or_else(|| {
            self.0.push(memory);
            self.0.len() - 1
        })
    }

    /// Copies what they hold.
    pub(super) fn contents(&self) -> Vec<Memory<'static>> {
        self.0.iter().map(copied).collect()
    }
}

fn copied(memory: &SharedMemory) -> Memory<'static> {
    // It may grow meanwhile: this is its size of now.
    let data = memory.data();
    let declared = memory.ty();
    let ty = MemoryType {
        pages: (data.len() as u64) >> declared.page_size_log2(),
        maximum: declared.maximum(),
        memory64: declared.is_64(),
        shared: true,
        page_size_log2: declared.page_size_log2().into(),
    };
    Memory::copied(ty, data.len(), |at, into| {
        let from = data.get(at..at + into.len()).unwrap_or_default();
        for (to, from) in into.iter_mut().zip(from) {
            *to = load(from);
        }
    })
}

fn load(byte: &UnsafeCell<u8>) -> u8 {
    // SAFETY: the byte lives as long as the reference; guests write it with instructions of
    // their own, and no part of this process writes it otherwise than atomically.
    unsafe { AtomicU8::from_ptr(byte.get()) }.load(Ordering::Relaxed)
}
