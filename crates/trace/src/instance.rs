//! The memory that a call of WASI points into.

use crate::memory::Memory;
use std::borrow::Cow;
use wasmscope_listen::Instance;

/// An instance's first memory: the only one of all guests that toolchains make for
/// WASI preview 1, which knows one memory.
pub(crate) struct InstanceMemory<'a>(pub(crate) &'a dyn Instance);

impl Memory for InstanceMemory<'_> {
    fn read(&self, address: u64, length: usize) -> Option<Cow<'_, [u8]>> {
        let limit = length;
        let bytes = wasmscope_listen::read_bytes(self.0, 0, address, length as u64, limit);
        bytes.ok().map(Cow::Owned)
    }
}
