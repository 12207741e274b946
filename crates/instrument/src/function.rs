//! The functions of a module, as a host decides about them.

use std::ops::Range;
use std::sync::Arc;

use wasmparser::{CompositeInnerType, SubType, ValType};
use wasmscope_address::FuncIndex;

use crate::hooks;

/// One function of a module's index space, imported or defined.
#[derive(Clone, Debug)]
pub struct Function<'a> {
    /// Its index.
    pub index: FuncIndex,
    /// Its type.
    pub signature: Arc<Signature>,
    /// The module and the name that it is imported by, unless it is defined here.
    pub import: Option<(&'a str, &'a str)>,
    /// The names that it is exported under, in the order of the exports.
    pub exports: Vec<&'a str>,
    /// Its name in the name section.
    pub name: Option<&'a str>,
    /// Its parameters' names in the name section, by parameter. Empty when none has
    /// one.
    pub param_names: Vec<Option<&'a str>>,
    /// The file offsets of its body, from its locals' declarations to past its last
    /// operator, unless it is imported.
    pub body: Option<Range<usize>>,
}

impl Function<'_> {
    /// Returns the types of its parameters; type indices in them are the module's.
    #[must_use]
    pub fn params(&self) -> &[ValType] {
        &self.signature.params
    }

    /// Returns the types of its results; type indices in them are the module's.
    #[must_use]
    pub fn results(&self) -> &[ValType] {
        &self.signature.results
    }

    /// Returns how many `i64` its parameters are passed to a hook as.
    #[must_use]
    pub fn flattened_params(&self) -> usize {
        hooks::flattened(self.params())
    }

    /// Returns how many `i64` its results are passed to a hook as.
    #[must_use]
    pub fn flattened_results(&self) -> usize {
        hooks::flattened(self.results())
    }
}

/// A function type of a module.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The index of the type.
    pub type_index: u32,
    /// The parameters' types.
    pub params: Box<[ValType]>,
    /// The results' types.
    pub results: Box<[ValType]>,
    /// Whether a function imported at this type can have no other: the type is final
    /// and has no supertype.
    pub(crate) closed: bool,
    /// Whether the type is shared between threads.
    pub(crate) shared: bool,
}

impl Signature {
    /// Makes the signature of type `type_index`, or `None` when that is not a
    /// function's type.
    pub(crate) fn new(type_index: u32, ty: &SubType) -> Option<Self> {
        let CompositeInnerType::Func(func) = &ty.composite_type.inner else {
            return None;
        };
        Some(Self {
            type_index,
            params: func.params().into(),
            results: func.results().into(),
            closed: ty.is_final && ty.supertype_idx.is_none(),
            shared: ty.composite_type.shared,
        })
    }
}
