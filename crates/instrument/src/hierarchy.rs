//! The hierarchies of reference types.

use wasmparser::{AbstractHeapType, CompositeInnerType, HeapType, RefType, UnpackedIndex};

use crate::Module;

/// The hierarchy that a reference type belongs to: what is below one top type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Hierarchy {
    /// Functions.
    Func,
    /// What the host handed in.
    Extern,
    /// Structs, arrays and small integers.
    Any,
    /// Exceptions.
    Exn,
    /// Continuations.
    Cont,
}

impl Hierarchy {
    /// Returns the hierarchy of a type that a module defines.
    pub(crate) fn of_defined(ty: &CompositeInnerType) -> Self {
        match ty {
            CompositeInnerType::Func(_) => Self::Func,
            CompositeInnerType::Array(_) | CompositeInnerType::Struct(_) => Self::Any,
            CompositeInnerType::Cont(_) => Self::Cont,
        }
    }
}

impl Module<'_> {
    /// Returns the hierarchy of a reference type of this module.
    #[must_use]
    pub fn hierarchy(&self, ty: RefType) -> Hierarchy {
        match ty.heap_type() {
            HeapType::Abstract { ty, .. } => match ty {
                AbstractHeapType::Func | AbstractHeapType::NoFunc => Hierarchy::Func,
                AbstractHeapType::Extern | AbstractHeapType::NoExtern => Hierarchy::Extern,
                AbstractHeapType::Exn | AbstractHeapType::NoExn => Hierarchy::Exn,
                AbstractHeapType::Cont | AbstractHeapType::NoCont => Hierarchy::Cont,
                _ => Hierarchy::Any,
            },
            HeapType::Concrete(index) | HeapType::Exact(index) => match index {
                UnpackedIndex::Module(index) => self.types.get(index as usize).copied(),
                _ => None,
            }
            .unwrap_or(Hierarchy::Any),
        }
    }
}
