//! Labels: keys and values that say for whom a sample was taken.

/// A set of labels of a profile.
///
/// Belongs to the profile that gave it; using it with another profile yields
/// another set or panics.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LabelsHandle(pub(crate) u32);

impl LabelsHandle {
    /// No labels at all. Valid in every profile.
    pub const EMPTY: Self = Self(0);

    pub(crate) fn from_index(index: usize) -> Self {
        Self(u32::try_from(index).expect("a table holds fewer than 2^32 entries"))
    }

    /// Returns the set's position in its table; zero for the empty set.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A label's value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Value {
    /// A text, for example a tenant's name.
    Text(String),
    /// A number, with its unit where it has one: `bytes`, `milliseconds` ...
    Number(i64, Option<String>),
}

/// A label: its key and its value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Label {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Value,
}
