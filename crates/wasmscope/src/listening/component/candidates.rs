//! What of a component can get a probe, as a factory sees it.

use super::definition;
use crate::listening::definition::of as definitions_of_module;
use std::collections::HashMap;
use std::sync::Arc;
use wasmscope_instrument::component::{Binding, Candidate, Component, Direction};
use wasmscope_listen::Definition;

/// The functions of a component.
pub(in crate::listening) struct Candidates<'c> {
    component: &'c Component<'c>,
    /// Those of each core module.
    pub(in crate::listening) core: Vec<Vec<Arc<Definition>>>,
    /// Those that are lifted and lowered.
    pub(in crate::listening) functions: Vec<Arc<Definition>>,
    /// Those that are lowered, by their interface and name.
    lowered: HashMap<(String, String), usize>,
}

impl<'c> Candidates<'c> {
    pub(in crate::listening) fn of(component: &'c Component<'c>) -> Self {
        let modules = component.modules().iter();
        let functions = component.functions().iter().enumerate();
        let lowered = functions.filter_map(|(number, function)| {
            (function.direction == Direction::Import).then(|| {
                let interface = function.interface.as_deref().unwrap_or("$root");
                Some(((interface.to_owned(), function.name.clone()?), number))
            })?
        });
        Self {
            component,
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
        probed: &impl Fn(&Definition) -> bool,
    ) -> bool {
        match candidate {
            Candidate::Core { module, function } => {
                let definitions = self.core.get(module);
                let definition =
                    definitions.and_then(|definitions| definitions.get(function.0 as usize));
                definition.is_some_and(|definition| {
                    probed(definition) && !self.is_told_elsewhere(module, definition, probed)
                })
            }
            Candidate::Function(function) => self
                .functions
                .get(function)
                .is_some_and(|definition| probed(definition)),
        }
    }

    /// Tells whether what a core module imports is always a function that the component
    /// lowers and that is heard as such.
    fn is_told_elsewhere(
        &self,
        module: usize,
        definition: &Definition,
        probed: &impl Fn(&Definition) -> bool,
    ) -> bool {
        if definition.import.is_none() {
            return false;
        }
        let bindings = self.component.bindings(module, definition.index);
        let mut bindings = bindings.peekable();
        bindings.peek().is_some()
            && bindings.all(|binding| match binding {
                Binding::Lowered(function) => {
                    let function = self.functions.get(function);
                    function.is_some_and(|function| probed(function))
                }
                Binding::Other => false,
                Binding::Unknown => self.is_lowered_by_name(definition, probed),
            })
    }

    /// Tells whether the component lowers a function that it imports by the name that a core
    /// module imports one by. What is of no interface goes by `$root` in core modules.
    fn is_lowered_by_name(
        &self,
        definition: &Definition,
        probed: &impl Fn(&Definition) -> bool,
    ) -> bool {
        definition.import.as_ref().is_some_and(|import| {
            let name = (import.module.to_string(), import.name.to_string());
            let function = self.lowered.get(&name);
            function.is_some_and(|function| probed(&self.functions[*function]))
        })
    }
}
