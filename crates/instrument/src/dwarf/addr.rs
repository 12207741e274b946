//! `.debug_addr`, of DWARF 5: addresses that others refer to by number, in place.
//!
//! The section holds addresses of code and of data alike and does not say which is
//! which; those that an attribute or a list uses as code are code.

use gimli::DebugAddrIndex;

use crate::dwarf::code::Code;

/// The section, being rewritten.
#[derive(Debug)]
pub(super) struct Pool<'a> {
    old: &'a [u8],
    /// The section's contents, with the addresses so far used as code rewritten.
    pub(super) new: Vec<u8>,
}

impl<'a> Pool<'a> {
    pub(super) fn new(old: &'a [u8]) -> Self {
        Self {
            old,
            new: old.to_vec(),
        }
    }

    /// Returns an address that is used as code, and rewrites it.
    pub(super) fn code(
        &mut self,
        base: usize,
        index: DebugAddrIndex,
        address_size: u8,
        code: &Code<'_>,
    ) -> Result<u64, gimli::Error> {
        let size = usize::from(address_size);
        let at = index
            .0
            .checked_mul(size)
            .and_then(|by| base.checked_add(by));
        let range = at.and_then(|at| Some(at..at.checked_add(size)?));
        let old = range.clone().and_then(|range| self.old.get(range));
        let (Some(range), Some(old)) = (range, old) else {
            return Err(gimli::Error::OffsetOutOfBounds(index.0 as u64));
        };
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(old);
        let address = u64::from_le_bytes(bytes);
        if let Some(new) = code.at(address) {
            self.new[range].copy_from_slice(&new.to_le_bytes()[..size]);
        }
        Ok(address)
    }
}
