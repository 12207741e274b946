//! The bytes of a file, shared and never copied.
//!
//! Whoever owns them (a vector, a memory map, a static) is kept alive; this
//! crate stores ranges and asks for the slice anew, so no reference is kept.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A shared owner of a file's bytes.
#[derive(Clone)]
pub(crate) struct Bytes(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl Bytes {
    /// Takes the owner.
    pub(crate) fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self(Arc::new(owner))
    }

    /// Returns all bytes.
    pub(crate) fn all(&self) -> &[u8] {
        (*self.0).as_ref()
    }

    /// Returns the bytes of a range; none when the owner has fewer by now.
    pub(crate) fn range(&self, range: &Range<usize>) -> &[u8] {
        self.all().get(range.clone()).unwrap_or_default()
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.all().len())
    }
}
