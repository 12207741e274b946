//! Why debug information was left out of a rewritten module.

use std::fmt;

/// Why a module's debug information could not follow its code. The module itself is
/// rewritten all the same, without it: false lines are worse than none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The module is an object file: its linker fills in the addresses.
    #[error("the module is relocatable: it has a section `{section}`")]
    Relocatable {
        /// The section that says so.
        section: String,
    },
    /// The rest of the debug information is in another file, with addresses of its own.
    #[error("the debug information is split: `{section}` at {offset:#x} refers to another file")]
    Split {
        /// The section that says so.
        section: String,
        /// Where, in bytes from the section's start.
        offset: u64,
    },
    /// The bytes are not DWARF.
    #[error("damaged `{section}` at {offset:#x}: {problem}")]
    Damaged {
        /// The section.
        section: String,
        /// Where, in bytes from the section's start: of the entry, or of what holds it.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// DWARF that no producer is known to write for WebAssembly.
    #[error("unsupported in `{section}` at {offset:#x}: {what}")]
    Unsupported {
        /// The section.
        section: String,
        /// Where, in bytes from the section's start.
        offset: u64,
        /// What it is.
        what: &'static str,
    },
}

impl Reason {
    pub(super) fn damaged(section: &str, offset: u64, problem: impl fmt::Display) -> Self {
        Self::Damaged {
            section: section.to_owned(),
            offset,
            problem: problem.to_string(),
        }
    }

    pub(super) fn unsupported(section: &str, offset: u64, what: &'static str) -> Self {
        Self::Unsupported {
            section: section.to_owned(),
            offset,
            what,
        }
    }
}
