//! A profile's table of strings: each text once, for records that have many alike.

use crate::handle::handle;
use indexmap::IndexSet;

handle! {
    /// A text of a profile's table of strings.
    pub(crate) StringHandle
}

/// The table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strings(IndexSet<Box<str>>);

impl Strings {
    /// Adds a text, unless it is there.
    pub(crate) fn add(&mut self, text: String) -> StringHandle {
        let index = match self.0.get_index_of(text.as_str()) {
            Some(index) => index,
            None => self.0.insert_full(text.into_boxed_str()).0,
        };
        StringHandle::from_index(index)
    }

    /// Returns a text.
    pub(crate) fn get(&self, text: StringHandle) -> &str {
        &self.0[text.index()]
    }
}
