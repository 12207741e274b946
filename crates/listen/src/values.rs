//! The parameters or results of one call, read in place.
//!
//! A guest hands its values over as 64-bit words; nothing is copied or allocated until a
//! listener asks for one:
//!
//! ```text
//!   types   i32        v128                  f32        funcref
//!   words   0000_0007  low half | high half  bits of f  0 null, 1 not
//! ```

use std::fmt;

use crate::call::Site;
use crate::value::{Value, ValueType};

/// A typed view of flattened values.
///
/// ```
/// use wasmscope_listen::{Value, ValueType, Values};
///
/// let values = Values::new(&[ValueType::I32, ValueType::V128], &[7, 1, 2]);
/// assert_eq!(values.get(0), Some(Value::I32(7)));
/// assert_eq!(values.get(1), Some(Value::V128(1 | 2 << 64)));
/// assert_eq!(values.get(2), None);
/// ```
#[derive(Clone, Copy, Default)]
pub struct Values<'a> {
    types: Types<'a>,
    words: &'a [u64],
}

/// Says what types the values are of.
#[derive(Clone, Copy)]
enum Types<'a> {
    Given(&'a [ValueType]),
    /// The results of a call: looked up when somebody asks.
    ResultsOf(&'a dyn Site),
}

impl Default for Types<'_> {
    fn default() -> Self {
        Self::Given(&[])
    }
}

impl<'a> Values<'a> {
    /// Views `words` as values of the given types.
    ///
    /// 32-bit values are in the low half of their word; a vector takes two words, the low
    /// one first; a reference is 0 when it is null. Where words are missing, so are values.
    #[must_use]
    #[inline]
    pub const fn new(types: &'a [ValueType], words: &'a [u64]) -> Self {
        Self {
            types: Types::Given(types),
            words,
        }
    }

    /// Views `words` as the results of a call, which has their types.
    #[inline]
    pub(crate) fn results(site: &'a dyn Site, words: &'a [u64]) -> Self {
        Self {
            types: Types::ResultsOf(site),
            words,
        }
    }

    /// Returns how many values there are.
    #[must_use]
    #[inline]
    pub fn len(self) -> usize {
        self.types().len()
    }

    /// Tells whether there are none.
    #[must_use]
    #[inline]
    pub fn is_empty(self) -> bool {
        self.types().is_empty()
    }

    /// Returns the types.
    #[must_use]
    #[inline]
    pub fn types(self) -> &'a [ValueType] {
        match self.types {
            Types::Given(types) => types,
            Types::ResultsOf(site) => &site.definition().results,
        }
    }

    /// Returns the words behind the values.
    #[must_use]
    #[inline]
    pub const fn words(self) -> &'a [u64] {
        self.words
    }

    /// Returns one value, or `None` when there are fewer.
    #[must_use]
    #[inline]
    pub fn get(self, index: usize) -> Option<Value> {
        let types = self.types();
        let ty = *types.get(index)?;
        let at = types[..index].iter().map(|ty| ty.words()).sum();
        Value::read(ty, self.words.get(at..)?)
    }

    /// Visits the values in order.
    #[must_use]
    #[inline]
    pub fn iter(self) -> ValuesIter<'a> {
        self.into_iter()
    }
}

impl<'a> IntoIterator for Values<'a> {
    type Item = Value;
    type IntoIter = ValuesIter<'a>;

    #[inline]
    fn into_iter(self) -> ValuesIter<'a> {
        ValuesIter {
            types: self.types().iter(),
            words: self.words,
        }
    }
}

/// Writes the values as a list: `[1, 2.0]`.
impl fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, value) in self.into_iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{value}")?;
        }
        f.write_str("]")
    }
}

/// Two lists of values are equal when their types and all bits are.
impl PartialEq for Values<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.types() == other.types() && self.iter().eq(other.iter())
    }
}

/// Visits values in order.
#[derive(Clone, Debug)]
pub struct ValuesIter<'a> {
    types: std::slice::Iter<'a, ValueType>,
    words: &'a [u64],
}

impl Iterator for ValuesIter<'_> {
    type Item = Value;

    #[inline]
    fn next(&mut self) -> Option<Value> {
        let ty = *self.types.next()?;
        let value = Value::read(ty, self.words)?;
        self.words = &self.words[ty.words()..];
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.types.len()))
    }
}
