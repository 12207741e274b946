//! A module that was rewritten and compiled: from an address of its code to the function,
//! the place and the line in the original.

use super::outer;
use super::probe::Probe;
use crate::Error;
use crate::guest::{Bytes, Compiled, SharedBytes};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use wasmscope_address::{FuncIndex, HostPc, ModuleIndex, TextOffset, TextRange, WasmOffset};
use wasmscope_instrument::{Map, hooks};
use wasmscope_listen::{Definition, Factory, Line, SourceOffset};
use wasmscope_symbolize::Symbols;
use wasmtime::Module;

/// What listening needs to know of one rewritten module.
pub(super) struct ListenedModule {
    pub(super) compiled: Module,
    /// The module's own name.
    pub(super) name: Option<String>,
    /// The process's nonce, which ends each reserved name.
    suffix: Arc<str>,
    /// How many memories and globals it has, imported ones included.
    pub(super) memories: u32,
    pub(super) globals: u32,
    /// All functions of the original's index space.
    pub(super) definitions: Vec<Arc<Definition>>,
    /// The original function of each probe.
    pub(super) probed: Vec<FuncIndex>,
    /// The compiled code of each probe.
    codes: Vec<TextRange>,
    map: Map,
    bytes: Arc<Bytes>,
    pub(super) text: TextRange,
    /// Compiled functions by their place.
    functions: Vec<CompiledFunction>,
    /// Which probes are wanted, 32 each.
    wanted: Box<[AtomicU32]>,
    addresses: OnceLock<Vec<(TextOffset, Option<WasmOffset>)>>,
    symbols: OnceLock<Symbols>,
    /// The probes as the factory of [`super::Listening`] chose them.
    usual: Mutex<Option<Arc<[Probe]>>>,
}

/// A function in the compiled text.
struct CompiledFunction {
    code: TextRange,
    /// Its index in the original; an import's, for what stands in front of it.
    original: FuncIndex,
}

/// What rewriting a module gave, with the module compiled from it.
pub(super) struct Parts {
    pub(super) compiled: Module,
    pub(super) name: Option<String>,
    pub(super) suffix: Arc<str>,
    pub(super) memories: u32,
    pub(super) globals: u32,
    pub(super) definitions: Vec<Arc<Definition>>,
    pub(super) probed: Vec<FuncIndex>,
    pub(super) map: Map,
    pub(super) bytes: Arc<Bytes>,
}

impl ListenedModule {
    pub(super) fn new(parts: Parts) -> Result<Arc<Self>, Error> {
        let compiled = Compiled::Module(parts.compiled.clone());
        let text = compiled.text();
        let guest = parts.name.clone().unwrap_or_default();
        let unusable = || Error::Text {
            guest: guest.clone(),
        };
        let len = u32::try_from(text.len()).map_err(|_| unusable())?;
        let text = TextRange::new(HostPc(text.as_ptr() as u64), len).ok_or_else(unusable)?;
        let functions = compiled.functions();
        let functions = functions.iter().filter_map(|function| {
            Some(CompiledFunction {
                code: TextRange::new(text.pc_of(TextOffset(function.start)), function.len)?,
                original: parts.map.original_function(FuncIndex(function.index))?,
            })
        });
        let functions: Vec<_> = functions.collect();
        let code_of: HashMap<FuncIndex, TextRange> = functions
            .iter()
            .map(|function| (function.original, function.code))
            .collect();
        let codes = parts
            .probed
            .iter()
            .map(|function| code_of.get(function).copied());
        let words = parts
            .probed
            .len()
            .div_ceil(hooks::SWITCHES_PER_GLOBAL as usize);
        let module = Arc::new(Self {
            compiled: parts.compiled,
            name: parts.name,
            suffix: parts.suffix,
            memories: parts.memories,
            globals: parts.globals,
            definitions: parts.definitions,
            codes: codes.collect::<Option<_>>().ok_or_else(unusable)?,
            probed: parts.probed,
            map: parts.map,
            bytes: parts.bytes,
            text,
            functions,
            wanted: (0..words).map(|_| AtomicU32::new(u32::MAX)).collect(),
            addresses: OnceLock::new(),
            symbols: OnceLock::new(),
            usual: Mutex::default(),
        });
        outer::register(&module);
        Ok(module)
    }

    /// Returns the original's bytes, and where each of them went.
    pub(super) fn original(&self) -> (Arc<Bytes>, Map) {
        (Arc::clone(&self.bytes), self.map.clone())
    }

    pub(super) fn memory_export(&self, index: u32) -> String {
        hooks::memory_export(index, &self.suffix)
    }

    pub(super) fn global_export(&self, index: u32) -> String {
        hooks::global_export(index, &self.suffix)
    }

    pub(super) fn switches_exports(&self) -> impl Iterator<Item = String> {
        (0..)
            .zip(&self.wanted)
            .map(|(n, _)| hooks::switches_export(n, &self.suffix))
    }

