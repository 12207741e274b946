//! What the walk must know of a guest's code besides where it is.

use crate::CodeMap;
use std::ops::Range;
use std::sync::Arc;
use wasmscope_address::HostPc;
use wasmscope_walk::{Native, Text, Texts, Window, Windows};

/// The windows of one compiled text.
pub type GuestWindows = Arc<[Window<Native>]>;

/// Finds the windows of a compiled text, whose functions lie at `functions`.
#[must_use]
pub fn find_windows(text: &[u8], functions: impl IntoIterator<Item = Range<u32>>) -> GuestWindows {
    Windows::<Native>::classify(text, functions)
        .into_vec()
        .into()
}

impl Texts<Native> for CodeMap {
    #[inline]
    fn find(&self, pc: HostPc) -> Option<Text<'_, Native>> {
        self.text_at(pc)
            .map(|(range, windows)| Text { range, windows })
    }
}
