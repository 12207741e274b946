//! How much of a value is lifted.

/// Bounds the work and the room that lifting takes.
///
/// A string or list that is too long is cut, and says so. When a total is used up, the
/// lists that are being lifted end there; a value that cannot be cut is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many values are lifted in all, those within others included.
    pub values: usize,
    /// How many bytes are read in all.
    pub bytes: usize,
    /// How many elements of one list are lifted; those of a `list<u8>` count as
    /// [`text`](Self::text).
    pub elements: usize,
    /// How many bytes of one string, or of one `list<u8>`, are lifted.
    pub text: usize,
}

impl Limits {
    /// Lifts what fits in a line of a log: 64 bytes of text, 16 elements of a list, 256
    /// values in all.
    pub const SHORT: Self = Self {
        values: 256,
        bytes: 1 << 16,
        elements: 16,
        text: 64,
    };
}

/// Lifts up to a million values and 64 MiB, each string and list as long as these allow.
impl Default for Limits {
    fn default() -> Self {
        Self {
            values: 1_000_000,
            bytes: 64 << 20,
            elements: usize::MAX,
            text: usize::MAX,
        }
    }
}
