//! One registered guest's code: from an offset in its text to names and lines.
//!
//! Answers are computed in batches, because the engine's address map can only be
//! read from one end to the other, and are remembered. When a guest is
//! unregistered, [`Code::frozen`] keeps the answers that will be needed and lets go
//! of the compiled code.

use crate::error::Error;
use crate::guest::{Bytes, Compiled, CompiledFunction, Guest, Origin, SharedBytes};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use wasmscope_address::{FuncIndex, HostPc, ModuleIndex, TextOffset, TextRange, WasmOffset};
use wasmscope_instrument::Map;
use wasmscope_sample::{GuestWindows, RawFrame, find_windows};
use wasmscope_symbolize::{Import, Operator, SourceFrame, Symbols};

/// A place in a guest's text: an offset, and whether it is a return address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Place {
    pub(crate) offset: TextOffset,
    pub(crate) is_return_address: bool,
}

impl Place {
    /// Returns an offset within the instruction that the frame is at.
    fn lookup(self) -> u32 {
        self.offset
            .0
            .wrapping_sub(u32::from(self.is_return_address))
    }
}

/// What is at a place.
#[derive(Clone, Debug)]
pub(crate) enum Resolved {
    /// One of the engine's trampolines, or what a rewriter added to the guest.
    Trampoline,
    /// A function of the guest.
    Function(Arc<ResolvedFunction>),
}

/// A place in a function of the guest.
#[derive(Debug)]
pub(crate) struct ResolvedFunction {
    /// Which core module of the original it is of.
    #[cfg(feature = "coredump")]
    pub(crate) module: ModuleIndex,
    /// The function's index in the original module.
    pub(crate) index: FuncIndex,
    /// The offset in the original binary, where the engine kept a map.
    pub(crate) wasm: Option<WasmOffset>,
    /// Innermost inlined frame first; never empty.
    pub(crate) frames: Arc<[SourceFrame]>,
    /// The imported function that is called here, if one is.
    pub(crate) import: Option<Import>,
    /// The operator here that the engine may carry out with code of its own.
    pub(crate) operator: Option<Operator>,
}

/// A guest's code, and what is known of it.
pub(crate) struct Code {
    /// Never empty; more than one when the code is registered more than once.
    names: Mutex<Vec<String>>,
    pub(crate) range: TextRange,
    pub(crate) hidden: bool,
    /// Size of the original binary, where it is known.
    pub(crate) size: Option<u64>,
    source: Option<Source>,
    resolved: Mutex<HashMap<Place, Resolved>>,
}

struct Source {
    compiled: Compiled,
    functions: Vec<CompiledFunction>,
    symbols: Option<Symbols>,
    #[cfg(feature = "coredump")]
    bytes: Option<Arc<Bytes>>,
    /// Where the code of each compiled module came from; none where nothing was rewritten.
    origins: Option<Vec<Option<Origin>>>,
}

impl Code {
    /// Checks a guest and finds the windows of its code, of which there are none where
    /// the engine interprets.
    pub(crate) fn prepare(guest: Guest) -> Result<(Self, GuestWindows), Error> {
        let code = Self::check(guest)?;
        let windows = code.source.as_ref().map_or_else(
            || find_windows(&[], []),
            |source| match source.compiled.engine().is_pulley() {
                true => find_windows(&[], []),
                false => {
                    let ranges = source.functions.iter().map(|function| {
                        function.start..function.start.saturating_add(function.len)
                    });
                    find_windows(source.compiled.text(), ranges)
                }
            },
        );
        Ok((code, windows))
    }

    /// Checks a guest that is named only, and not walked.
    pub(crate) fn check(guest: Guest) -> Result<Self, Error> {
        if guest.code.engine().get_guest_debug() {
            return Err(Error::GuestDebug { guest: guest.name });
        }
        let is_binary = |bytes: &[u8]| bytes.starts_with(b"\0asm");
        if guest
            .bytes
            .as_ref()
            .is_some_and(|bytes| !is_binary((**bytes).as_ref()))
        {
            return Err(Error::Bytes { guest: guest.name });
        }
        let Some(range) = text_range(&guest.code) else {
            return Err(Error::Text { guest: guest.name });
        };
        let functions = guest.code.functions();
        Ok(Self::new(guest, range, functions))
    }

