//! A component that is being written.

use std::collections::BTreeMap;

use wasm_encoder::{ComponentSectionId, RawSection};

use super::steps;

/// The index of the instance that the host's functions come from, which is the first.
pub(super) const HOST_INSTANCE: u32 = 0;

/// A component that is being written, and how far the original's is.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) component: wasm_encoder::Component,
    pub(super) scope: usize,
    /// How many core modules of the original are instantiated.
    pub(super) core_instantiations: usize,
    /// How many components of the original are instantiated.
    pub(super) instantiations: usize,
    /// How many functions of the original are lifted or lowered.
    pub(super) functions: usize,
    /// The functions that were lowered and are yet to be wrapped: their original index, in
    /// whose order they are, and which function it is.
    pub(super) lowered: Vec<(u32, usize)>,
    /// The wrappers of functions that are lifted.
    pub(super) lifted: BTreeMap<usize, u32>,
    /// What is there in a component with probes.
    pub(super) added: Added,
    /// How many instances with probes it has.
    pub(super) numbered: u32,
    /// The modules in front of functions of each type.
    pub(super) quiet: BTreeMap<Vec<u8>, u32>,
    /// The module that shares a memory.
    pub(super) share: Option<u32>,
    /// The modules that show memories and globals, by their bytes.
    pub(super) look: BTreeMap<Vec<u8>, u32>,
}

/// The indices of what each component with probes has once.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Added {
    /// The module of hooks.
    pub(super) hooks: u32,
    /// The instance that keeps events.
    pub(super) events: u32,
    /// The instance of the host's lowered functions.
    pub(super) host: u32,
    /// The host's `look` and `memory`, functions of components.
    pub(super) look: u32,
    pub(super) memory: u32,
    /// The memory of the instance that keeps events.
    pub(super) events_memory: u32,
    /// The host's `share`, where it is used.
    pub(super) share: Option<u32>,
}

impl Output {
    pub(super) fn new(scope: usize) -> Self {
        Self {
            component: wasm_encoder::Component::new(),
            scope,
            core_instantiations: 0,
            instantiations: 0,
            functions: 0,
            lowered: Vec::new(),
            lifted: BTreeMap::new(),
            added: Added::default(),
            numbered: 0,
            quiet: BTreeMap::new(),
            share: None,
            look: BTreeMap::new(),
        }
    }

    /// Tells whether a function, by its original index, was lowered and is yet to be wrapped.
    pub(super) fn is_lowered(&self, function: u32) -> bool {
        let lowered = &self.lowered;
        let place = lowered.binary_search_by_key(&function, |(lowered, _)| {
            steps::count();
            *lowered
        });
        place.is_ok()
    }

    /// Writes a section of these bytes, and returns where they start.
    pub(super) fn raw(&mut self, id: ComponentSectionId, data: &[u8]) -> usize {
        self.component.section(&RawSection { id: id as u8, data });
        self.component.as_slice().len() - data.len()
    }
}
