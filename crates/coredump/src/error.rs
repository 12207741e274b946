//! What can be wrong with a file that is read as a core dump.

/// Something broken in a core dump. Each message completes "failed to ..."; offsets count
/// from the start of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not begin as a core module does.
    #[error("read a core dump: the bytes do not start with a core module's header")]
    NotWasm,

    /// It is a module, but no dump.
    #[error(
        "read a core dump: the module has neither a `core` nor a `corestack` section, as dumps have"
    )]
    NotADump,

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

    /// A part of the file cannot be decoded, or means nothing.
    #[error("read the {what} at offset {offset:#x}: {reason}")]
    Malformed {
        /// The part.
        what: &'static str,
        /// Where reading stopped.
        offset: usize,
        /// Why, in words.
        reason: String,
    },

    /// A section that there may be once is there again.
    #[error("read the {what} at offset {offset:#x}: there is one already")]
    Repeated {
        /// The section.
        what: &'static str,
        /// Where its contents start.
        offset: usize,
    },

    /// Something refers to what the file does not have.
    #[error("find the {what} {index} that is named at offset {offset:#x}: the dump has {len}")]
    Dangling {
        /// What is referred to.
        what: &'static str,
        /// Its index.
        index: u32,
        /// How many the dump has.
        len: usize,
        /// Where the reference is.
        offset: usize,
    },
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
