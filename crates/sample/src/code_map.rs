//! The guest code that is known to a walk.
//!
//! An immutable sorted list, replaced as a whole when code is added or removed, so
//! that signal handlers may read the old one meanwhile.

use crate::GuestWindows;
use wasmscope_address::{HostPc, TextRange};

/// One compiled text: where it is, and its windows.
#[derive(Clone, Debug)]
struct Code {
    range: TextRange,
    windows: GuestWindows,
}

/// Guest code, sorted by address, without overlaps.
#[derive(Clone, Debug, Default)]
pub struct CodeMap {
    texts: Vec<Code>,
}

impl CodeMap {
    /// Returns this map with the text at `range` added, or `None` when it overlaps
    /// one that is already there. `windows` are those of that text.
    #[must_use]
    pub fn with(&self, range: TextRange, windows: GuestWindows) -> Option<Self> {
        let code = Code { range, windows };
        let at = self
            .texts
            .partition_point(|known| known.range.start() < code.range.start());
        let overlaps_before = at
            .checked_sub(1)
            .and_then(|before| self.texts.get(before))
            .is_some_and(|before| before.range.end() > code.range.start());
        let overlaps_after = self
            .texts
            .get(at)
            .is_some_and(|after| after.range.start() < code.range.end());
        if overlaps_before || overlaps_after {
            return None;
        }
        let mut texts = self.texts.clone();
        texts.insert(at, code);
        Some(Self { texts })
    }

    /// Returns this map without the text at `range`.
    #[must_use]
    pub fn without(&self, range: TextRange) -> Self {
        let mut texts = self.texts.clone();
        texts.retain(|code| code.range != range);
        Self { texts }
    }

    /// Returns the text that holds `pc`, and its windows.
    ///
    /// # Signal safety
    ///
    /// Safe in a signal handler: a binary search in memory that is there.
    #[inline]
    #[must_use]
    pub fn text_at(&self, pc: HostPc) -> Option<(TextRange, &GuestWindows)> {
        let after = self.texts.partition_point(|code| code.range.start() <= pc);
        let code = self.texts.get(after.checked_sub(1)?)?;
        code.range
            .contains(pc)
            .then_some((code.range, &code.windows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(map: &CodeMap, start: u64, len: u32) -> Option<CodeMap> {
        map.with(range(start, len), crate::find_windows(&[], []))
    }

    fn range(start: u64, len: u32) -> TextRange {
        TextRange::new(HostPc(start), len).expect("does not wrap")
    }

    #[test]
    fn finds_the_text_that_holds_an_address() {
        let map = add(&CodeMap::default(), 0x3000, 0x1000)
            .and_then(|map| add(&map, 0x1000, 0x1000))
            .expect("no overlap");
        let start_of = |pc| map.text_at(HostPc(pc)).map(|(range, _)| range.start().0);
        assert_eq!(start_of(0xfff), None);
        assert_eq!(start_of(0x1000), Some(0x1000));
        assert_eq!(start_of(0x1fff), Some(0x1000));
        assert_eq!(start_of(0x2000), None);
        assert_eq!(start_of(0x3fff), Some(0x3000));
        let fewer = map.without(range(0x1000, 0x1000));
        assert!(fewer.text_at(HostPc(0x1000)).is_none());
        assert!(fewer.text_at(HostPc(0x3000)).is_some());
    }

    #[test]
    fn overlapping_code_is_refused() {
        let map = add(&CodeMap::default(), 0x1000, 0x1000).expect("empty");
        for (start, len) in [(0x1000, 1), (0xfff, 2), (0x1fff, 1), (0x800, 0x2000)] {
            assert!(add(&map, start, len).is_none(), "{start:#x} {len:#x}");
        }
        assert!(add(&map, 0x800, 0x800).is_some());
        assert!(add(&map, 0x2000, 1).is_some());
    }
}
