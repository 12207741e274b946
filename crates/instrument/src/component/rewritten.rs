//! A rewritten component, as its host needs to know it.

use std::collections::BTreeMap;

use wasmscope_address::{FuncIndex, WasmOffset};

use crate::{Map, Skipped, dwarf};

/// What may get a probe.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Candidate {
    /// A function of a core module, imported or defined.
    Core {
        /// Which of [`Component::modules`](super::Component::modules).
        module: usize,
        /// The function.
        function: FuncIndex,
    },
    /// Which of [`Component::functions`](super::Component::functions): a function where it
    /// is lifted or lowered.
    Function(usize),
}

/// A component that calls its host's hooks.
#[derive(Clone, Debug)]
pub struct RewrittenComponent {
    /// The component's bytes.
    pub wasm: Vec<u8>,
    /// Every core module in those bytes, in their order, which is that of the numbers that
    /// engines give them.
    pub modules: Vec<RewrittenModule>,
    /// What is instantiated that has probes, by what is passed to `attach`.
    pub instantiations: BTreeMap<u32, Instantiation>,
}

/// A core module of a rewritten component.
#[derive(Clone, Debug)]
pub enum RewrittenModule {
    /// A module of the original.
    Original(Box<OriginalModule>),
    /// Functions that stand in front of those that the original lifts or lowers.
    Wrapper {
        /// Which of [`Component::functions`](super::Component::functions), by the number of
        /// the probe.
        functions: Vec<usize>,
    },
    /// Another that was added.
    Added,
}

/// A module of the original in a rewritten component.
#[derive(Clone, Debug)]
pub struct OriginalModule {
    /// Which of [`Component::modules`](super::Component::modules).
    pub index: usize,
    /// The functions that have a probe, by the probe's number; the indices are the
    /// original's. A module without any is a copy of the original.
    pub probes: Vec<FuncIndex>,
    /// The functions that have no probe although it was asked for, and why, by index.
    pub skipped: Vec<(FuncIndex, Skipped)>,
    /// Where each function and each byte of code went, in offsets from the start of the
    /// components.
    pub map: Map,
    /// What became of the debug information.
    pub debug: dwarf::Outcome,
}

/// Something in a component of which each instance has a number of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Instantiation {
    /// A module of the original.
    Core {
        /// Which of [`RewrittenComponent::modules`].
        module: usize,
        /// The functions that it imports which the component lowers: which of
        /// [`Component::functions`](super::Component::functions) each is.
        lowered: BTreeMap<FuncIndex, usize>,
    },
    /// A wrapper.
    Functions {
        /// Which of [`RewrittenComponent::modules`].
        module: usize,
        /// Which of [`Component::functions`](super::Component::functions), by the number of
        /// the probe.
        functions: Vec<usize>,
    },
}

impl RewrittenComponent {
    /// Returns where the byte at `rewritten` was in the original file, or `None` when it
    /// was inserted or is not code.
    #[must_use]
    pub fn original(&self, rewritten: WasmOffset) -> Option<WasmOffset> {
        self.maps().find_map(|map| map.original(rewritten))
    }

    /// Returns where the byte at `original` is in the rewritten file.
    #[must_use]
    pub fn rewritten(&self, original: WasmOffset) -> Option<WasmOffset> {
        self.maps().find_map(|map| map.rewritten(original))
    }

    fn maps(&self) -> impl Iterator<Item = &Map> {
        self.modules.iter().filter_map(|module| match module {
            RewrittenModule::Original(module) => Some(&module.map),
            RewrittenModule::Wrapper { .. } | RewrittenModule::Added => None,
        })
    }
}