    fn new(guest: Guest, range: TextRange, functions: Vec<CompiledFunction>) -> Self {
        let size = guest
            .bytes
            .as_ref()
            .map(|bytes: &Arc<Bytes>| (**bytes).as_ref().len() as u64);
        let symbols = guest.bytes.clone().map(|bytes| {
            let mut symbols = Symbols::new(SharedBytes(bytes));
            if let Some(debug) = guest.debug_bytes {
                symbols = symbols.with_debug_bytes(SharedBytes(debug));
            }
            if let Some(loader) = guest.debug_loader {
                symbols = symbols.with_debug_loader(loader);
            }
            symbols
        });
        Self {
            names: Mutex::new(vec![guest.name]),
            range,
            hidden: guest.hidden,
            size,
            source: Some(Source {
                compiled: guest.code,
                functions,
                symbols,
                #[cfg(feature = "coredump")]
                bytes: guest.bytes,
                origins: guest.origins,
            }),
            resolved: Mutex::default(),
        }
    }

    /// Returns the name that it was registered under first.
    pub(crate) fn name(&self) -> String {
        self.names().into_iter().next().unwrap_or_default()
    }

    /// Returns all names that it is registered under.
    pub(crate) fn names(&self) -> Vec<String> {
        self.names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Adds a name, unless it has that already.
    pub(crate) fn add_name(&self, name: &str) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }

    /// Returns this code with the answers for `places` and nothing else.
    pub(crate) fn frozen(&self, places: &BTreeSet<Place>) -> Self {
        Self {
            names: Mutex::new(self.names()),
            range: self.range,
            hidden: self.hidden,
            size: self.size,
            source: None,
            resolved: Mutex::new(self.resolve(places)),
        }
    }

    /// Returns a text offset in the function with this index that was compiled from
    /// the offset `wasm` of the binary; the function's start when there is none.
    pub(crate) fn text_offset(&self, index: u32, wasm: u32) -> u32 {
        let Some(source) = &self.source else { return 0 };
        let mut found = None;
        let mut start = 0;
        for function in source.functions.iter().filter(|f| f.index == index) {
            start = function.start;
            let end = function.start.saturating_add(function.len);
            source.compiled.for_each_address(|text, from| {
                if from == Some(wasm) && (start..end).contains(&text) {
                    found = found.or(Some(text));
                }
            });
            if found.is_some() {
                break;
            }
        }
        found.unwrap_or(start)
    }

    /// Tells whether a frame of this text is in one of the engine's trampolines.
    pub(crate) fn is_trampoline(&self, frame: RawFrame) -> bool {
        let (Some(source), Some(offset)) = (&self.source, self.range.offset_of(frame.lookup_pc()))
        else {
            return false;
        };
        let function = source.function_at(offset.0);
        function.is_none_or(|function| source.original(function).is_none())
    }

    /// Says what the engine says of places: the function's index in the compiled binary, and
    /// the offset there. What is in no function is left out.
    pub(crate) fn compiled(
        &self,
        places: &BTreeSet<Place>,
    ) -> HashMap<Place, (FuncIndex, Option<WasmOffset>)> {
        let Some(source) = &self.source else {
            return HashMap::new();
        };
        let mut found: Vec<_> = places
            .iter()
            .filter_map(|place| Some((*place, source.function_at(place.lookup())?)))
            .collect();
        found.sort_unstable_by_key(|(place, _)| place.lookup());
        let from = source.wasm_offsets(&found);
        let found = found.into_iter().zip(from);
        found
            .map(|((place, function), from)| {
                let wasm = match from {
                    CompiledFrom::Exact(wasm) => Some(wasm),
                    CompiledFrom::Prologue(_) | CompiledFrom::None => None,
                };
                (place, (FuncIndex(function.index), wasm))
            })
            .collect()
    }

    /// Tells of each function of the guest where its code lies, its index in the original
    /// module, and its name; in the order of the text.
    pub(crate) fn for_each_function(&self, mut each: impl FnMut(Range<u32>, FuncIndex, &str)) {
        let Some(source) = &self.source else { return };
        for function in &source.functions {
            let resolved = source.resolve_function(function, CompiledFrom::None);
            let Some(resolved) = resolved else { continue };
            let range = function.start..function.start.saturating_add(function.len);
            let name = resolved.frames.last().map_or("", |frame| &frame.function);
            each(range, resolved.index, name);
        }
    }

