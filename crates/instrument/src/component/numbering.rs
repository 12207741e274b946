//! The indices that everything has in a rewritten component.
//!
//! What is added comes first in the index spaces of types, instances and functions of
//! components, so all others move up by as many. In those of core modules, instances,
//! functions and memories it comes where it is needed.

use std::collections::BTreeMap;
use std::convert::Infallible;

use wasm_encoder::CanonicalOption;
use wasm_encoder::reencode::{Error, Reencode, ReencodeComponent, component_utils};

/// The indices in one component.
#[derive(Debug, Default)]
pub(super) struct Indices {
    /// By how many types, instances and functions the original's move up.
    pub(super) types: u32,
    pub(super) instances: u32,
    pub(super) functions: u32,
    pub(super) core_modules: Space,
    pub(super) core_instances: Space,
    pub(super) core_functions: Space,
    pub(super) core_memories: Space,
    /// What stands for functions that are called where calls out are forbidden.
    pub(super) quiet: BTreeMap<u32, u32>,
}

/// An index space where new items come in between.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// The new index of each item of the original.
    moved: Vec<u32>,
    next: u32,
}

impl Space {
    /// Adds an item, and returns its index.
    pub(super) fn add(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    /// Adds an item of the original, and returns its new index.
    pub(super) fn keep(&mut self) -> u32 {
        let index = self.add();
        self.moved.push(index);
        index
    }

    /// Says what stands for an item of the original.
    pub(super) fn replace(&mut self, original: u32, by: u32) {
        self.moved[original as usize] = by;
    }

    /// Returns how many items there are so far.
    pub(super) fn count(&self) -> u32 {
        self.next
    }

    /// Returns how many items of the original there are so far.
    pub(super) fn kept(&self) -> u32 {
        self.moved.len() as u32
    }

    /// Returns the index that an item of the original has. What does not exist, as names can
    /// be of, keeps its index.
    pub(super) fn moved(&self, original: u32) -> u32 {
        self.moved
            .get(original as usize)
            .copied()
            .unwrap_or(original)
    }
}

/// The indices in all components that are being written.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    /// The innermost is the last.
    pub(super) open: Vec<Indices>,
    /// How many types deep it is in what describes components and instances.
    depth: usize,
}

impl Numbering {
    /// Returns the indices of the innermost component.
    pub(super) fn here(&mut self) -> &mut Indices {
        if self.open.is_empty() {
            self.open.push(Indices::default());
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    /// Returns those that an alias means which looks `count` levels outwards; `None` where
    /// that is within a type.
    fn outer(&self, count: u32) -> Option<&Indices> {
        let outwards = (count as usize).checked_sub(self.depth)?;
        self.open.iter().rev().nth(outwards)
    }
}

impl Reencode for Numbering {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        Ok(self.here().core_functions.moved(function))
    }

    fn memory_index(&mut self, memory: u32) -> Result<u32, Error> {
        Ok(self.here().core_memories.moved(memory))
    }
}

impl ReencodeComponent for Numbering {
    fn component_type_index(&mut self, ty: u32) -> u32 {
        ty + self.outer(0).map_or(0, |indices| indices.types)
    }

    fn component_instance_index(&mut self, instance: u32) -> u32 {
        instance + self.outer(0).map_or(0, |indices| indices.instances)
    }

    fn component_func_index(&mut self, function: u32) -> u32 {
        function + self.outer(0).map_or(0, |indices| indices.functions)
    }

    fn module_index(&mut self, module: u32) -> u32 {
        self.outer(0)
            .map_or(module, |indices| indices.core_modules.moved(module))
    }

    fn instance_index(&mut self, instance: u32) -> u32 {
        self.outer(0)
            .map_or(instance, |indices| indices.core_instances.moved(instance))
    }

    fn outer_type_index(&mut self, _count: u32, ty: u32) -> Result<u32, Error> {
        Ok(ty)
    }

    fn outer_component_type_index(&mut self, count: u32, ty: u32) -> u32 {
        ty + self.outer(count).map_or(0, |indices| indices.types)
    }

    fn outer_component_index(&mut self, _count: u32, component: u32) -> u32 {
        component
    }

    fn outer_module_index(&mut self, count: u32, module: u32) -> u32 {
        self.outer(count)
            .map_or(module, |indices| indices.core_modules.moved(module))
    }

    fn push_depth(&mut self) {
        self.depth += 1;
    }

    fn pop_depth(&mut self) {
        self.depth -= 1;
    }

    fn canonical_option(
        &mut self,
        option: wasmparser::CanonicalOption,
    ) -> Result<CanonicalOption, Error> {
        use wasmparser::CanonicalOption as Option;
        let quiet = &self.here().quiet;
        match option {
            Option::Realloc(function) if quiet.contains_key(&function) => {
                Ok(CanonicalOption::Realloc(quiet[&function]))
            }
            Option::PostReturn(function) if quiet.contains_key(&function) => {
                Ok(CanonicalOption::PostReturn(quiet[&function]))
            }
            _ => component_utils::canonical_option(self, option),
        }
    }
}
