//! What can be wrong with a module that is to be rewritten.

/// Why a module cannot be read or rewritten.
///
/// Each message completes "failed to ...". Offsets are from the start of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The module is not valid WebAssembly.
    #[error("validate the module at offset {offset:#x}: {reason}")]
    Invalid {
        /// Where it is not.
        offset: usize,
        /// Why, in words.
        reason: String,
    },

    /// The bytes are a component, not a core module.
    #[error("rewrite the module: it is a component")]
    Component,

    /// The bytes are a core module, not a component.
    #[error("rewrite the component: it is a core module")]
    NotComponent,

    /// A component asks for what is not supported yet.
    #[error("rewrite the component: {what} is not supported yet")]
    NotYet {
        /// What is not.
        what: String,
    },

    /// The module uses a name that is kept for hooks: it was rewritten already, or
    /// wants to look as if it were.
    #[error("rewrite the module: its {what} {name:?} at offset {offset:#x} is reserved")]
    Reserved {
        /// What has that name: an import's module, or an export.
        what: &'static str,
        /// The name.
        name: String,
        /// Where the import or export is.
        offset: usize,
    },

    /// The module is an object file, to be linked before it is rewritten.
    #[error(
        "rewrite the module: its section {section:?} at offset {offset:#x} says that it is \
         an object file that is yet to be linked"
    )]
    Relocatable {
        /// The section's name.
        section: String,
        /// Where it starts.
        offset: usize,
    },

    /// The rewritten module would exceed a limit of the engines.
    #[error("rewrite the module: it would have {count} {what}, and engines accept {limit}")]
    TooMany {
        /// What there would be too many of.
        what: &'static str,
        /// How many there would be.
        count: usize,
        /// How many engines accept.
        limit: usize,
    },
}

impl From<wasmparser::BinaryReaderError> for Error {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Invalid {
            offset: error.offset(),
            reason: error.message().to_owned(),
        }
    }
}

impl Error {
    /// Returns the error with its offset counted from the start of what the module is part
    /// of, in which it starts at `start`.
    pub(crate) fn within(mut self, start: usize) -> Self {
        match &mut self {
            Self::Invalid { offset, .. }
            | Self::Reserved { offset, .. }
            | Self::Relocatable { offset, .. } => *offset += start,
            Self::Component | Self::NotComponent | Self::NotYet { .. } | Self::TooMany { .. } => {}
        }
        self
    }
}
