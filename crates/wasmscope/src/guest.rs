//! What an embedder says about a guest when it registers it.

use crate::{Listened, ListenedComponent};
use std::fmt;
use std::sync::Arc;
use wasmscope_address::ModuleIndex;
use wasmscope_instrument::Map;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

/// A guest to profile: compiled code, a name, and what is needed for source lines.
///
/// ```no_run
/// # fn main() -> wasmtime::Result<()> {
/// use wasmscope::Guest;
/// # let engine = wasmtime::Engine::default();
///
/// let bytes = std::fs::read("plugin.wasm")?;
/// let module = wasmtime::Module::new(&engine, &bytes)?;
/// // With the bytes there are source lines and names of host calls; without them
/// // there are names of functions only.
/// let guest = Guest::module("plugin", &module).bytes(bytes);
/// # drop(guest); Ok(())
/// # }
/// ```
pub struct Guest {
    pub(crate) name: String,
    pub(crate) code: Compiled,
    pub(crate) bytes: Option<Arc<Bytes>>,
    pub(crate) debug_bytes: Option<Arc<Bytes>>,
    pub(crate) debug_loader: Option<DebugLoader>,
    pub(crate) hidden: bool,
    /// Where the code of each compiled module came from; none where nothing was rewritten.
    pub(crate) origins: Option<Vec<Option<Origin>>>,
}

/// The module that a rewritten one came from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// Which module of the original binary it is.
    pub(crate) module: ModuleIndex,
    pub(crate) map: Map,
}

pub(crate) type Bytes = dyn AsRef<[u8]> + Send + Sync;
type DebugLoader = Box<dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync>;

/// Shares the owner of some bytes.
pub(crate) struct SharedBytes(pub(crate) Arc<Bytes>);

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// The engine's own handle on compiled code; holding it keeps the code mapped.
#[derive(Clone)]
pub(crate) enum Compiled {
    Module(Module),
    Component(Component),
}

impl Guest {
    /// Describes a core module. `name` is how the profile calls it.
    pub fn module(name: impl Into<String>, module: &Module) -> Self {
        Self::new(name.into(), Compiled::Module(module.clone()))
    }

    /// Describes a component, all its core modules included.
    pub fn component(name: impl Into<String>, component: &Component) -> Self {
        Self::new(name.into(), Compiled::Component(component.clone()))
    }

    /// Describes a module that was rewritten for listeners, as the original that people
    /// know: with its bytes, its functions, its offsets and its lines.
    pub fn listened(name: impl Into<String>, listened: &Listened) -> Self {
        let (bytes, origin) = listened.original();
        Self {
            bytes: Some(bytes),
            origins: Some(vec![origin]),
            ..Self::module(name, listened.module())
        }
    }

    /// Describes a component that was rewritten for listeners, as [`listened`](Self::listened)
    /// does a module.
    pub fn listened_component(name: impl Into<String>, listened: &ListenedComponent) -> Self {
        let (bytes, origins) = listened.original();
        Self {
            bytes: Some(bytes),
            origins: Some(origins),
            ..Self::component(name, listened.component())
        }
    }

    fn new(name: String, code: Compiled) -> Self {
        Self {
            name,
            code,
            bytes: None,
            debug_bytes: None,
            debug_loader: None,
            hidden: false,
            origins: None,
        }
    }

    /// Adds the binary that the code was compiled from: the very bytes, since
    /// offsets into them are looked up. They are read when a profile is made, not
    /// before, and may be a memory map.
    #[must_use]
    pub fn bytes(mut self, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        self.bytes = Some(Arc::new(bytes));
        self
    }

    /// Adds a second binary that holds the DWARF sections of a stripped guest.
    #[must_use]
    pub fn debug_bytes(mut self, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        self.debug_bytes = Some(Arc::new(bytes));
        self
    }

    /// Adds a way to find that second binary by the path or URL that the guest's
    /// `external_debug_info` section names. The guest chose that text: a loader for
    /// guests that are not trusted must not open whatever file it names.
    #[must_use]
    pub fn debug_loader(
        mut self,
        loader: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.debug_loader = Some(Box::new(loader));
        self
    }

    /// Keeps this guest's frames out of every profile. Registering it all the same
    /// lets the walker pass through it exactly.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest")
            .field("name", &self.name)
            .field("has_bytes", &self.bytes.is_some())
            .field("hidden", &self.hidden)
            .finish_non_exhaustive()
    }
}

/// A function's place in a compiled text.
#[derive(Clone, Debug)]
pub(crate) struct CompiledFunction {
    pub(crate) module: u32,
    pub(crate) index: u32,
    pub(crate) name: Option<String>,
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Compiled {
    pub(crate) fn engine(&self) -> &Engine {
        match self {
            Compiled::Module(module) => module.engine(),
            Compiled::Component(component) => component.engine(),
        }
    }

    /// Returns the machine code; its address is where it runs.
    pub(crate) fn text(&self) -> &[u8] {
        match self {
            Compiled::Module(module) => module.text(),
            Compiled::Component(component) => component.text(),
        }
    }

    /// Returns all functions, sorted by their place. What lies between them are
    /// trampolines.
    pub(crate) fn functions(&self) -> Vec<CompiledFunction> {
        let compiled = |function: wasmtime::ModuleFunction| CompiledFunction {
            module: function.module.as_u32(),
            index: function.index.as_u32(),
            name: function.name,
            start: u32::try_from(function.offset).unwrap_or(u32::MAX),
            len: u32::try_from(function.len).unwrap_or(0),
        };
        let mut functions: Vec<_> = match self {
            Compiled::Module(module) => module.functions().map(compiled).collect(),
            Compiled::Component(component) => component.functions().map(compiled).collect(),
        };
        functions.sort_unstable_by_key(|function| function.start);
        functions
    }

    /// Calls `entry` for each entry of the address map, in order: from this text
    /// offset on, code was compiled from that offset of the binary, if from any.
    pub(crate) fn for_each_address(&self, mut entry: impl FnMut(u32, Option<u32>)) {
        let mut entry = |(text, wasm): (usize, Option<u32>)| {
            entry(u32::try_from(text).unwrap_or(u32::MAX), wasm);
        };
        match self {
            Compiled::Module(module) => {
                if let Some(map) = module.address_map() {
                    map.for_each(&mut entry);
                }
            }
            Compiled::Component(component) => {
                if let Some(map) = component.address_map() {
                    map.for_each(&mut entry);
                }
            }
        }
    }
}
