//! A whole dump: what the file says, section by section.

use std::borrow::Cow;

use crate::{Frame, Global, Memory, Thread};

/// What a process's guests were at one moment.
///
/// Names and contents of memories may be borrowed: from the file that the dump was read
/// from, or from the memories of a live guest that is being dumped.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct CoreDump<'a> {
    /// The name of the executable.
    pub name: Cow<'a, str>,
    /// The name, path or URL of each module.
    pub modules: Vec<Cow<'a, str>>,
    /// The instances of those modules. Empty in files whose writers knew of none.
    pub instances: Vec<Instance>,
    /// All memories of all instances.
    pub memories: Vec<Memory<'a>>,
    /// All globals of all instances.
    pub globals: Vec<Global>,
    /// The threads, each with its frames.
    pub threads: Vec<Thread<'a>>,
}

/// An instance: which module it is of, and which memories and globals are its own.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Instance {
    /// The module's index in [`CoreDump::modules`].
    pub module: u32,
    /// For each of the module's memories, in the order of its index space, the memory's
    /// index in [`CoreDump::memories`]; `None` where it was not known or not kept. A memory
    /// that several instances share is listed in each.
    pub memories: Vec<Option<u32>>,
    /// The same for globals, in [`CoreDump::globals`].
    pub globals: Vec<Option<u32>>,
}

impl<'a> CoreDump<'a> {
    /// Returns the instance that a frame belongs to, if the dump tells.
    #[must_use]
    pub fn instance(&self, frame: &Frame) -> Option<&Instance> {
        self.instances.get(frame.instance? as usize)
    }

    /// Returns the name of the module that a frame belongs to, if the dump tells.
    ///
    /// A dump with one module and no instances tells: its writer knew of no other.
    #[must_use]
    pub fn module_name(&self, frame: &Frame) -> Option<&str> {
        let index = match self.instance(frame) {
            Some(instance) => instance.module as usize,
            None if self.instances.is_empty() && self.modules.len() == 1 => 0,
            None => return None,
        };
        self.modules.get(index).map(|name| &**name)
    }

    /// Returns the memory of an instance by its index there, if the dump has it.
    #[must_use]
    pub fn memory(&self, instance: &Instance, index: u32) -> Option<&Memory<'a>> {
        let at = (*instance.memories.get(index as usize)?)?;
        self.memories.get(at as usize)
    }

    /// Returns the global of an instance by its index there, if the dump has it.
    #[must_use]
    pub fn global(&self, instance: &Instance, index: u32) -> Option<&Global> {
        let at = (*instance.globals.get(index as usize)?)?;
        self.globals.get(at as usize)
    }
}
