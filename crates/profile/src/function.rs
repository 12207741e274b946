//! Functions: a name, where it is defined, and whose code it is.

use crate::category::Category;
use crate::handle::handle;
use crate::mapping::MappingHandle;

handle! {
    /// A [`Function`] of a profile.
    pub FunctionHandle
}

/// A function. Two with the same fields are one entry.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Function {
    /// The name to show, demangled.
    pub name: String,
    /// The name as the compiler wrote it, when it differs.
    pub system_name: Option<String>,
    /// The source file that defines it.
    pub file: Option<String>,
    /// The line of its definition, counted from one.
    pub start_line: Option<u32>,
    /// Whose code it is.
    pub category: Category,
    /// The binary that it is in.
    pub mapping: Option<MappingHandle>,
}
