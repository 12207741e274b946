//! A binary that was rewritten and compiled: a module, or a component with its modules.

use super::outer;
use crate::Error;
use crate::guest::{Bytes, Compiled, CompiledFunction, SharedBytes};
use std::sync::{Arc, OnceLock};
use wasmscope_address::{HostPc, TextOffset, TextRange, WasmOffset};
use wasmscope_symbolize::Symbols;

/// What the modules of one binary share: their text, and the original's bytes.
pub(super) struct Binary {
    compiled: Compiled,
    name: String,
    pub(super) text: TextRange,
    /// Runs of code that come from the original, sorted; of a component only.
    originals: Option<Vec<TextRange>>,
    bytes: Arc<Bytes>,
    addresses: OnceLock<Vec<(TextOffset, Option<WasmOffset>)>>,
    symbols: OnceLock<Symbols>,
}

impl Binary {
    pub(super) fn new(
        compiled: Compiled,
        name: Option<&str>,
        bytes: Arc<Bytes>,
    ) -> Result<Self, Error> {
        let name = name.unwrap_or_default().to_owned();
        let text = {
            let text = compiled.text();
            let len = u32::try_from(text.len()).ok();
            len.and_then(|len| TextRange::new(HostPc(text.as_ptr() as u64), len))
        };
        let Some(text) = text else {
            return Err(Error::Text { guest: name });
        };
        Ok(Self {
            compiled,
            name,
            text,
            originals: None,
            bytes,
            addresses: OnceLock::new(),
            symbols: OnceLock::new(),
        })
    }

    /// Sets which of the functions, sorted by their place, come from the original.
    pub(super) fn with_originals(
        mut self,
        functions: &[CompiledFunction],
        is_original: impl Fn(&CompiledFunction) -> bool,
    ) -> Self {
        let runs = functions.chunk_by(|a, b| is_original(a) == is_original(b));
        let runs = runs.filter_map(|run| {
            let (first, last) = (run.first()?, run.last()?);
            let len = (last.start - first.start) + last.len;
            let start = self.text.pc_of(TextOffset(first.start));
            is_original(first).then(|| TextRange::new(start, len))?
        });
        self.originals = Some(runs.collect());
        self
    }

    /// Says that the code is not what the binary promised.
    pub(super) fn unusable(&self) -> Error {
        Error::Text {
            guest: self.name.clone(),
        }
    }

    /// Returns all compiled functions, sorted by their place.
    pub(super) fn functions(&self) -> Vec<CompiledFunction> {
        self.compiled.functions()
    }

    /// Returns where a function's code is.
    pub(super) fn code_of(&self, function: &CompiledFunction) -> Option<TextRange> {
        TextRange::new(self.text.pc_of(TextOffset(function.start)), function.len)
    }

    /// Tells whether an address of its text is in code that the original has; of a module,
    /// always.
    pub(super) fn is_original(&self, pc: HostPc) -> bool {
        let Some(originals) = &self.originals else {
            return true;
        };
        let after = originals.partition_point(|code| code.start() <= pc);
        let code = after.checked_sub(1).and_then(|at| originals.get(at));
        code.is_some_and(|code| code.contains(pc))
    }

    /// Returns where in the rewritten binary the code before an address comes from.
    pub(super) fn rewritten_offset(&self, pc: HostPc) -> Option<WasmOffset> {
        let addresses = self.addresses.get_or_init(|| {
            let mut addresses = Vec::new();
            self.compiled.for_each_address(|text, wasm| {
                addresses.push((TextOffset(text), wasm.map(WasmOffset)));
            });
            addresses
        });
        // Each frame is at a call, which is before the address that it returns to.
        let offset = TextOffset(self.text.offset_of(pc)?.0.checked_sub(1)?);
        let after = addresses.partition_point(|(text, _)| *text <= offset);
        addresses.get(after.checked_sub(1)?)?.1
    }

    /// Returns the original's bytes.
    pub(super) fn bytes(&self) -> Arc<Bytes> {
        Arc::clone(&self.bytes)
    }

    /// Returns the names and lines of the original.
    pub(super) fn symbols(&self) -> &Symbols {
        self.symbols
            .get_or_init(|| Symbols::new(SharedBytes(Arc::clone(&self.bytes))))
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        outer::unregister(self.text);
    }
}
