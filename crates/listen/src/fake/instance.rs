//! An instance made of plain values.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::instance::{Instance, InstanceId, ReadError};
use crate::value::Value;

/// An instance with the memories and globals that it is given.
#[derive(Clone, Debug)]
pub struct FakeInstance {
    /// What tells it apart.
    pub id: InstanceId,
    /// Its module's name.
    pub name: Option<String>,
    /// Its memories' bytes.
    pub memories: Vec<Vec<u8>>,
    /// Its globals' values.
    pub globals: Vec<Value>,
}

impl FakeInstance {
    /// Makes an instance with neither name, memories nor globals.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: InstanceId(NEXT.fetch_add(1, Ordering::Relaxed)),
            name: None,
            memories: Vec::new(),
            globals: Vec::new(),
        }
    }
}

impl Default for FakeInstance {
    fn default() -> Self {
        Self::new()
    }
}

impl Instance for FakeInstance {
    fn id(&self) -> InstanceId {
        self.id
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn memories(&self) -> u32 {
        u32::try_from(self.memories.len()).unwrap_or(u32::MAX)
    }

    fn memory_size(&self, memory: u32) -> Option<u64> {
        Some(self.memories.get(memory as usize)?.len() as u64)
    }

    fn read(&self, memory: u32, offset: u64, into: &mut [u8]) -> Result<(), ReadError> {
        let bytes = self.memories.get(memory as usize).and_then(|bytes| {
            let from = usize::try_from(offset).ok()?;
            bytes.get(from..)?.get(..into.len())
        });
        into.copy_from_slice(bytes.ok_or(ReadError {
            memory,
            offset,
            len: into.len() as u64,
        })?);
        Ok(())
    }

    fn globals(&self) -> u32 {
        u32::try_from(self.globals.len()).unwrap_or(u32::MAX)
    }

    fn global(&self, global: u32) -> Option<Value> {
        self.globals.get(global as usize).copied()
    }
}
