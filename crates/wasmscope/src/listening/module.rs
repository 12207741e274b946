//! A module that was rewritten and compiled: from an address of its code to the function,
//! the place and the line in the original.

use super::binary::Binary;
use super::outer;
use super::probe::Probe;
use crate::Error;
use crate::guest::{CompiledFunction, Origin};
use crate::{Frame, FrameKind};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use wasmscope_address::{FuncIndex, HostPc, ModuleIndex, TextRange};
use wasmscope_instrument::{Map, hooks};
use wasmscope_listen::{Definition, Factory, Line, SourceOffset, Value, ValueType, Values};

/// By the index of each global: its type, and where its words begin in what comes with an
/// event; `None` where it does not come.
pub(super) type ShownGlobals = Vec<Option<(ValueType, usize)>>;

/// What listening needs to know of one rewritten module.
pub(super) struct ListenedModule {
    /// What it was compiled in: by itself, or with the others of its component.
    pub(super) binary: Arc<Binary>,
    /// Which module of the original binary it is.
    index: ModuleIndex,
    /// The module's own name.
    pub(super) name: Option<String>,
    /// The process's nonce, which ends each reserved name.
    suffix: Arc<str>,
    /// How many memories and globals it has, imported ones included.
    pub(super) memories: u32,
    pub(super) globals: u32,
    /// In a component: the globals whose values can come with an event, by index.
    shown_globals: ShownGlobals,
    /// What each probe is on.
    pub(super) probed: Vec<Arc<Definition>>,
    /// The compiled code of each probe.
    codes: Vec<TextRange>,
    original: Option<Original>,
    /// Calls that nobody heard: too many others were open.
    pub(super) unheard: AtomicU64,
    /// Which probes are wanted, 32 each.
    wanted: Box<[AtomicU32]>,
    /// The probes as the factory of [`super::Listening`] chose them.
    usual: Mutex<Option<Arc<[Probe]>>>,
}

/// How to get back to the original; what stands around a component's functions has none.
struct Original {
    /// All functions of its index space.
    definitions: Vec<Arc<Definition>>,
    map: Map,
    /// Compiled functions by their place, with their index in the original: an import's,
    /// for what stands in front of it.
    functions: Vec<(TextRange, FuncIndex)>,
}

/// What rewriting a module gave.
pub(super) struct Parts {
    pub(super) index: ModuleIndex,
    pub(super) name: Option<String>,
    pub(super) suffix: Arc<str>,
    pub(super) memories: u32,
    pub(super) globals: u32,
    pub(super) shown_globals: ShownGlobals,
    pub(super) definitions: Vec<Arc<Definition>>,
    /// The original function of each probe.
    pub(super) probed: Vec<FuncIndex>,
    pub(super) map: Map,
}

impl ListenedModule {
    /// Makes a module of `functions`, those that were compiled from it.
    pub(super) fn new(
        binary: &Arc<Binary>,
        functions: &[CompiledFunction],
        parts: Parts,
    ) -> Result<Arc<Self>, Error> {
        let functions = functions.iter().filter_map(|function| {
            let original = parts.map.original_function(FuncIndex(function.index))?;
            Some((binary.code_of(function)?, original))
        });
        let functions: Vec<_> = functions.collect();
        let code_of: HashMap<FuncIndex, TextRange> = functions
            .iter()
            .map(|(code, original)| (*original, *code))
            .collect();
        let probe = |function: &FuncIndex| {
            let definition = parts.definitions.get(function.0 as usize)?;
            Some((Arc::clone(definition), *code_of.get(function)?))
        };
        let probes: Option<Vec<_>> = parts.probed.iter().map(probe).collect();
        let (probed, codes): (Vec<_>, _) =
            probes.ok_or_else(|| binary.unusable())?.into_iter().unzip();
        let module = Arc::new(Self {
            binary: Arc::clone(binary),
            index: parts.index,
            name: parts.name,
            suffix: parts.suffix,
            memories: parts.memories,
            globals: parts.globals,
            shown_globals: parts.shown_globals,
            unheard: AtomicU64::new(0),
            wanted: all_wanted(probed.len()),
            probed,
            codes,
            original: Some(Original {
                definitions: parts.definitions,
                map: parts.map,
                functions,
            }),
            usual: Mutex::default(),
        });
        outer::register(&module);
        Ok(module)
    }

    /// Returns how to get to the original, if there is one.
    pub(super) fn origin(&self) -> Option<Origin> {
        self.original.as_ref().map(|original| Origin {
            module: self.index,
            map: original.map.clone(),
        })
    }

