//! The shapes of data that WASI has in memory, laid out as in C, and how to read
//! them.

use crate::datum::Datum;

/// A type of data.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A number without sign, of so many bytes.
    Unsigned(usize),
    /// A number with sign, of so many bytes.
    Signed(usize),
    /// A number of so many bytes whose values have names.
    Names(usize, &'static [&'static str]),
    /// A number of so many bytes whose bits have names, the lowest first.
    Flags(usize, &'static [&'static str]),
    /// One field after another.
    Record(&'static [Field]),
    /// A tag of one byte that says which of these follows.
    Union(&'static [Field]),
}

/// A name, and what has it.
pub type Field = (&'static str, Shape);

impl Shape {
    /// Returns how many bytes it takes.
    pub fn size(self) -> usize {
        match self {
            Self::Unsigned(size)
            | Self::Signed(size)
            | Self::Names(size, _)
            | Self::Flags(size, _) => size,
            Self::Record(fields) => {
                let end = fields.iter().fold(0, |end: usize, (_, shape)| {
                    end.next_multiple_of(shape.align()) + shape.size()
                });
                end.next_multiple_of(self.align())
            }
            Self::Union(cases) => {
                let largest = cases.iter().map(|(_, shape)| shape.size()).max();
                (self.case_offset() + largest.unwrap_or(0)).next_multiple_of(self.align())
            }
        }
    }

    /// Returns what its address is a multiple of.
    pub fn align(self) -> usize {
        match self {
            Self::Unsigned(size)
            | Self::Signed(size)
            | Self::Names(size, _)
            | Self::Flags(size, _) => size,
            Self::Record(fields) | Self::Union(fields) => {
                let aligns = fields.iter().map(|(_, shape)| shape.align());
                aligns.max().unwrap_or(1)
            }
        }
    }

    /// Returns where the cases of a union begin.
    fn case_offset(self) -> usize {
        1_usize.next_multiple_of(self.align())
    }

    /// Reads it from its bytes, [`Shape::size`] of them.
    pub fn read(self, bytes: &[u8]) -> Datum {
        match self {
            Self::Record(fields) => {
                let mut offset = 0_usize;
                let read = fields.iter().map(|(name, shape)| {
                    offset = offset.next_multiple_of(shape.align());
                    let datum = shape.read(bytes.get(offset..).unwrap_or_default());
                    offset += shape.size();
                    (*name, datum)
                });
                Datum::Record(read.collect())
            }
            Self::Union(cases) => {
                let tag = word(bytes, 1);
                let case = usize::try_from(tag).ok().and_then(|tag| cases.get(tag));
                match case {
                    Some((name, shape)) => {
                        let bytes = bytes.get(self.case_offset()..).unwrap_or_default();
                        Datum::Record(vec![(*name, shape.read(bytes))])
                    }
                    None => Datum::small(tag),
                }
            }
            plain => plain.value(word(bytes, plain.size())),
        }
    }

    /// Reads it from a parameter or a result. Records are never one.
    pub fn value(self, word: u64) -> Datum {
        let size = self.size();
        let is_wide = size > 4;
        match self {
            Self::Signed(size) => {
                let shift = 64 - 8 * size.clamp(1, 8);
                let value = i128::from((word << shift) as i64 >> shift);
                Datum::Number { value, is_wide }
            }
            Self::Names(_, names) => {
                let named = usize::try_from(word).ok().and_then(|at| names.get(at));
                match named {
                    Some(name) => Datum::Name(name),
                    None => Datum::small(word),
                }
            }
            Self::Flags(_, names) => {
                let (mut set, mut clear, mut rest) = (Vec::new(), Vec::new(), word);
                for (bit, name) in names.iter().enumerate() {
                    match word >> bit & 1 {
                        1 => set.push(*name),
                        _ => clear.push(*name),
                    }
                    rest &= !(1 << bit);
                }
                Datum::Flags { set, clear, rest }
            }
            Self::Unsigned(_) | Self::Record(_) | Self::Union(_) => {
                let value = i128::from(word);
                Datum::Number { value, is_wide }
            }
        }
    }
}

/// Reads a number of up to eight bytes, the lowest first; bytes that are not there
/// are zeros.
pub(crate) fn word(bytes: &[u8], size: usize) -> u64 {
    let bytes = bytes.iter().take(size.min(8)).enumerate();
    bytes.fold(0, |word, (at, byte)| word | u64::from(*byte) << (8 * at))
}
