//! What of a component can get a probe, as a factory sees it.

use super::definition;
use crate::listening::definition::of as definitions_of_module;
use std::collections::HashSet;
use std::sync::Arc;
use wasmscope_instrument::component::{Candidate, Component, Direction};
use wasmscope_listen::Definition;

/// The functions of a component.
pub(in crate::listening) struct Candidates {
    /// Those of each core module.
    pub(in crate::listening) core: Vec<Vec<Arc<Definition>>>,
    /// Those that are lifted and lowered.
    pub(in crate::listening) functions: Vec<Arc<Definition>>,
    /// The interface and the name of each that is lowered.
    lowered: HashSet<(String, String)>,
}

impl Candidates {
    pub(in crate::listening) fn of(component: &Component<'_>) -> Self {
        let modules = component.modules().iter();
        let lowered = component.functions().iter().filter_map(|function| {
            (function.direction == Direction::Import).then(|| {
                let interface = function.interface.as_deref().unwrap_or("$root");
                Some((interface.to_owned(), function.name.clone()?))
            })?
        });
        Self {
            core: modules
                .map(|nested| definitions_of_module(&nested.module))
                .collect(),
            functions: definition::of(component),
            lowered: lowered.collect(),
        }
    }

    /// Tells whether one is to have a probe, where `probed` says so of each definition.
    pub(in crate::listening) fn is_probed(
        &self,
        candidate: Candidate,
        probed: impl Fn(&Definition) -> bool,
    ) -> bool {
        match candidate {
            Candidate::Core { module, function } => self
                .core
                .get(module)
                .and_then(|definitions| definitions.get(function.0 as usize))
                .is_some_and(|definition| !self.is_lowered(definition) && probed(definition)),
            Candidate::Function(function) => self
                .functions
                .get(function)
                .is_some_and(|definition| probed(definition)),
        }
    }

    /// Tells whether what a core module imports is what the component imports by that name.
    /// What is of no interface goes by `$root` in core modules.
    fn is_lowered(&self, definition: &Definition) -> bool {
        definition.import.as_ref().is_some_and(|import| {
            let name = (import.module.to_string(), import.name.to_string());
            self.lowered.contains(&name)
        })
    }
}
