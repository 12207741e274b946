//! The one error type of this crate.
//!
//! Every message completes the sentence "failed to ..." and says where: the file
//! for anything that touched one, the byte offset or the line for damaged input.

use std::io;
use std::path::PathBuf;

/// What can go wrong when a profile is written, read or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file's ending names none of the known formats.
    #[error(
        "choose a format for {path:?}: its ending is none of {endings}",
        endings = crate::Format::ENDINGS
    )]
    UnknownEnding {
        /// The path as it was given.
        path: PathBuf,
    },
    /// A name given for a format is none of the known ones.
    #[error("find the format {name:?}: the formats are {names}", names = crate::Format::NAMES)]
    UnknownFormat {
        /// The name as it was given.
        name: String,
    },
    /// Writing an encoded profile to a stream did not work.
    #[error("write the profile as {format}: {source}")]
    Write {
        /// The format's name.
        format: &'static str,
        /// What the stream said.
        source: io::Error,
    },
    /// A file could not be created, written, synced or renamed.
    #[error("{action} {path:?}: {source}")]
    File {
        /// What was tried, as a verb: `create`, `write`, `rename to` ...
        action: &'static str,
        /// The file that it was tried on.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The bytes are not a profile, or a damaged one.
    #[error("read the profile as {format}: {reason}, at byte {offset}")]
    Damaged {
        /// The format's name.
        format: &'static str,
        /// What is wrong.
        reason: String,
        /// Where it is wrong: an offset into the bytes given, or into the
        /// decompressed bytes when the input was compressed.
        offset: u64,
    },
    /// The bytes are a profile that refers to an entry that it does not have.
    #[error("read the profile as {format}: {reason}")]
    Inconsistent {
        /// The format's name.
        format: &'static str,
        /// What refers to what.
        reason: String,
    },
    /// Decompressed, the profile would be larger than the reader's limit.
    #[error("read the profile as {format}: it is longer than {limit} bytes when decompressed")]
    TooLarge {
        /// The format's name.
        format: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
