//! Who chooses which functions are listened to, and by whom.

use std::sync::Arc;

use crate::boxed::BoxListener;
use crate::definition::Definition;
use crate::fanout::Fanout;

/// Chooses a listener for each function of a module.
///
/// Asked once for each function and instantiation. A closure from a definition to a
/// listener is a factory. So is a tuple, or a `Vec`, of factories: a function then gets
/// all the listeners that they give it.
pub trait Factory: Send + Sync {
    /// Returns the listener of a function, or `None` to leave the function as it is.
    fn listener(&self, definition: &Definition) -> Option<BoxListener>;
}

impl<F> Factory for F
where
    F: Fn(&Definition) -> Option<BoxListener> + Send + Sync,
{
    fn listener(&self, definition: &Definition) -> Option<BoxListener> {
        self(definition)
    }
}

/// Attaches one listener to every function.
impl Factory for BoxListener {
    fn listener(&self, _: &Definition) -> Option<BoxListener> {
        Some(self.clone())
    }
}

impl<F: Factory + ?Sized> Factory for Arc<F> {
    fn listener(&self, definition: &Definition) -> Option<BoxListener> {
        (**self).listener(definition)
    }
}

impl<F: Factory> Factory for Vec<F> {
    fn listener(&self, definition: &Definition) -> Option<BoxListener> {
        Fanout::join(self.iter().filter_map(|f| f.listener(definition)).collect())
    }
}

impl<A: Factory, B: Factory> Factory for (A, B) {
    fn listener(&self, definition: &Definition) -> Option<BoxListener> {
        let both = [self.0.listener(definition), self.1.listener(definition)];
        Fanout::join(both.into_iter().flatten().collect())
    }
}