    /// Makes a module that stands around functions of a component. Each probe is on a
    /// function that none of the original's modules has.
    pub(super) fn around(
        binary: &Arc<Binary>,
        suffix: Arc<str>,
        has_memory: bool,
        probes: impl IntoIterator<Item = (Arc<Definition>, TextRange)>,
    ) -> Arc<Self> {
        let (probed, codes): (Vec<_>, _) = probes.into_iter().unzip();
        Arc::new(Self {
            binary: Arc::clone(binary),
            index: ModuleIndex(u32::MAX),
            name: None,
            suffix,
            memories: u32::from(has_memory),
            globals: 0,
            shown_globals: ShownGlobals::default(),
            unheard: AtomicU64::new(0),
            wanted: all_wanted(probed.len()),
            probed,
            codes,
            original: None,
            usual: Mutex::default(),
        })
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
        let probe = |(definition, code): (&Arc<Definition>, &TextRange)| {
            let listener = factory.listener(definition);
            Probe::new(Arc::clone(definition), listener, *code)
        };
        self.probed.iter().zip(&self.codes).map(probe).collect()
    }

    /// Returns the probes as the usual factory chooses them, which is asked once.
    pub(super) fn usual_probes(&self, factory: &dyn Factory) -> Arc<[Probe]> {
        let mut usual = self.usual.lock().unwrap_or_else(PoisonError::into_inner);
        let probes = usual.get_or_insert_with(|| self.probes(factory));
        Arc::clone(probes)
    }

    /// Returns the value of a global, from the words of those that came with an event.
    pub(super) fn shown_global(&self, global: u32, words: &[u64]) -> Option<Value> {
        let (ty, first) = (*self.shown_globals.get(global as usize)?)?;
        let words = words.get(first..first.checked_add(ty.words())?)?;
        Values::new(&[ty], words).get(0)
    }

    /// Returns probes with some that nobody hears.
    pub(super) fn without(&self, probes: &[Probe], unheard: &[usize]) -> Arc<[Probe]> {
        let codes = self.codes.iter();
        let probes = probes.iter().zip(codes).enumerate();
        let probe = |(number, (probe, code)): (usize, (&Probe, &TextRange))| {
            let is_heard = probe.is_heard && !unheard.contains(&number);
            let listener = is_heard.then(|| probe.listener.clone());
            Probe::new(Arc::clone(&probe.definition), listener, *code)
        };
        probes.map(probe).collect()
    }

    /// Wants some probes to be heard and others not.
    pub(super) fn want(&self, wanted: impl Fn(&Definition) -> Option<bool>) {
        for (probe, definition) in (0_u32..).zip(&self.probed) {
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

    /// Returns how many groups of probes there are.
    pub(super) fn groups(&self) -> u32 {
        self.wanted.len() as u32
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
        if !self.binary.text.contains(pc) {
            return None;
        }
        let original = self.original.as_ref()?;
        let functions = &original.functions;
        let after = functions.partition_point(|(code, _)| code.start() <= pc);
        let (code, function) = functions.get(after.checked_sub(1)?)?;
        if !code.contains(pc) {
            return None;
        }
        Some(Place {
            module: self,
            original,
            function: *function,
            definition: original.definitions.get(function.0 as usize)?,
            pc,
        })
    }

    /// Tells whether it stands around functions of a component.
    pub(super) fn is_around(&self) -> bool {
        self.original.is_none()
    }
}

fn all_wanted(probes: usize) -> Box<[AtomicU32]> {
    let words = probes.div_ceil(hooks::SWITCHES_PER_GLOBAL as usize);
    (0..words).map(|_| AtomicU32::new(u32::MAX)).collect()
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
    original: &'m Original,
    function: FuncIndex,
    pub(super) definition: &'m Definition,
    pc: HostPc,
}

impl Place<'_> {
    /// Returns the offset in the original, or `None` in code that is not from there.
    pub(super) fn source_offset(&self) -> Option<SourceOffset> {
        let map = &self.original.map;
        let offset = map.original(self.module.binary.rewritten_offset(self.pc)?)?;
        Some(SourceOffset {
            module: offset,
            code_section: offset.0.checked_sub(map.code_start().0.0)?,
        })
    }

    /// Returns the frame that is here, with its names.
    pub(super) fn frame(&self) -> Frame {
        let symbols = self.module.binary.symbols();
        let offset = self.source_offset().map(|offset| offset.module);
        let source = offset.map_or_else(Arc::default, |offset| {
            symbols.frames(self.module.index, self.function, offset)
        });
        let name = symbols.function_name(self.module.index, self.function);
        Frame {
            kind: FrameKind::Guest,
            module: self.module.name.as_deref().map(Arc::from),
            instance: None,
            function: Some(self.function),
            name: name.display,
            pc: Some(self.pc),
            offset,
            source,
        }
    }

    /// Returns the source line, from the original's own debugging information.
    pub(super) fn line(&self) -> Option<Line> {
        let offset = self.source_offset()?.module;
        let symbols = self.module.binary.symbols();
        let frames = symbols.frames(self.module.index, self.function, offset);
        let frame = frames.first()?;
        Some(Line {
            file: frame.file.as_ref()?.to_string(),
            line: frame.line?,
            column: frame.column,
        })
    }
}
