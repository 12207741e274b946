//! Why a trace could not be written.

use std::io;

/// Completes "failed to ...".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The output took no more bytes.
    #[error("write the trace: {source}; it ends after about {events} events")]
    Write {
        /// What the output said.
        source: io::Error,
        /// How many events it has whole; it may have a few more of those that it was
        /// given last.
        events: u64,
    },
}
