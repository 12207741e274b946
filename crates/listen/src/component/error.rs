//! Why a value could not be lifted, and which part of it.

use std::fmt;

/// Says which part of a component function's values is damaged, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to lift {}: {kind}", Place(path))]
pub struct LiftError {
    path: String,
    kind: LiftErrorKind,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LiftErrorKind {
    /// Bytes are not in the memory, or an address is beyond any.
    OutOfBounds {
        /// The first byte's address.
        address: u64,
        /// How many bytes there should be; saturated.
        len: u64,
    },
    /// A pointer is not aligned.
    Misaligned {
        /// The pointer.
        address: u64,
        /// What it should be a multiple of.
        align: u32,
    },
    /// A string is not in the encoding that it should have.
    Encoding {
        /// The string's address.
        address: u64,
    },
    /// A number is no Unicode scalar value.
    Char(u32),
    /// A number stands for no case of its type.
    Case {
        /// The number.
        case: u32,
        /// How many cases there are.
        of: u32,
    },
    /// The call has fewer words than its type asks for.
    MissingWords,
    /// The value needs more than the limits allow.
    TooLarge,
    /// The type is nested too deep.
    TooDeep,
}

impl LiftError {
    pub(super) fn new(kind: LiftErrorKind) -> Self {
        Self {
            path: String::new(),
            kind,
        }
    }

    /// Puts the name of what the damaged part is within before its path.
    pub(super) fn within(mut self, part: impl fmt::Display) -> Self {
        let dot = match self.path.chars().next() {
            None | Some('[') => "",
            Some(_) => ".",
        };
        self.path = format!("{part}{dot}{}", self.path);
        self
    }

    /// Returns the way to the damaged part: `headers[3].name`. It starts with the
    /// parameter's name or `result`, and is empty for all parameters at once.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns what is wrong.
    #[must_use]
    pub fn kind(&self) -> LiftErrorKind {
        self.kind
    }
}

/// Writes a path, or what an empty one stands for.
struct Place<'a>(&'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str("the parameters"),
            path => write!(f, "`{path}`"),
        }
    }
}

impl fmt::Display for LiftErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfBounds { address, len } => {
                write!(f, "{len} bytes at {address:#x} are out of bounds")
            }
            Self::Misaligned { address, align } => {
                write!(f, "pointer {address:#x} is not aligned to {align}")
            }
            Self::Encoding { address } => {
                write!(f, "string at {address:#x} is not in its encoding")
            }
            Self::Char(number) => write!(f, "{number:#x} is no character"),
            Self::Case { case, of } => write!(f, "case {case} of {of}"),
            Self::MissingWords => f.write_str("the call has too few values"),
            Self::TooLarge => f.write_str("too large"),
            Self::TooDeep => f.write_str("nested too deep"),
        }
    }
}
