//! The frames of a failed guest, in terms of the original modules.

use crate::Guest;
use crate::code::{Code, Place, Resolved};
use crate::failure::recorded::{self, Recorded};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use wasmscope_address::{FuncIndex, HostPc, ModuleIndex, TextOffset, WasmOffset};
use wasmscope_coredump::CodeOffset;
use wasmtime::{FrameInfo, Module, WasmBacktrace};

/// One frame: whose, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located {
    /// The number of its module among those of the store; `None` when it is of another store
    /// and not known.
    pub(super) module: Option<usize>,
    pub(super) function: FuncIndex,
    pub(super) code_offset: CodeOffset,
}

/// A stack, newest frame first.
#[derive(Default, Debug)]
pub(super) struct Stack {
    pub(super) frames: Vec<Located>,
    /// Whether older frames are missing.
    pub(super) cut: bool,
}

/// A function of one of the store's modules, by its address.
struct Function {
    start: u64,
    end: u64,
    module: usize,
    index: u32,
}

/// What is known of a store's modules.
pub(super) struct Modules {
    pub(super) modules: Vec<StoreModule>,
    functions: Vec<Function>,
}

/// One of a store's modules.
pub(super) struct StoreModule {
    pub(super) module: Module,
    /// What is registered of it.
    pub(super) known: Option<Known>,
    /// Whether nothing of it is to be shown.
    pub(super) hidden: bool,
}

/// A registered guest, and which core module of it a module is.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) code: Arc<Code>,
    /// `None` for what a rewriter added, and for modules of components that have no functions
    /// to tell them by.
    pub(super) module: Option<ModuleIndex>,
}

impl Modules {
    /// Looks up a store's modules among the guests that are known. Of those in `hidden`, as
    /// of hidden guests, nothing is to be shown.
    pub(super) fn new(modules: &[Module], known: &[Arc<Code>], hidden: &[Module]) -> Self {
        let mut functions = Vec::new();
        for (number, module) in modules.iter().enumerate() {
            let text = module.text().as_ptr() as u64;
            functions.extend(module.functions().map(|function| Function {
                start: text + function.offset as u64,
                end: text + (function.offset + function.len) as u64,
                module: number,
                index: function.index.as_u32(),
            }));
        }
        functions.sort_unstable_by_key(|function| function.start);
        let modules = modules.iter().map(|module| {
            let start = HostPc(module.text().as_ptr() as u64);
            let code = known.iter().find(|code| {
                code.range.start() == start && code.range.len() as usize == module.text().len()
            });
            let compiled = module.functions().next();
            let known = code.map(|code| {
                let compiled = match compiled {
                    Some(function) => Some(ModuleIndex(function.module.as_u32())),
                    None => (!code.is_component()).then_some(ModuleIndex(0)),
                };
                Known {
                    code: Arc::clone(code),
                    module: compiled.and_then(|compiled| code.original_module(compiled)),
                }
            });
            let hidden = hidden.iter().any(|hidden| Module::same(hidden, module));
            StoreModule {
                module: module.clone(),
                hidden: hidden || known.as_ref().is_some_and(|known| known.code.hidden),
                known,
            }
        });
        Self {
            modules: modules.collect(),
            functions,
        }
    }

    fn function_at(&self, pc: u64) -> Option<&Function> {
        let after = self
            .functions
            .partition_point(|function| function.start <= pc);
        let function = self.functions.get(after.checked_sub(1)?)?;
        (pc < function.end).then_some(function)
    }

    /// Returns a failed guest's stack: from the addresses that the engine recorded, if they are
    /// those of the frames that it gives.
    pub(super) fn stack(&self, backtrace: &WasmBacktrace) -> Stack {
        let given = backtrace.frames();
        let recorded = recorded::frames(backtrace).unwrap_or_default();
        let starts = self.starts(given);
        if !self.agree(&recorded, given) {
            let mut known = HashMap::new();
            let frames = given.iter().filter_map(|frame| {
                let key = (frame.func_index(), frame.module_offset());
                let text = frame.module().text().as_ptr();
                *known
                    .entry((text, key))
                    .or_insert_with(|| self.given(frame))
            });
            return Stack {
                frames: frames.collect(),
                cut: true,
            };
        }
        // The newest may be where a trap happened; all others are return addresses.
        let newest = given.first().and_then(|frame| self.given(frame));
        let older = recorded.iter().skip(usize::from(!given.is_empty()));
        let older = older.filter(|frame| !frame.is_repeated);
        let older: Vec<HostPc> = older.map(|frame| frame.pc).collect();
        let older = self.recorded(&older, &starts);
        Stack {
            frames: newest.into_iter().chain(older).collect(),
            cut: false,
        }
    }

    /// Returns where the bodies of functions begin that the engine gives frames of, in their
    /// binaries.
    fn starts(&self, given: &[FrameInfo]) -> HashMap<(usize, FuncIndex), WasmOffset> {
        let start = |frame: &FrameInfo| {
            let start = frame.module_offset()?.checked_sub(frame.func_offset()?)?;
            let start = WasmOffset(u32::try_from(start).ok()?);
            Some(((self.number(frame)?, FuncIndex(frame.func_index())), start))
        };
        given.iter().filter_map(start).collect()
    }

