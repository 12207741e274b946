//! The memory that values are lifted from: handed in, so that arrays will do.

use crate::instance::Instance;

/// Bytes that are read by address.
///
/// Addresses come from guests: an implementation answers for each of them, and does not
/// panic.
pub trait Memory {
    /// Returns how many bytes there are.
    fn size(&self) -> u64;

    /// Copies bytes, starting at `address`, until `into` is full; `false` where they are
    /// not all there.
    fn read(&self, address: u64, into: &mut [u8]) -> bool;
}

impl Memory for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        let bytes = usize::try_from(address)
            .ok()
            .and_then(|from| self.get(from..)?.get(..into.len()));
        if let Some(bytes) = bytes {
            into.copy_from_slice(bytes);
        }
        bytes.is_some()
    }
}

/// One memory of an [`Instance`].
#[derive(Clone, Copy)]
pub struct InstanceMemory<'a> {
    instance: &'a dyn Instance,
    memory: u32,
}

impl<'a> InstanceMemory<'a> {
    /// Views a memory of an instance; one that is not there is empty.
    #[must_use]
    pub fn new(instance: &'a dyn Instance, memory: u32) -> Self {
        Self { instance, memory }
    }
}

impl Memory for InstanceMemory<'_> {
    fn size(&self) -> u64 {
        self.instance.memory_size(self.memory).unwrap_or(0)
    }

    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.instance.read(self.memory, address, into).is_ok()
    }
}

impl std::fmt::Debug for InstanceMemory<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstanceMemory")
            .field("instance", &self.instance.id())
            .field("memory", &self.memory)
            .finish()
    }
}
