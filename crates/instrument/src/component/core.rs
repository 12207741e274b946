//! Where the core items of a component come from.

use wasmparser::ExternalKind;

use super::names::ByName;

/// The core functions, tables and instances of one component, by index.
#[derive(Debug, Default)]
pub(super) struct Core<'a> {
    pub(super) functions: Vec<CoreFunction<'a>>,
    /// Each is exported by an instance, under a name.
    pub(super) tables: Vec<(u32, &'a str)>,
    pub(super) instances: Vec<CoreInstance<'a>>,
}

/// Where a core function comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum CoreFunction<'a> {
    /// Lowered: which of the functions that are lifted or lowered.
    Lowered(usize),
    /// Exported by a core instance.
    Of(u32, &'a str),
    /// Built in.
    BuiltIn,
}

/// Where a core instance comes from.
#[derive(Clone, Debug)]
pub(super) enum CoreInstance<'a> {
    /// Of one of the modules, unless it is of one that comes from outside; with the instances
    /// that it was given, by the names that it imports from.
    Instantiated(Option<usize>, ByName<'a, u32>),
    /// Made of items, by their names.
    Made(ByName<'a, (ExternalKind, u32)>),
}

impl<'a> CoreInstance<'a> {
    pub(super) fn new(
        instance: &wasmparser::Instance<'a>,
        module: impl FnOnce(u32) -> Option<usize>,
    ) -> Self {
        match instance {
            wasmparser::Instance::Instantiate { module_index, args } => {
                let args = args.iter().map(|arg| (arg.name, arg.index));
                Self::Instantiated(module(*module_index), args.collect())
            }
            wasmparser::Instance::FromExports(exports) => {
                let exports = exports.iter();
                let items = exports.map(|export| (export.name, (export.kind, export.index)));
                Self::Made(items.collect())
            }
        }
    }
}
