//! Where each byte of the original code went, and where it came from.
//!
//! ```text
//!    original   |--- body a ------|--- body b ---|
//!               | 1 |    2    | 3 |       4      |     segments: copied bytes
//!    rewritten  | 1 |++|  2   |+| 3 |++|    4    |++|  ++: inserted, from nowhere
//! ```
//!
//! Functions keep their order, so one list of segments answers both ways.

use std::ops::Range;

use wasmscope_address::{FuncIndex, WasmOffset};

use crate::Module;

/// A run of bytes that was copied. Offsets are from the start of the code section's
/// contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    pub(crate) original: u32,
    pub(crate) rewritten: u32,
    pub(crate) len: u32,
}

/// Segments in the order of both files, joined where they touch in both.
#[derive(Clone, Default, Debug)]
pub(crate) struct Segments(Vec<Segment>);

impl Segments {
    /// Adds a segment behind the last.
    pub(crate) fn push(&mut self, segment: Segment) {
        if segment.len == 0 {
            return;
        }
        if let Some(last) = self.0.last_mut()
            && last.original + last.len == segment.original
            && last.rewritten + last.len == segment.rewritten
        {
            last.len += segment.len;
        } else {
            self.0.push(segment);
        }
    }

    /// Adds segments whose rewritten offsets count from `base`.
    pub(crate) fn append(&mut self, segments: &Self, base: u32) {
        for segment in &segments.0 {
            self.push(Segment {
                rewritten: segment.rewritten + base,
                ..*segment
            });
        }
    }

    /// Moves all rewritten offsets up.
    fn shift(&mut self, by: u32) {
        for segment in &mut self.0 {
            segment.rewritten += by;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns where a byte of the original is.
    pub(crate) fn rewritten(&self, original: u32) -> Option<u32> {
        let at = self
            .0
            .partition_point(|segment| segment.original <= original);
        let segment = self.0.get(at.checked_sub(1)?)?;
        let into = original - segment.original;
        (into < segment.len).then_some(segment.rewritten + into)
    }

    /// Returns where a byte came from.
    pub(crate) fn original(&self, rewritten: u32) -> Option<u32> {
        let at = self
            .0
            .partition_point(|segment| segment.rewritten <= rewritten);
        let segment = self.0.get(at.checked_sub(1)?)?;
        let into = rewritten - segment.rewritten;
        (into < segment.len).then_some(segment.original + into)
    }
}

/// Where each function and each byte of code of the original is in the rewritten module,
/// and the other way round.
///
/// Offsets are from the start of the file unless a name says otherwise. Only code has an
/// answer: what lies outside the code section, and what was inserted, has none.
#[derive(Clone, Default, Debug)]
pub struct Map {
    /// Where the code section's contents start, in the original and rewritten.
    pub(crate) code: (u32, u32),
    pub(crate) segments: Segments,
    /// The bodies of the defined functions, from the start of the code section's contents.
    pub(crate) bodies: Vec<(Range<u32>, Range<u32>)>,
    pub(crate) imported_functions: u32,
    pub(crate) hooks: u32,
    /// The imported functions that have a shim, in the shims' order.
    pub(crate) shims: Vec<FuncIndex>,
}

impl Map {
    /// Makes the map of a module that is copied.
    pub(crate) fn of_copy(module: &Module<'_>) -> Self {
        let start = module.code_start().unwrap_or_default();
        let mut map = Self {
            code: (start as u32, start as u32),
            imported_functions: module.counts.imported_functions,
            ..Self::default()
        };
        for function in module.defined() {
            let Some(body) = &function.body else {
                continue;
            };
            let body = (body.start - start) as u32..(body.end - start) as u32;
            map.segments.push(Segment {
                original: body.start,
                rewritten: body.start,
                len: body.end - body.start,
            });
            map.bodies.push((body.clone(), body));
        }
        map
    }

    /// Says where the files start in others that they are part of, from whose starts
    /// offsets count from now on.
    pub(crate) fn within(&mut self, original: u32, rewritten: u32) {
        self.code.0 += original;
        self.code.1 += rewritten;
    }

    /// Says where the rewritten code section's contents start, and how far into them the
    /// first function does, which all rewritten offsets counted from so far.
    pub(crate) fn place(&mut self, start: u32, first: u32) {
        self.code.1 = start;
        self.segments.shift(first);
        for (_, body) in &mut self.bodies {
            *body = body.start + first..body.end + first;
        }
    }

    /// Returns where the byte at `original` is in the rewritten file.
    ///
    /// An operator that was replaced is where its replacement starts; a byte within its
    /// immediates may have no place.
    #[must_use]
    pub fn rewritten(&self, original: WasmOffset) -> Option<WasmOffset> {
        let offset = original.0.checked_sub(self.code.0)?;
        let offset = self.segments.rewritten(offset)?;
        Some(WasmOffset(offset + self.code.1))
    }

    /// Returns where the byte at `rewritten` was in the original file, or `None` when it
    /// was inserted.
    #[must_use]
    pub fn original(&self, rewritten: WasmOffset) -> Option<WasmOffset> {
        let offset = rewritten.0.checked_sub(self.code.1)?;
        let offset = self.segments.original(offset)?;
        Some(WasmOffset(offset + self.code.0))
    }

    /// Returns where the code section's contents start, in the original and in the
    /// rewritten file. What DWARF calls an address counts from there. Both are 0 when the
    /// original has no code.
    #[must_use]
    pub fn code_start(&self) -> (WasmOffset, WasmOffset) {
        (WasmOffset(self.code.0), WasmOffset(self.code.1))
    }

    /// Returns the bodies of the functions that the original defines, in their order: in
    /// the original and rewritten. A body goes from its locals' declarations to past its
    /// last operator.
    pub fn bodies(
        &self,
    ) -> impl ExactSizeIterator<Item = (Range<WasmOffset>, Range<WasmOffset>)> + '_ {
        let (original, rewritten) = self.code;
        self.bodies.iter().map(move |(from, to)| {
            (
                WasmOffset(from.start + original)..WasmOffset(from.end + original),
                WasmOffset(to.start + rewritten)..WasmOffset(to.end + rewritten),
            )
        })
    }

    /// Returns the index that a function of the original has in the rewritten module, or
    /// `None` when there is no such function.
    #[must_use]
    pub fn rewritten_function(&self, original: FuncIndex) -> Option<FuncIndex> {
        if original.0 < self.imported_functions {
            return Some(original);
        }
        let defined = (original.0 - self.imported_functions) as usize;
        (defined < self.bodies.len()).then_some(FuncIndex(original.0 + self.hooks))
    }

    /// Returns which function of the original a function of the rewritten module is, or
    /// `None` for a hook. A shim is the import that it stands for.
    #[must_use]
    pub fn original_function(&self, rewritten: FuncIndex) -> Option<FuncIndex> {
        if rewritten.0 < self.imported_functions {
            return Some(rewritten);
        }
        let original = rewritten.0.checked_sub(self.hooks)?;
        let defined = original.checked_sub(self.imported_functions)? as usize;
        match defined.checked_sub(self.bodies.len()) {
            None => Some(FuncIndex(original)),
            Some(shim) => self.shims.get(shim).copied(),
        }
    }
}