    /// Returns the probes as a factory chooses them.
    pub(super) fn probes(&self, factory: &dyn Factory) -> Arc<[Probe]> {
        let probe = |(function, code): (&FuncIndex, &TextRange)| {
            let definition = Arc::clone(self.definitions.get(function.0 as usize)?);
            let listener = factory.listener(&definition);
            Some(Probe::new(definition, listener, *code))
        };
        self.probed
            .iter()
            .zip(&self.codes)
            .filter_map(probe)
            .collect()
    }

    /// Returns the probes as the usual factory chooses them, which is asked once.
    pub(super) fn usual_probes(&self, factory: &dyn Factory) -> Arc<[Probe]> {
        let mut usual = self.usual.lock().unwrap_or_else(PoisonError::into_inner);
        let probes = usual.get_or_insert_with(|| self.probes(factory));
        Arc::clone(probes)
    }

    /// Wants some probes to be heard and others not.
    pub(super) fn want(&self, wanted: impl Fn(&Definition) -> Option<bool>) {
        for (probe, function) in (0_u32..).zip(&self.probed) {
            let Some(definition) = self.definitions.get(function.0 as usize) else {
                continue;
            };
            let (word, bit) = (probe / u32::BITS, 1 << (probe % u32::BITS));
            let Some(word) = self.wanted.get(word as usize) else {
                continue;
            };
            match wanted(definition) {
                Some(true) => word.fetch_or(bit, Ordering::Relaxed),
                Some(false) => word.fetch_and(!bit, Ordering::Relaxed),
                None => continue,
            };
        }
    }

    /// Returns the switches of a group of probes: those that are wanted and heard.
    pub(super) fn switched(&self, group: u32, probes: &[Probe]) -> u32 {
        let wanted = self
            .wanted
            .get(group as usize)
            .map_or(0, |word| word.load(Ordering::Relaxed));
        let first = (group * u32::BITS) as usize;
        let heard = probes
            .iter()
            .skip(first)
            .take(u32::BITS as usize)
            .enumerate();
        let heard = heard.fold(0, |bits, (bit, probe)| {
            bits | u32::from(probe.is_heard) << bit
        });
        wanted & heard
    }

    /// Returns what is at an address, if it is in a function of this module.
    pub(super) fn place(&self, pc: HostPc) -> Option<Place<'_>> {
        if !self.text.contains(pc) {
            return None;
        }
        let after = self
            .functions
            .partition_point(|function| function.code.start() <= pc);
        let function = self.functions.get(after.checked_sub(1)?)?;
        if !function.code.contains(pc) {
            return None;
        }
        Some(Place {
            module: self,
            function: function.original,
            definition: self.definitions.get(function.original.0 as usize)?,
            pc,
        })
    }

    /// Returns where in the rewritten binary the code before an address comes from.
    fn rewritten_offset(&self, pc: HostPc) -> Option<WasmOffset> {
        let addresses = self.addresses.get_or_init(|| {
            let mut addresses = Vec::new();
            Compiled::Module(self.compiled.clone()).for_each_address(|text, wasm| {
                addresses.push((TextOffset(text), wasm.map(WasmOffset)));
            });
            addresses
        });
        // Each frame is at a call, which is before the address that it returns to.
        let offset = TextOffset(self.text.offset_of(pc)?.0.checked_sub(1)?);
        let after = addresses.partition_point(|(text, _)| *text <= offset);
        addresses.get(after.checked_sub(1)?)?.1
    }
}

impl Drop for ListenedModule {
    fn drop(&mut self) {
        outer::unregister(self.text);
    }
}

impl fmt::Debug for ListenedModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenedModule")
            .field("name", &self.name)
            .field("probes", &self.probed.len())
            .finish_non_exhaustive()
    }
}

/// A place in the code of a module.
pub(super) struct Place<'m> {
    module: &'m ListenedModule,
    function: FuncIndex,
    pub(super) definition: &'m Definition,
    pc: HostPc,
}

impl Place<'_> {
    /// Returns the offset in the original, or `None` in code that is not from there.
    pub(super) fn source_offset(&self) -> Option<SourceOffset> {
        let offset = self
            .module
            .map
            .original(self.module.rewritten_offset(self.pc)?)?;
        Some(SourceOffset {
            module: offset,
            code_section: offset.0.checked_sub(self.module.map.code_start().0.0)?,
        })
    }

    /// Returns the source line, from the original's own debugging information.
    pub(super) fn line(&self) -> Option<Line> {
        let offset = self.source_offset()?.module;
        let symbols = self
            .module
            .symbols
            .get_or_init(|| Symbols::new(SharedBytes(Arc::clone(&self.module.bytes))));
        let frames = symbols.frames(ModuleIndex(0), self.function, offset);
        let frame = frames.first()?;
        Some(Line {
            file: frame.file.as_ref()?.to_string(),
            line: frame.line?,
            column: frame.column,
        })
    }
}
