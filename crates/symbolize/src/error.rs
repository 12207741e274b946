//! What can be wrong with the bytes that names and lines are read from.
//!
//! No question fails: it answers what is still known. What was broken is kept as
//! one of these, for [`Symbols::problem`](crate::Symbols::problem).

/// Something broken in a Wasm file or its debug information.
///
/// Each message completes "failed to ...". Offsets are from the start of the
/// file unless the message names a section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are neither a core module nor a component.
    #[error("recognise WebAssembly: the bytes do not start with a module's or component's header")]
    NotWasm,

    /// A section claims more bytes than there are.
    #[error(
        "read the section at offset {offset:#x} to its end: it claims {claimed} bytes, \
         {available} are left"
    )]
    Truncated {
        /// Where the section's contents start.
        offset: usize,
        /// How many bytes its header claims.
        claimed: usize,
        /// How many there are.
        available: usize,
    },

    /// A part of the Wasm binary cannot be decoded.
    #[error("decode the {what} at offset {offset:#x}: {reason}")]
    Malformed {
        /// The part.
        what: &'static str,
        /// Where decoding stopped.
        offset: usize,
        /// Why, in words.
        reason: String,
    },

    /// A part of the debug information cannot be decoded.
    #[error("decode {section} at offset {offset:#x} of it: {reason}")]
    Dwarf {
        /// The section's name, such as `.debug_info`.
        section: &'static str,
        /// Where in that section the unit, table or entry starts.
        offset: usize,
        /// Why, in words.
        reason: String,
    },

    /// The debug information asks for more work or memory than its size
    /// explains, as only broken or hostile files do.
    #[error(
        "finish reading the debug information: it asks for far more work than its size explains"
    )]
    TooMuchWork,

    /// There are more core modules in the component than any engine accepts.
    #[error("list the component's modules: there are more than {limit}")]
    TooManyModules {
        /// How many were listed.
        limit: usize,
    },

    /// The external debug information that the module names was not found.
    #[error("find the external debug information {url:?}")]
    DebugFileMissing {
        /// What the module's `external_debug_info` section says.
        url: String,
    },

    /// The external debug information was made for another module.
    #[error("use the external debug information: its build id is not the module's")]
    DebugFileMismatch,
}

impl Error {
    /// Makes a [`Malformed`](Error::Malformed) from what the decoder says.
    pub(crate) fn malformed(what: &'static str, error: &wasmparser::BinaryReaderError) -> Self {
        Self::Malformed {
            what,
            offset: error.offset(),
            reason: error.message().to_owned(),
        }
    }
}
