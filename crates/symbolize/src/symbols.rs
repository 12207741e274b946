//! The front door: questions about one file, answered lazily and remembered.
//!
//! Decides which file to ask (the module or its external debug information) and
//! which name to show. Reading is left to the modules beside it.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use wasmparser::BinaryReader;
use wasmscope_address::{FuncIndex, ModuleIndex, WasmOffset};

use crate::bodies::Bodies;
use crate::bytes::Bytes;
use crate::dwarf::{Dwarf, Located};
use crate::imports::{Imports, direct_callee};
use crate::layout::{Layout, Sections};
use crate::names::Names;
use crate::{Error, FunctionName, Import, Operator, SourceFrame};

/// Answers kept of each kind. When there are more, all are dropped and asked
/// anew, so that a process that runs for months does not grow. They take about
/// 20 MB.
const MAX_KEPT: usize = 1 << 16;

/// Finds external debug information by the URL or path that a module names.
type Loader = dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync;

/// The frames of each instruction that was asked about.
type Frames = HashMap<(ModuleIndex, FuncIndex, WasmOffset), Arc<[SourceFrame]>>;

/// Names and lines of one Wasm file.
///
/// Cheap to make; each part of the file is read when a question first needs it.
/// May be shared between threads. The bytes are kept for as long as this lives.
pub struct Symbols {
    main: File,
    external: External,
    names: RwLock<HashMap<(ModuleIndex, FuncIndex), FunctionName>>,
    frames: RwLock<Frames>,
    problem: Mutex<Option<Error>>,
}

/// Where to look for debug information that is not in the file.
enum External {
    None,
    File(File),
    Loader(Box<Loader>),
}

/// A Wasm binary and what has been read of it.
struct File {
    bytes: Bytes,
    parts: OnceLock<Parts>,
}

/// The modules of a file, with the problem met while they were listed.
struct Parts {
    modules: Vec<Module>,
    problem: Option<Error>,
}

/// One core module of a file.
struct Module {
    sections: Sections,
    names: OnceLock<Names>,
    imports: OnceLock<Imports>,
    bodies: OnceLock<Bodies>,
    dwarf: Mutex<Option<Dwarf>>,
    /// What a loader returned for this module.
    loaded: OnceLock<Option<Box<File>>>,
}

impl File {
    fn new(bytes: Bytes) -> Self {
        Self {
            bytes,
            parts: OnceLock::new(),
        }
    }

    fn parts(&self) -> &Parts {
        self.parts.get_or_init(|| {
            let layout = Layout::scan(self.bytes.all());
            let module = |sections| Module {
                sections,
                names: OnceLock::new(),
                imports: OnceLock::new(),
                bodies: OnceLock::new(),
                dwarf: Mutex::default(),
                loaded: OnceLock::new(),
            };
            Parts {
                modules: layout.modules.into_iter().map(module).collect(),
                problem: layout.problem,
            }
        })
    }

    fn module(&self, index: ModuleIndex) -> Option<&Module> {
        self.parts().modules.get(index.0 as usize)
    }
}

impl Module {
    fn names(&self, bytes: &Bytes) -> &Names {
        self.names.get_or_init(|| {
            let range = self.sections.name.as_ref();
            range
                .map(|range| Names::read(bytes.all(), range))
                .unwrap_or_default()
        })
    }

    /// Returns the code section from the instruction at `offset` on; `None` when no
    /// instruction is there.
    fn code_at<'a>(&self, bytes: &'a Bytes, offset: WasmOffset) -> Option<&'a [u8]> {
        let (code, at) = (self.sections.code.as_ref()?, offset.0 as usize);
        self.bodies(bytes)?
            .has_instruction(bytes.all(), at)
            .then(|| bytes.range(&(at..code.end)))
    }

    fn bodies(&self, bytes: &Bytes) -> Option<&Bodies> {
        let code = self.sections.code.as_ref()?;
        let bodies = self.bodies.get_or_init(|| Bodies::read(bytes.all(), code));
        Some(bodies)
    }

    fn imports(&self, bytes: &Bytes) -> &Imports {
        self.imports.get_or_init(|| {
            let range = self.sections.import.as_ref();
            range
                .map(|range| Imports::read(bytes.all(), range))
                .unwrap_or_default()
        })
    }
}