    /// Tells from where in the text on which offset of the original binary it was compiled
    /// from, or none; in the order of the text.
    pub(crate) fn for_each_offset(&self, mut each: impl FnMut(u32, Option<WasmOffset>)) {
        let Some(source) = &self.source else { return };
        source.compiled.for_each_address(|text, wasm| {
            let original = || {
                let (_, _, map) = source.original(source.function_at(text)?)?;
                let compiled = CompiledFrom::Exact(WasmOffset(wasm?));
                match map.map_or(compiled, |map| compiled.before(map)) {
                    CompiledFrom::Exact(wasm) => Some(wasm),
                    CompiledFrom::Prologue(_) | CompiledFrom::None => None,
                }
            };
            each(text, original());
        });
    }

    /// Answers for all of `places`.
    pub(crate) fn resolve(&self, places: &BTreeSet<Place>) -> HashMap<Place, Resolved> {
        let mut known = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = &self.source {
            let unknown: Vec<Place> = places
                .iter()
                .filter(|place| !known.contains_key(place))
                .copied()
                .collect();
            source.resolve(&unknown, &mut known);
        }
        places
            .iter()
            .filter_map(|place| Some((*place, known.get(place)?.clone())))
            .collect()
    }

    /// Returns what was broken in the guest's names or lines, once something was
    /// looked up.
    pub(crate) fn problem(&self) -> Option<wasmscope_symbolize::Error> {
        self.source.as_ref()?.symbols.as_ref()?.problem()
    }
}

/// What a core dump needs to know of it.
#[cfg(feature = "coredump")]
impl Code {
    /// Tells whether it is a component's, which may have many core modules.
    pub(crate) fn is_component(&self) -> bool {
        let source = self.source.as_ref();
        source.is_some_and(|source| matches!(source.compiled, Compiled::Component(_)))
    }

    /// Returns which core module of the original a compiled one is; `None` for what a
    /// rewriter added.
    pub(crate) fn original_module(&self, compiled: ModuleIndex) -> Option<ModuleIndex> {
        match &self.source.as_ref()?.origins {
            Some(origins) => Some(origins.get(compiled.0 as usize)?.as_ref()?.module),
            None => Some(compiled),
        }
    }

    /// Tells whether a rewriter changed it.
    pub(crate) fn is_rewritten(&self) -> bool {
        let source = self.source.as_ref();
        source.is_some_and(|source| source.origins.is_some())
    }

    /// Returns the original binary, if it was given.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        Some((**self.source.as_ref()?.bytes.as_ref()?).as_ref())
    }

    /// Returns where a function's body begins in the original binary, if that was given.
    pub(crate) fn body_start(&self, module: ModuleIndex, index: FuncIndex) -> Option<WasmOffset> {
        let symbols = self.source.as_ref()?.symbols.as_ref()?;
        Some(symbols.body(module, index)?.start)
    }
}

impl Source {
    fn resolve(&self, places: &[Place], known: &mut HashMap<Place, Resolved>) {
        let mut in_functions: Vec<(Place, &CompiledFunction)> = Vec::new();
        for &place in places {
            match self.function_at(place.lookup()) {
                Some(function) if self.original(function).is_some() => {
                    in_functions.push((place, function));
                }
                _ => {
                    known.insert(place, Resolved::Trampoline);
                }
            }
        }
        in_functions.sort_unstable_by_key(|(place, _)| place.lookup());
        let wasm = self.wasm_offsets(&in_functions);
        for ((place, function), origin) in in_functions.into_iter().zip(wasm) {
            let resolved = match self.resolve_function(function, origin) {
                Some(resolved) => Resolved::Function(Arc::new(resolved)),
                None => Resolved::Trampoline,
            };
            known.insert(place, resolved);
        }
    }

    fn function_at(&self, offset: u32) -> Option<&CompiledFunction> {
        let after = self
            .functions
            .partition_point(|function| function.start <= offset);
        let function = self.functions.get(after.checked_sub(1)?)?;
        (offset.wrapping_sub(function.start) < function.len).then_some(function)
    }

    /// Returns a function's module, its index there, and how to get to its offsets there;
    /// `None` for what a rewriter added.
    fn original(
        &self,
        function: &CompiledFunction,
    ) -> Option<(ModuleIndex, FuncIndex, Option<&Map>)> {
        let Some(origins) = &self.origins else {
            let module = ModuleIndex(function.module);
            return Some((module, FuncIndex(function.index), None));
        };
        let origin = origins.get(function.module as usize)?.as_ref()?;
        let index = origin.map.original_function(FuncIndex(function.index))?;
        // An import's index: this stands in front of it.
        let is_defined = origin.map.rewritten_function(index)?.0 == function.index;
        is_defined.then_some((origin.module, index, Some(&origin.map)))
    }

