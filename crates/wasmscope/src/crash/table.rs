//! The names of one guest's functions, as a signal handler can read them.

use crate::code::Code;
use wasmscope_address::{FuncIndex, TextOffset, WasmOffset};

/// What is known of one guest. Nothing of it changes, and reading it allocates nothing.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) guest: String,
    functions: Vec<Function>,
    /// From where in the text on which offset holds; [`NOWHERE`] for none.
    offsets: Vec<(u32, u32)>,
    /// All names, one after another.
    names: String,
}

#[derive(Debug)]
struct Function {
    start: u32,
    len: u32,
    index: FuncIndex,
    name: std::ops::Range<usize>,
}

const NOWHERE: u32 = u32::MAX;

/// A place in a guest, with its names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) index: FuncIndex,
    pub(super) name: &'a str,
    pub(super) offset: Option<WasmOffset>,
}

impl Table {
    pub(super) fn of(code: &Code) -> Self {
        let mut table = Self {
            guest: code.name(),
            functions: Vec::new(),
            offsets: Vec::new(),
            names: String::new(),
        };
        if code.hidden {
            return table;
        }
        code.for_each_function(|range, index, name| {
            let start = table.names.len();
            table.names.push_str(name);
            table.functions.push(Function {
                start: range.start,
                len: range.end.saturating_sub(range.start),
                index,
                name: start..table.names.len(),
            });
        });
        code.for_each_offset(|text, wasm| {
            table
                .offsets
                .push((text, wasm.map_or(NOWHERE, |wasm| wasm.0)));
        });
        table
    }

    /// Returns what is at an offset of the text; `None` for what is none of the guest's
    /// functions.
    ///
    /// # Signal safety
    ///
    /// Two binary searches in memory that is there.
    pub(super) fn at(&self, place: TextOffset) -> Option<Found<'_>> {
        let after = self
            .functions
            .partition_point(|function| function.start <= place.0);
        let function = self.functions.get(after.checked_sub(1)?)?;
        if place.0.wrapping_sub(function.start) >= function.len {
            return None;
        }
        let after = self.offsets.partition_point(|(text, _)| *text <= place.0);
        let offset = after.checked_sub(1).and_then(|at| self.offsets.get(at));
        Some(Found {
            index: function.index,
            name: self.names.get(function.name.clone()).unwrap_or_default(),
            offset: offset
                .filter(|(text, wasm)| *text >= function.start && *wasm != NOWHERE)
                .map(|(_, wasm)| WasmOffset(*wasm)),
        })
    }
}
