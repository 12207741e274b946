//! The binaries that code came from.

use crate::category::Category;
use crate::handle::handle;

handle! {
    /// A [`Mapping`] of a profile.
    pub MappingHandle
}

/// What kind of binary a [`Mapping`] is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MappingKind {
    /// A WebAssembly module or component; addresses are byte offsets into it.
    Guest,
    /// A native binary of the host; addresses are relative to its start.
    Host,
}

impl MappingKind {
    /// Returns the category that functions of such a binary have unless they are
    /// known to be something else.
    #[must_use]
    pub const fn category(self) -> Category {
        match self {
            Self::Guest => Category::Guest,
            Self::Host => Category::Host,
        }
    }
}

/// A binary that code came from.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Mapping {
    /// The name to show, for example a module's name.
    pub name: String,
    /// The file, where there is one.
    pub file: Option<String>,
    /// A hash that names these very bytes.
    pub build_id: Option<Vec<u8>>,
    /// The size in bytes; zero when unknown.
    pub size: u64,
    /// Guest or host.
    pub kind: MappingKind,
}
