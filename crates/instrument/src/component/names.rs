//! Finds things by their names, of which a file may have as many as it likes.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use super::steps;

/// A name that is looked for.
#[derive(Clone, Copy, Eq, Debug)]
struct Name<'a>(&'a str);

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        steps::count();
        self.0 == other.0
    }
}

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Things by their names; of those with the same name, the first.
#[derive(Clone, Debug)]
pub(super) struct ByName<'a, T>(HashMap<Name<'a>, T>);

impl<T> Default for ByName<'_, T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<'a, T> ByName<'a, T> {
    /// Adds a thing, unless there is one of that name.
    pub(super) fn add(&mut self, name: &'a str, thing: T) {
        self.0.entry(Name(name)).or_insert(thing);
    }

    /// Returns the thing of a name.
    pub(super) fn get(&self, name: &'a str) -> Option<&T> {
        self.0.get(&Name(name))
    }

    /// Returns all things with their names, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a str, &T)> {
        self.0.iter().map(|(name, thing)| (name.0, thing))
    }

    /// Returns all things, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.values()
    }
}

impl<'a, T> FromIterator<(&'a str, T)> for ByName<'a, T> {
    fn from_iter<I: IntoIterator<Item = (&'a str, T)>>(things: I) -> Self {
        let mut found = Self::default();
        for (name, thing) in things {
            found.add(name, thing);
        }
        found
    }
}