impl Symbols {
    /// Takes the bytes of a module or component, without looking at them.
    ///
    /// Any owner will do: a `Vec<u8>`, an `Arc<[u8]>`, a memory map, a static.
    /// The bytes are not copied.
    #[must_use]
    pub fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self {
            main: File::new(Bytes::new(bytes)),
            external: External::None,
            names: RwLock::default(),
            frames: RwLock::default(),
            problem: Mutex::default(),
        }
    }

    /// Takes DWARF from another Wasm file, in place of the module's own.
    ///
    /// Such files are written by `emcc -gseparate-dwarf` and by strippers that
    /// keep what they strip. For a component, `bytes` are a component with its
    /// core modules in the same order, or one core module, for the first. Names
    /// come from there too where the module has no name section.
    #[must_use]
    pub fn with_debug_bytes(mut self, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        self.external = External::File(File::new(Bytes::new(bytes)));
        self
    }

    /// Takes a function that finds external debug information.
    ///
    /// It is called at most once for each core module that has no DWARF of its
    /// own and an `external_debug_info` section, with the URL or path in it, when
    /// a question first needs it.
    #[must_use]
    pub fn with_debug_loader(mut self, loader: Box<Loader>) -> Self {
        self.external = External::Loader(loader);
        self
    }

    /// Returns how many core modules there are: 1 for a module, those of a component and of
    /// what is nested in it for a component, none where the bytes are neither.
    pub fn modules(&self) -> usize {
        self.main.parts().modules.len()
    }

    /// Returns where the body of a function is: from after its size, where its locals are
    /// declared, to its end. `None` for imports and for what is not there.
    pub fn body(&self, module: ModuleIndex, func: FuncIndex) -> Option<Range<WasmOffset>> {
        let module = self.main.module(module)?;
        let imports = module.imports(&self.main.bytes);
        self.note(imports.problem.as_ref());
        let defined = (func.0 as usize).checked_sub(imports.functions.len())?;
        let body = module.bodies(&self.main.bytes)?.defined(defined)?;
        let offset = |at| u32::try_from(at).ok().map(WasmOffset);
        Some(offset(body.start)?..offset(body.end)?)
    }

    /// Returns a core module's name, from its name section.
    pub fn module_name(&self, module: ModuleIndex) -> Option<String> {
        self.in_names(module, |names, bytes| names.module(bytes))
            .map(str::to_owned)
    }

    /// Returns a function's name; where there is none, its number.
    pub fn function_name(&self, module: ModuleIndex, func: FuncIndex) -> FunctionName {
        let key = (module, func);
        if let Some(name) = read(&self.names).get(&key) {
            return name.clone();
        }
        let raw = self.in_names(module, |names, bytes| names.function(bytes, func.0));
        let name = FunctionName::new(raw, func);
        keep(&self.names, key, name.clone());
        name
    }

    /// Returns the source frames of an instruction: the innermost inlined
    /// function first, the function in the binary last.
    ///
    /// `offset` is where an instruction starts, or lies, in the file. For a
    /// return address that is the call before it, not the address itself, which
    /// may belong to the next line or even function.
    ///
    /// There is always at least one frame; without DWARF it has a name only.
    pub fn frames(
        &self,
        module: ModuleIndex,
        func: FuncIndex,
        offset: WasmOffset,
    ) -> Arc<[SourceFrame]> {
        let key = (module, func, offset);
        if let Some(frames) = read(&self.frames).get(&key) {
            return Arc::clone(frames);
        }
        let frames = self.find_frames(module, func, offset);
        keep(&self.frames, key, Arc::clone(&frames));
        frames
    }

    fn find_frames(
        &self,
        module: ModuleIndex,
        func: FuncIndex,
        offset: WasmOffset,
    ) -> Arc<[SourceFrame]> {
        let name = self.function_name(module, func);
        let mut located = self.locate(module, offset).unwrap_or_default();
        // The last frame is the function in the binary, which has its own name.
        let outermost = located.pop().unwrap_or_default();
        let inlined = located.into_iter().map(|place| {
            let label = place.label.as_deref();
            let display = label.and_then(|label| label.display.clone());
            SourceFrame {
                function: display.unwrap_or_else(|| Arc::from("<inlined function>")),
                raw: label.and_then(|label| label.raw.clone()),
                declared_line: label.and_then(|label| label.declared_line),
                file: place.file,
                line: place.line,
                column: place.column,
                inlined: true,
            }
        });
        let label = outermost.label.as_deref();
        let named = |label: &crate::dwarf::Label| Some((label.display.clone()?, label.raw.clone()));
        let (function, raw) = match name.raw {
            None => label.and_then(named).unwrap_or((name.display, None)),
            raw => (name.display, raw),
        };
        let last = SourceFrame {
            function,
            raw,
            declared_line: label.and_then(|label| label.declared_line),
            file: outermost.file,
            line: outermost.line,
            column: outermost.column,
            inlined: false,
        };
        inlined.chain([last]).collect()
    }

    /// Asks the DWARF of a module, wherever it is.
    fn locate(&self, index: ModuleIndex, offset: WasmOffset) -> Option<Vec<Located>> {
        let code = self.main.module(index)?.sections.code.clone()?;
        if !code.contains(&(offset.0 as usize)) {
            return None;
        }
        let address = u32::try_from(offset.0 as usize - code.start).ok()?;
        let len = u32::try_from(code.len()).ok()?;
        let (file, module) = self.debug_module(index)?;
        let mut dwarf = lock(&module.dwarf);
        let dwarf = dwarf.get_or_insert_with(|| Dwarf::new(&module.sections, len));
        let located = dwarf.locate(file.bytes.all(), &module.sections, address);
        self.note(dwarf.problem.as_ref());
        Some(located)
    }

    /// Returns the module that has the DWARF of a module, and its file.
    fn debug_module(&self, index: ModuleIndex) -> Option<(&File, &Module)> {
        let module = self.main.module(index)?;
        let own = || module.sections.has_dwarf().then_some((&self.main, module));
        let other = || {
            let found = self.external_module(module, index)?;
            found.1.sections.has_dwarf().then_some(found)
        };
        match &self.external {
            External::None => own(),
            External::File(_) => other().or_else(own),
            External::Loader(_) => own().or_else(other),
        }
    }

    /// Returns the module of an external file that describes `module`.
    fn external_module<'a>(
        &'a self,
        module: &'a Module,
        index: ModuleIndex,
    ) -> Option<(&'a File, &'a Module)> {
        let (file, index) = match &self.external {
            External::None => return None,
            External::File(file) => (file, index),
            External::Loader(load) => {
                let file = self.loaded(module, load)?;
                // A file of one module is the one that was asked for.
                let only = file.parts().modules.len() == 1;
                (file, if only { ModuleIndex(0) } else { index })
            }
        };
        self.note(file.parts().problem.as_ref());
        let other = file.module(index)?;
        let id = |bytes: &'a Bytes, sections: &Sections| {
            sections.build_id.as_ref().map(|range| bytes.range(range))
        };
        let ids = (
            id(&self.main.bytes, &module.sections),
            id(&file.bytes, &other.sections),
        );
        if let (Some(main), Some(other)) = ids
            && main != other
        {
            self.note(Some(&Error::DebugFileMismatch));
            return None;
        }
        Some((file, other))
    }

    /// Asks the loader for the file that a module names, once.
    fn loaded<'a>(&'a self, module: &'a Module, load: &Loader) -> Option<&'a File> {
        let range = module.sections.external_debug_info.as_ref()?;
        let loaded = module.loaded.get_or_init(|| {
            let mut reader = BinaryReader::new(self.main.bytes.range(range), range.start);
            let url = match reader.read_unlimited_string() {
                Ok(url) => url,
                Err(error) => {
                    self.note(Some(&Error::malformed(
                        "external_debug_info section",
                        &error,
                    )));
                    return None;
                }
            };
            let bytes = load(url);
            if bytes.is_none() {
                let url = url.to_owned();
                self.note(Some(&Error::DebugFileMissing { url }));
            }
            Some(Box::new(File::new(Bytes::new(bytes?))))
        });
        loaded.as_deref()
    }

    /// Returns the import that the instruction at `offset` calls; `None` unless
    /// it is a `call` or `return_call` of an imported function.
    pub fn called_import(&self, module: ModuleIndex, offset: WasmOffset) -> Option<Import> {
        let code = self
            .main
            .module(module)?
            .code_at(&self.main.bytes, offset)?;
        let callee = direct_callee(code)?;
        self.imported_function(module, FuncIndex(callee))
    }

    /// Returns the operator at `offset` if it is one that the engine may carry out
    /// with code of its own; `None` for any other instruction.
    pub fn operator(&self, module: ModuleIndex, offset: WasmOffset) -> Option<Operator> {
        let code = self
            .main
            .module(module)?
            .code_at(&self.main.bytes, offset)?;
        Operator::decode(code)
    }

    /// Returns what a function is imported as; `None` if the module defines it.
    pub fn imported_function(&self, module: ModuleIndex, func: FuncIndex) -> Option<Import> {
        let imports = self.main.module(module)?.imports(&self.main.bytes);
        self.note(imports.problem.as_ref());
        imports.functions.get(func.0 as usize).cloned()
    }

    /// Returns the first thing that was found broken, if any. Nothing is looked
    /// for: before the first question there is none.
    pub fn problem(&self) -> Option<Error> {
        self.main
            .parts
            .get()
            .and_then(|parts| parts.problem.clone())
            .or_else(|| lock(&self.problem).clone())
    }

    /// Asks the module's name section; if it has none, that of its external
    /// debug file.
    fn in_names<'a, T>(
        &'a self,
        index: ModuleIndex,
        ask: impl Fn(&'a Names, &'a [u8]) -> Option<T>,
    ) -> Option<T> {
        let ask = |file: &'a File, module: &'a Module| {
            let names = module.names(&file.bytes);
            self.note(names.problem.as_ref());
            ask(names, file.bytes.all())
        };
        let module = self.main.module(index)?;
        if module.sections.name.is_some() {
            return ask(&self.main, module);
        }
        let (file, other) = self.external_module(module, index)?;
        ask(file, other)
    }

    fn note(&self, problem: Option<&Error>) {
        if let Some(error) = problem {
            lock(&self.problem).get_or_insert_with(|| error.clone());
        }
    }
}

impl fmt::Debug for Symbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Symbols")
            .field("bytes", &self.main.bytes)
            .field("problem", &self.problem())
            .finish_non_exhaustive()
    }
}

fn read<T>(of: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    of.read().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers an answer.
fn keep<K: std::hash::Hash + Eq, V>(answers: &RwLock<HashMap<K, V>>, key: K, value: V) {
    let mut answers = answers.write().unwrap_or_else(PoisonError::into_inner);
    if answers.len() >= MAX_KEPT {
        answers.clear();
    }
    answers.insert(key, value);
}
