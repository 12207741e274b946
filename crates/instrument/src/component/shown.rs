//! What of an instance a host can be shown behind each event: memories, as lists of bytes,
//! and the values of globals, in a list of words.
//!
//! The words are those that hooks pass values as (see [`crate::hooks`]), one global
//! after the other, in little endian. A global whose type other modules cannot name is left
//! out, such as one of a reference to a type that its own module defines.

use wasmparser::{
    BinaryReader, GlobalSectionReader, GlobalType, HeapType, ImportSectionReader,
    MemorySectionReader, MemoryType, TypeRef, ValType, WasmFeatures,
};

use crate::hooks;
use crate::module::id;
use crate::{Error, Module};

/// The memories and globals of a core module, by index.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) memories: Vec<MemoryType>,
    pub(super) globals: Vec<GlobalType>,
}

impl Contents {
    pub(super) fn of(module: &Module<'_>) -> Result<Self, Error> {
        let mut found = Self::default();
        for section in &module.sections {
            let contents = &module.bytes[section.contents.clone()];
            let reader =
                BinaryReader::new_features(contents, section.contents.start, WasmFeatures::all());
            match section.id {
                id::IMPORT => {
                    for import in ImportSectionReader::new(reader)?.into_imports() {
                        match import?.ty {
                            TypeRef::Memory(ty) => found.memories.push(ty),
                            TypeRef::Global(ty) => found.globals.push(ty),
                            _ => {}
                        }
                    }
                }
                id::MEMORY => {
                    for ty in MemorySectionReader::new(reader)? {
                        found.memories.push(ty?);
                    }
                }
                id::GLOBAL => {
                    for global in GlobalSectionReader::new(reader)? {
                        found.globals.push(global?.ty);
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Returns the memories that can be shown, with their indices.
    pub(super) fn shown_memories(&self) -> impl Iterator<Item = (u32, MemoryType)> + '_ {
        let memories = (0..).zip(self.memories.iter().copied());
        memories.filter(|(_, ty)| can_be_shown(ty))
    }

    /// Returns the globals that can be shown, with their indices.
    pub(super) fn shown_globals(&self) -> impl Iterator<Item = (u32, GlobalType)> + '_ {
        let globals = (0..).zip(self.globals.iter().copied());
        globals.filter(|(_, ty)| is_named_everywhere(ty))
    }

    /// Returns how many words the values of those are.
    pub(super) fn words(&self) -> usize {
        let shown = self.shown_globals();
        shown
            .map(|(_, ty)| hooks::flattened_len(ty.content_type))
            .sum()
    }
}

/// Tells whether a memory can go to the host as a list of bytes.
pub(super) fn can_be_shown(ty: &MemoryType) -> bool {
    !ty.shared && !ty.memory64
}

/// Tells whether another module can import a global of this type.
fn is_named_everywhere(ty: &GlobalType) -> bool {
    let is_abstract = match ty.content_type {
        ValType::Ref(ty) => matches!(ty.heap_type(), HeapType::Abstract { shared: false, .. }),
        _ => true,
    };
    is_abstract && !ty.shared
}

/// Returns the type of each global of a module, by index, whose value is in the list;
/// `None` where it is not.
///
/// # Errors
///
/// None for a module that was read: [`Module::parse`] has validated it.
pub fn globals(module: &Module<'_>) -> Result<Vec<Option<ValType>>, Error> {
    let contents = Contents::of(module)?;
    let types = contents.globals.iter();
    let shown = types.map(|ty| is_named_everywhere(ty).then_some(ty.content_type));
    Ok(shown.collect())
}
