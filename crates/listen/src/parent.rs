//! The open listened calls around a call, with what their `before` left.

use std::fmt;

use crate::call::Site;
use crate::definition::Definition;
use crate::slot::Slot;

/// An open call that has a listener.
#[derive(Clone, Copy)]
pub struct Parent<'a> {
    definition: &'a Definition,
    slot: &'a Slot,
    key: u64,
}

impl<'a> Parent<'a> {
    /// Makes a parent from its parts; `key` is what [`Site::parent`] finds its parent by.
    #[must_use]
    #[inline]
    pub fn new(definition: &'a Definition, slot: &'a Slot, key: u64) -> Self {
        Self {
            definition,
            slot,
            key,
        }
    }

    /// Returns what was called.
    #[must_use]
    #[inline]
    pub fn definition(self) -> &'a Definition {
        self.definition
    }

    /// Returns what `before` left, if it is an `S`; of composed listeners, the first `S`.
    ///
    /// A listener that looks for its own state uses a type of its own, so that it does not
    /// meet another listener's `u64`.
    #[must_use]
    #[inline]
    pub fn state<S: 'static>(self) -> Option<&'a S> {
        self.find_state(|_| true)
    }

    /// Returns the first `S` that `before` left and `wanted` accepts. So two listeners of
    /// one type, composed, find each its own.
    #[must_use]
    #[inline]
    pub fn find_state<S: 'static>(self, wanted: impl FnMut(&S) -> bool) -> Option<&'a S> {
        self.slot.find(wanted)
    }
}

impl fmt::Debug for Parent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.definition)
    }
}

/// Visits open listened calls, newest first.
#[derive(Clone)]
pub struct Parents<'a> {
    site: &'a dyn Site,
    /// Whose parent is next: the call's own, or that of the parent with this key.
    of: Option<u64>,
    /// The outermost was visited.
    done: bool,
}

impl<'a> Parents<'a> {
    #[inline]
    pub(crate) fn new(site: &'a dyn Site) -> Self {
        Self {
            site,
            of: None,
            done: false,
        }
    }
}

impl<'a> Iterator for Parents<'a> {
    type Item = Parent<'a>;

    #[inline]
    fn next(&mut self) -> Option<Parent<'a>> {
        if self.done {
            return None;
        }
        let parent = self.site.parent(self.of);
        self.of = parent.map(|parent| parent.key);
        self.done = parent.is_none();
        parent
    }
}

impl std::iter::FusedIterator for Parents<'_> {}

impl fmt::Debug for Parents<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
