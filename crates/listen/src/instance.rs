//! The instance whose code is called, to be read by listeners.
//!
//! Reading copies: engines hand out memory only while they are asked, and a shared memory
//! changes while it is read. What an instance is made of, and who may see it, is left to
//! the binding that implements [`Instance`].

use std::fmt;

use crate::value::Value;

/// Tells instances apart; no two in one process have the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u64);

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstanceId({})", self.0)
    }
}

/// Reads one instance: all its memories and globals, exported or not.
///
/// Memories and globals go by their index in the original module, imported ones first.
pub trait Instance {
    /// Returns what tells this instance apart.
    fn id(&self) -> InstanceId;

    /// Returns the name of its module, or the one it was registered under.
    fn name(&self) -> Option<&str>;

    /// Returns how many memories it has.
    fn memories(&self) -> u32;

    /// Returns a memory's size in bytes, or `None` when there is no such memory or it
    /// cannot be read.
    fn memory_size(&self, memory: u32) -> Option<u64>;

    /// Copies bytes of a memory, starting at `offset`, until `into` is full.
    ///
    /// # Errors
    ///
    /// Fails when there is no such memory, or it ends before. `into` is then unchanged.
    fn read(&self, memory: u32, offset: u64, into: &mut [u8]) -> Result<(), ReadError>;

    /// Returns how many globals it has.
    fn globals(&self) -> u32;

    /// Returns a global's value now, or `None` when there is no such global or it cannot
    /// be read.
    fn global(&self, global: u32) -> Option<Value>;
}

/// Reads `len` bytes at `offset`, but no more than `limit`.
///
/// Nothing is allocated for bytes that are not there, so the numbers may come from a guest.
///
/// # Errors
///
/// Fails as [`Instance::read`] does.
pub fn read_bytes(
    instance: &dyn Instance,
    memory: u32,
    offset: u64,
    len: u64,
    limit: usize,
) -> Result<Vec<u8>, ReadError> {
    let out_of_bounds = ReadError {
        memory,
        offset,
        len,
    };
    let size = instance.memory_size(memory).ok_or(out_of_bounds)?;
    if offset.checked_add(len).is_none_or(|end| end > size) {
        return Err(out_of_bounds);
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(limit).min(limit)];
    instance.read(memory, offset, &mut bytes)?;
    Ok(bytes)
}

/// Says which bytes were asked for and are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to read {len} bytes at offset {offset:#x} of memory {memory}: out of bounds")]
pub struct ReadError {
    /// The memory's index.
    pub memory: u32,
    /// The first byte asked for.
    pub offset: u64,
    /// How many bytes were asked for.
    pub len: u64,
}
