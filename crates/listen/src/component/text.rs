//! Strings in the three encodings that components know, whole or their beginning.

use super::abi::StringEncoding;

/// One encoding of the three, once a string's length has been looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Utf16,
    Latin1,
}

impl Encoding {
    /// Splits a string's length into its encoding and its units. `tag` is the bit that
    /// tells UTF-16 from Latin-1.
    pub(super) fn of(encoding: StringEncoding, len: u64, tag: u64) -> (Self, u64) {
        match encoding {
            StringEncoding::Utf8 => (Self::Utf8, len),
            StringEncoding::Utf16 => (Self::Utf16, len),
            StringEncoding::Latin1OrUtf16 if len & tag != 0 => (Self::Utf16, len & !tag),
            StringEncoding::Latin1OrUtf16 => (Self::Latin1, len),
        }
    }

    /// Returns how many bytes one unit takes.
    pub(super) fn unit(self) -> u64 {
        match self {
            Self::Utf8 | Self::Latin1 => 1,
            Self::Utf16 => 2,
        }
    }

    /// Decodes bytes, and counts the units that became text. Where the string `is_cut`, a
    /// character that ends beyond the bytes is left out; else `None` says that the bytes
    /// are not in the encoding.
    pub(super) fn decode(self, bytes: &[u8], is_cut: bool) -> Option<(String, u64)> {
        let text = match self {
            Self::Utf8 => {
                let valid = match std::str::from_utf8(bytes) {
                    Ok(text) => text,
                    Err(error) if is_cut && error.error_len().is_none() => {
                        let (valid, _) = bytes.split_at_checked(error.valid_up_to())?;
                        std::str::from_utf8(valid).ok()?
                    }
                    Err(_) => return None,
                };
                return Some((valid.to_owned(), valid.len() as u64));
            }
            Self::Latin1 => bytes.iter().copied().map(char::from).collect(),
            Self::Utf16 => {
                let (pairs, _) = bytes.as_chunks::<2>();
                let mut units: Vec<_> =
                    pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
                if is_cut
                    && units
                        .last()
                        .is_some_and(|unit| (0xd800..0xdc00).contains(unit))
                {
                    units.pop();
                }
                let text: Result<String, _> = char::decode_utf16(units.iter().copied()).collect();
                return Some((text.ok()?, units.len() as u64));
            }
        };
        Some((text, bytes.len() as u64))
    }
}