    /// Returns the number of a frame's module.
    fn number(&self, frame: &FrameInfo) -> Option<usize> {
        let mut modules = self.modules.iter();
        modules.position(|of| Module::same(&of.module, frame.module()))
    }

    /// Tells whether recorded addresses are those of the frames that the engine gives.
    fn agree(&self, recorded: &[Recorded], given: &[FrameInfo]) -> bool {
        let same = |(position, (recorded, frame)): (usize, (&Recorded, &FrameInfo))| {
            let is = |pc: u64| {
                self.function_at(pc).is_some_and(|function| {
                    let of = self.modules.get(function.module);
                    function.index == frame.func_index()
                        && of.is_some_and(|of| Module::same(&of.module, frame.module()))
                })
            };
            let pc = recorded.pc.0;
            is(pc.wrapping_sub(1)) || position == 0 && is(pc)
        };
        recorded.len() >= given.len() && recorded.iter().zip(given).enumerate().all(same)
    }

    /// Returns a frame that the engine gives; `None` for what is not to be shown.
    fn given(&self, frame: &FrameInfo) -> Option<Located> {
        let number = self.number(frame)?;
        let index = FuncIndex(frame.func_index());
        let offset = |offset: Option<usize>| offset.and_then(|it| u32::try_from(it).ok());
        let of = self.modules.get(number).filter(|of| !of.hidden)?;
        match &of.known {
            Some(known) if known.code.is_rewritten() => {
                let wasm = offset(frame.module_offset()).unwrap_or(u32::MAX);
                let place = Place {
                    offset: TextOffset(known.code.text_offset(index.0, wasm)),
                    is_return_address: false,
                };
                self.resolved(number, known, place)
            }
            _ => Some(Located {
                module: Some(number),
                function: index,
                code_offset: offset(frame.func_offset()).map_or(CodeOffset::UNKNOWN, CodeOffset),
            }),
        }
    }

    fn resolved(&self, number: usize, known: &Known, place: Place) -> Option<Located> {
        let resolved = known.code.resolve(&BTreeSet::from([place]));
        let Resolved::Function(function) = resolved.get(&place)? else {
            return None;
        };
        let start = known.code.body_start(function.module, function.index);
        Some(Located {
            module: Some(number),
            function: function.index,
            code_offset: code_offset(start, function.wasm),
        })
    }

    /// Returns the frames at return addresses.
    fn recorded(
        &self,
        addresses: &[HostPc],
        starts: &HashMap<(usize, FuncIndex), WasmOffset>,
    ) -> Vec<Located> {
        // What is at each address is asked once, and of each module all at once.
        let mut asked: HashMap<usize, BTreeSet<Place>> = HashMap::new();
        let places = addresses.iter().map(|pc| {
            let function = self.function_at(pc.0.wrapping_sub(1))?;
            let text = self.modules.get(function.module)?.module.text().as_ptr() as u64;
            let place = Place {
                offset: TextOffset(u32::try_from(pc.0.wrapping_sub(text)).ok()?),
                is_return_address: true,
            };
            asked.entry(function.module).or_default().insert(place);
            Some((function, place))
        });
        let places: Vec<_> = places.collect();
        let mut answers: HashMap<(usize, Place), Located> = HashMap::new();
        for (number, places) in asked {
            let Some(of) = self.modules.get(number).filter(|of| !of.hidden) else {
                continue;
            };
            match &of.known {
                Some(known) => {
                    for (place, resolved) in known.code.resolve(&places) {
                        let Resolved::Function(function) = resolved else {
                            continue;
                        };
                        let start = known.code.body_start(function.module, function.index);
                        let start = start.or_else(|| {
                            let start = starts.get(&(number, function.index));
                            start.filter(|_| !known.code.is_rewritten()).copied()
                        });
                        let located = Located {
                            module: Some(number),
                            function: function.index,
                            code_offset: code_offset(start, function.wasm),
                        };
                        answers.insert((number, place), located);
                    }
                }
                None => {
                    let guest = Guest::module("", &of.module);
                    let Ok(code) = Code::check(guest) else {
                        continue;
                    };
                    for (place, (index, wasm)) in code.compiled(&places) {
                        let start = starts.get(&(number, index)).copied();
                        let located = Located {
                            module: Some(number),
                            function: index,
                            code_offset: code_offset(start, wasm),
                        };
                        answers.insert((number, place), located);
                    }
                }
            }
        }
        let frames = places.into_iter().filter_map(|place| match place {
            Some((function, place)) => answers.get(&(function.module, place)).copied(),
            None => Some(Located {
                module: None,
                function: FuncIndex(u32::MAX),
                code_offset: CodeOffset::UNKNOWN,
            }),
        });
        frames.collect()
    }
}

/// Counts an offset in a binary from the function's body.
fn code_offset(start: Option<WasmOffset>, at: Option<WasmOffset>) -> CodeOffset {
    let offset = start
        .zip(at)
        .and_then(|(start, at)| at.0.checked_sub(start.0));
    offset.map_or(CodeOffset::UNKNOWN, CodeOffset)
}