    /// Looks up sorted places in one pass over the address map.
    fn wasm_offsets(&self, places: &[(Place, &CompiledFunction)]) -> Vec<CompiledFrom> {
        let mut found: Vec<CompiledFrom> = Vec::with_capacity(places.len());
        // Places from here on wait for the first origin in their function.
        let mut waiting = 0;
        let mut current = None;
        let mut settle = |upto: u32, current: Option<WasmOffset>, next: Option<WasmOffset>| {
            while let Some((place, _)) = places.get(found.len())
                && place.lookup() < upto
            {
                found.push(current.map_or(CompiledFrom::None, CompiledFrom::Exact));
            }
            let Some(next) = next else { return };
            for (origin, (_, function)) in found.iter_mut().zip(places).skip(waiting) {
                let end = function.start.saturating_add(function.len);
                if matches!(origin, CompiledFrom::None) && (function.start..end).contains(&upto) {
                    *origin = CompiledFrom::Prologue(next);
                }
            }
            waiting = found.len();
        };
        self.compiled.for_each_address(|text, wasm| {
            let next = wasm.map(WasmOffset);
            settle(text, current, next);
            current = next;
        });
        settle(u32::MAX, current, None);
        found
    }

    fn resolve_function(
        &self,
        function: &CompiledFunction,
        origin: CompiledFrom,
    ) -> Option<ResolvedFunction> {
        let (module, index, map) = self.original(function)?;
        let origin = match map {
            Some(map) => origin.before(map),
            None => origin,
        };
        let bare = |wasm, frames| ResolvedFunction {
            #[cfg(feature = "coredump")]
            module,
            index,
            wasm,
            frames,
            import: None,
            operator: None,
        };
        let exact = match origin {
            CompiledFrom::Exact(wasm) => Some(wasm),
            CompiledFrom::Prologue(_) | CompiledFrom::None => None,
        };
        let Some(symbols) = &self.symbols else {
            return Some(bare(exact, Arc::from([name_only(function, index)])));
        };
        Some(match origin {
            CompiledFrom::Exact(wasm) => ResolvedFunction {
                #[cfg(feature = "coredump")]
                module,
                index,
                wasm: exact,
                frames: symbols.frames(module, index, wasm),
                import: symbols.called_import(module, wasm),
                operator: symbols.operator(module, wasm),
            },
            // The function itself, and nothing that was inlined into it yet.
            CompiledFrom::Prologue(first) => {
                let frames = symbols.frames(module, index, first);
                let function = frames.last().cloned().map(|frame| SourceFrame {
                    line: frame.declared_line,
                    column: None,
                    ..frame
                });
                bare(None, function.into_iter().collect())
            }
            CompiledFrom::None => {
                let name = symbols.function_name(module, index);
                bare(None, Arc::from([frame_of_name(name.display, name.raw)]))
            }
        })
    }
}

/// Where in the binary a place of the text was compiled from.
#[derive(Clone, Copy, Debug)]
enum CompiledFrom {
    /// From the instruction at this offset.
    Exact(WasmOffset),
    /// From no instruction: it precedes the first one of its function, at this
    /// offset.
    Prologue(WasmOffset),
    /// Not known: the engine keeps no address map, or the function has no entry.
    None,
}

impl CompiledFrom {
    /// Returns the same in the binary before it was rewritten.
    fn before(self, map: &Map) -> Self {
        match self {
            Self::Exact(wasm) => map.original(wasm).map_or(Self::None, Self::Exact),
            Self::Prologue(first) => map.original(first).map_or(Self::None, Self::Prologue),
            Self::None => Self::None,
        }
    }
}

fn text_range(code: &Compiled) -> Option<TextRange> {
    let text = code.text();
    let len = u32::try_from(text.len()).ok()?;
    TextRange::new(HostPc(text.as_ptr() as u64), len)
}

/// Returns the frame of a function of which the engine's own record is all there is.
fn name_only(function: &CompiledFunction, index: FuncIndex) -> SourceFrame {
    let name = wasmscope_symbolize::FunctionName::new(function.name.as_deref(), index);
    frame_of_name(name.display, name.raw)
}

fn frame_of_name(function: Arc<str>, raw: Option<Arc<str>>) -> SourceFrame {
    SourceFrame {
        function,
        raw,
        file: None,
        line: None,
        column: None,
        declared_line: None,
        inlined: false,
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code")
            .field("names", &self.names)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}
