//! `.debug_aranges`: which unit has which addresses, in place.

use gimli::{EndianSlice, LittleEndian, Reader as _};

use crate::dwarf::code::Code;
use crate::dwarf::reason::Reason;

pub(super) const SECTION: &str = ".debug_aranges";

/// Rewrites the addresses and lengths of every table.
pub(super) fn rewrite(section: &[u8], code: &Code<'_>) -> Result<Vec<u8>, Reason> {
    let mut out = section.to_vec();
    let whole = EndianSlice::new(section, LittleEndian);
    let mut rest = whole;
    while !rest.is_empty() {
        let at = rest.offset_from(whole);
        table(&mut rest, whole, &mut out, code)
            .map_err(|e| Reason::damaged(SECTION, at as u64, e))?;
    }
    Ok(out)
}

fn table(
    rest: &mut EndianSlice<'_, LittleEndian>,
    whole: EndianSlice<'_, LittleEndian>,
    out: &mut [u8],
    code: &Code<'_>,
) -> Result<(), gimli::Error> {
    let start = *rest;
    let (length, format) = rest.read_initial_length()?;
    let mut bytes = start;
    bytes.skip(rest.offset_from(start))?;
    bytes.truncate(length)?;
    rest.skip(length)?;
    bytes.skip(2)?;
    bytes.read_offset(format)?;
    let address_size = bytes.read_u8()?;
    if address_size != 4 && address_size != 8 {
        return Err(gimli::Error::UnsupportedAddressSize(address_size));
    }
    bytes.skip(1)?;
    let size = usize::from(address_size);
    // Tuples are aligned to their size, counted from the table's start.
    let header = bytes.offset_from(start);
    bytes.skip(header.next_multiple_of(2 * size) - header)?;
    while bytes.len() >= 2 * size {
        let at = bytes.offset_from(whole);
        let address = bytes.read_address(address_size)?;
        let length = bytes.read_address(address_size)?;
        let end = address.checked_add(length);
        if let (Some(begin), Some(end)) = (code.at(address), end.and_then(|end| code.at(end))) {
            let length = end.saturating_sub(begin);
            out[at..at + size].copy_from_slice(&begin.to_le_bytes()[..size]);
            out[at + size..at + 2 * size].copy_from_slice(&length.to_le_bytes()[..size]);
        }
    }
    Ok(())
}
