//! The binaries that a dump's frames are named from.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use wasmscope_address::{FuncIndex, ModuleIndex, WasmOffset};
use wasmscope_coredump::{CodeOffset, CoreDump, Thread};
use wasmscope_listen::InstanceId;
use wasmscope_symbolize::Symbols;

use crate::{Frame, FrameKind};

/// The binaries of the modules that a core dump speaks of, to name its frames from.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use wasmscope::core_dump::{Modules, model::CoreDump};
///
/// let file = std::fs::read("guest.coredump")?;
/// let dump = CoreDump::read(&file)?;
/// let mut modules = Modules::new();
/// modules.add("guest.wasm", std::fs::read("target/guest.wasm")?);
/// for thread in &dump.threads {
///     for frame in modules.frames(&dump, thread) {
///         println!("{} {:?}", frame.name, frame.source);
///     }
/// }
/// # Ok(()) }
/// ```
///
/// # Which module is which
///
/// A dump knows its modules by name. The first of these that finds exactly one core module
/// among all files decides:
///
/// 1. The name that a file was added under, or that with `#` and the number of a core module
///    in it, as dumps of this library name the modules of components.
/// 2. The same, as file names without their folders.
/// 3. The name that a core module has in its own name section, which is what wasmtime's
///    dumps have.
/// 4. Where the dump has one module, and the files have one: that.
///
/// Frames of other modules have their function's number for a name.
#[derive(Default)]
pub struct Modules {
    files: Vec<(String, Symbols)>,
}

/// A core module of one of the files.
#[derive(Clone, Copy)]
struct Found<'a> {
    symbols: &'a Symbols,
    module: ModuleIndex,
}

impl Modules {
    /// Begins with none.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the binary of a module or component under a name: mostly its path.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
    ) {
        self.add_symbols(name, Symbols::new(bytes));
    }

    /// Adds a binary whose debug information may be elsewhere.
    pub fn add_symbols(&mut self, name: impl Into<String>, symbols: Symbols) {
        self.files.push((name.into(), symbols));
    }

    /// Returns the binary that a module of a dump was compiled from, and which core module
    /// of it that is.
    #[must_use]
    pub fn find(&self, dump: &CoreDump<'_>, module: u32) -> Option<(&Symbols, ModuleIndex)> {
        let found = self.find_module(dump, module)?;
        Some((found.symbols, found.module))
    }

    /// Names the frames of a thread, newest first, one for each that the dump has.
    ///
    /// Of each frame there is said what is known: the name of its module as the dump has it,
    /// its instance by its number in the dump, and with the module's binary the function's
    /// name, the offset in that binary, and source lines. There is never a `pc`.
    #[must_use]
    pub fn frames(&self, dump: &CoreDump<'_>, thread: &Thread<'_>) -> Vec<Frame> {
        let mut modules: HashMap<Option<u32>, NamedModule<'_>> = HashMap::new();
        let mut known: HashMap<(Option<u32>, FuncIndex, CodeOffset), Frame> = HashMap::new();
        let frames = thread.frames.iter().map(|frame| {
            let key = (frame.instance, frame.function, frame.code_offset);
            let named = known.entry(key).or_insert_with(|| {
                let module = modules.entry(frame.instance).or_insert_with(|| {
                    let name = dump.module_name(frame).map(Arc::from);
                    let index = match dump.instance(frame) {
                        Some(instance) => Some(instance.module),
                        // Then the dump has one module, and no instances.
                        None => name.is_some().then_some(0),
                    };
                    // Files without modules, from before the convention had any.
                    let nameless = dump.modules.is_empty() && dump.instances.is_empty();
                    let found = match index {
                        Some(index) => self.find_module(dump, index),
                        None => nameless.then(|| self.only()).flatten(),
                    };
                    NamedModule { name, found }
                });
                let instance = frame.instance.map(|index| InstanceId(index.into()));
                module.frame(instance, frame.function, frame.code_offset)
            });
            named.clone()
        });
        frames.collect()
    }

    fn find_module(&self, dump: &CoreDump<'_>, module: u32) -> Option<Found<'_>> {
        let name = dump.modules.get(module as usize)?;
        let by_name = |same: &dyn Fn(&str, &str) -> bool| {
            let files = self.files.iter();
            let found = files.filter_map(|(file, symbols)| {
                let module = numbered(name, |name| same(file, name))?;
                let found = Found { symbols, module };
                ((module.0 as usize) < symbols.modules()).then_some(found)
            });
            only(found)
        };
        let base = |path: &str| path.rsplit(['/', '\\']).next().unwrap_or(path).to_owned();
        by_name(&|file, name| file == name)
            .or_else(|| by_name(&|file, name| base(file) == base(name)))
            .or_else(|| {
                let named = self.all().filter(|found| {
                    let own = found.symbols.module_name(found.module);
                    own.is_some_and(|own| own == **name)
                });
                only(named)
            })
            .or_else(|| (dump.modules.len() == 1).then(|| self.only()).flatten())
    }

    fn only(&self) -> Option<Found<'_>> {
        only(self.all())
    }

    fn all(&self) -> impl Iterator<Item = Found<'_>> {
        self.files.iter().flat_map(|(_, symbols)| {
            let modules = u32::try_from(symbols.modules()).unwrap_or(u32::MAX);
            (0..modules).map(move |module| Found {
                symbols,
                module: ModuleIndex(module),
            })
        })
    }
}

/// Returns which core module of a file a name means: the first when `same` says that the name
/// is the file's, another when it is that with a number.
fn numbered(name: &str, same: impl Fn(&str) -> bool) -> Option<ModuleIndex> {
    if same(name) {
        return Some(ModuleIndex(0));
    }
    let (name, number) = name.rsplit_once('#')?;
    same(name).then_some(ModuleIndex(number.parse().ok()?))
}

/// Returns what an iterator has, if that is one thing.
fn only<T>(mut things: impl Iterator<Item = T>) -> Option<T> {
    let first = things.next()?;
    things.next().is_none().then_some(first)
}

/// A module of a dump, with its binary if that was found.
struct NamedModule<'a> {
    name: Option<Arc<str>>,
    found: Option<Found<'a>>,
}

impl NamedModule<'_> {
    fn frame(
        &self,
        instance: Option<InstanceId>,
        function: FuncIndex,
        code_offset: CodeOffset,
    ) -> Frame {
        let mut frame = Frame {
            kind: FrameKind::Guest,
            module: self.name.clone(),
            instance,
            function: Some(function),
            name: Arc::from(format!("<wasm function {function}>")),
            pc: None,
            offset: None,
            source: Arc::from([]),
        };
        let Some(Found { symbols, module }) = self.found else {
            return frame;
        };
        frame.name = symbols.function_name(module, function).display;
        let body = symbols.body(module, function);
        frame.offset = body.and_then(|body| offset_in(&body, code_offset));
        if let Some(offset) = frame.offset {
            frame.source = symbols.frames(module, function, offset);
            // Without a name section, DWARF may know better.
            if let Some(last) = frame.source.last() {
                frame.name = Arc::clone(&last.function);
            }
        }
        frame
    }
}

/// Returns where in its binary an instruction of a body is; `None` when that is not known or
/// past the body, as in a dump of another binary.
fn offset_in(body: &Range<WasmOffset>, code_offset: CodeOffset) -> Option<WasmOffset> {
    let offset = WasmOffset(body.start.0.checked_add(code_offset.known()?)?);
    body.contains(&offset).then_some(offset)
}

impl fmt::Debug for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.files.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}
