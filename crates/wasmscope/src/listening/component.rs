//! Listeners on the calls within components, and on what they import and export.
//!
//! ```text
//!   component                                                     host
//!   core instance --before--> its hooks, a small core instance --> lowered hook
//!     its memory  ------------------ look, where it is wanted ---> listener
//!   realloc, post-return --> kept in a memory of the component --> with the next event
//!   lift, lower --> wrapper --before--> ...
//! ```
//!
//! How a component is rewritten is told in `wasmscope-instrument`. What differs from core
//! modules is how a hook finds out who called it: it is given a store, but no instance.

mod anchor;
mod attach;
mod awaited;
mod deferred;
mod definition;
mod hooks;

pub(super) use awaited::Awaited;
pub(super) use hooks::define;

use super::Shared;
use super::binary::Binary;
use super::module::{ListenedModule, Parts};
use crate::Error;
use crate::guest::{Bytes, Compiled, CompiledFunction, Origin};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmscope_address::ModuleIndex;
use wasmscope_instrument::Options;
use wasmscope_instrument::component::{
    self as instrument, Candidate, Direction, Instantiation, RewrittenModule,
};
use wasmscope_listen::Definition;
use wasmtime::Engine;
use wasmtime::component::Component;

/// A component with probes, compiled.
///
/// Has to be kept as long as the component is instantiated; instances that exist keep what
/// they need.
#[derive(Clone, Debug)]
pub struct ListenedComponent {
    component: Component,
    modules: Arc<ComponentModules>,
}

impl ListenedComponent {
    /// Returns the compiled component, to be instantiated as any other.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// Visits the definitions of the functions that have a probe: those of its core modules,
    /// one after the other, and then what it lifts and lowers.
    pub fn probed(&self) -> impl Iterator<Item = &Definition> {
        let modules = self.modules.modules.iter().chain(&self.modules.around);
        modules.flat_map(|module| module.probed.iter().map(|definition| &**definition))
    }

    /// Returns the original's bytes, and how to get to it, by module of what was compiled.
    pub(crate) fn original(&self) -> (Arc<Bytes>, Vec<Option<Origin>>) {
        let origins = self.modules.compiled.iter();
        let origins = origins.map(|module| module.as_ref().and_then(|module| module.origin()));
        (self.modules.binary.bytes(), origins.collect())
    }

    /// Returns how many events within `realloc` and `post-return` were not told, in all
    /// stores, as there was no room to keep them until they could be.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.modules.lost.load(Ordering::Relaxed)
    }
}

/// The modules of one rewritten component.
pub(super) struct ComponentModules {
    binary: Arc<Binary>,
    /// All that were compiled, by the numbers that the engine gives them; none for those that
    /// are not listened to.
    compiled: Vec<Option<Arc<ListenedModule>>>,
    /// Those of the original.
    pub(super) modules: Vec<Arc<ListenedModule>>,
    /// What stands around functions that are lifted and lowered.
    around: Vec<Arc<ListenedModule>>,
    /// By the number of what is instantiated: what its instances are of.
    instantiations: HashMap<u32, Arc<ListenedModule>>,
    /// Events that were not told.
    lost: AtomicU64,
}

impl fmt::Debug for ComponentModules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentModules")
            .field("modules", &self.modules.len())
            .finish_non_exhaustive()
    }
}

impl ComponentModules {
    /// Tells whether a module is one of these.
    fn has(&self, module: &Arc<ListenedModule>) -> bool {
        let mut modules = self.modules.iter().chain(&self.around);
        modules.any(|known| Arc::ptr_eq(known, module))
    }
}

/// Rewrites a component and compiles it.
pub(super) fn compile(
    shared: &Shared,
    engine: &Engine,
    bytes: impl AsRef<[u8]> + Send + Sync + 'static,
    key: u64,
    probed: impl Fn(&Definition) -> bool + Sync,
) -> Result<ListenedComponent, Error> {
    let bytes = Arc::new(bytes);
    let original = instrument::Component::parse((*bytes).as_ref())?;
    let core: Vec<Vec<Arc<Definition>>> = original
        .modules()
        .iter()
        .map(|nested| super::definition::of(&nested.module))
        .collect();
    let functions = definition::of(&original);
    let lowered = original.functions().iter().filter_map(|function| {
        (function.direction == Direction::Import).then(|| {
            Some((
                function.interface.as_deref().unwrap_or("$root"),
                &**function.name.as_ref()?,
            ))
        })?
    });
    let lowered: HashSet<(&str, &str)> = lowered.collect();
    // An import of a module by the name of one of the component is that one. What is of no
    // interface goes by `$root` in core modules.
    let is_lowered = |definition: &Definition| {
        let import = definition.import.as_ref();
        import.is_some_and(|import| lowered.contains(&(&*import.module, &*import.name)))
    };
    let options = Options {
        suffix: shared.suffix.to_string(),
        key,
        exceptions: shared.exceptions,
        expose: true,
        ..Options::default()
    };
    let rewritten = original.rewrite(&options, &|candidate| match candidate {
        Candidate::Core { module, function } => core
            .get(module)
            .and_then(|definitions| definitions.get(function.0 as usize))
            .is_some_and(|definition| !is_lowered(definition) && probed(definition)),
        Candidate::Function(function) => functions
            .get(function)
            .is_some_and(|definition| probed(definition)),
    })?;
    let component = Component::new(engine, &rewritten.wasm).map_err(Error::Engine)?;

    let compiled = Compiled::Component(component.clone());
    let mut code = compiled.functions();
    let is_original = |function: &CompiledFunction| {
        let module = rewritten.modules.get(function.module as usize);
        matches!(module, Some(RewrittenModule::Original(_)))
    };
    let kept: Arc<Bytes> = bytes.clone();
    let binary = Binary::new(compiled, None, kept)?;
    let binary = Arc::new(binary.with_originals(&code, is_original));
    code.sort_by_key(|function| function.module);
    let code_of = |module: usize| {
        let of = |known: &CompiledFunction| (known.module as usize).cmp(&module);
        let start = code.partition_point(|known| of(known).is_lt());
        let end = code.partition_point(|known| of(known).is_le());
        &code[start..end]
    };

    let mut modules = Vec::new();
    let mut around = Vec::new();
    let mut made = Vec::new();
    for (number, module) in rewritten.modules.into_iter().enumerate() {
        made.push(match module {
            RewrittenModule::Original(module) => {
                let nested = &original.modules()[module.index];
                let parts = Parts {
                    index: ModuleIndex(module.index as u32),
                    name: nested.module.name().map(str::to_owned),
                    suffix: Arc::clone(&shared.suffix),
                    memories: nested.module.memories(),
                    globals: nested.module.globals(),
                    definitions: core[module.index].clone(),
                    probed: module.probes,
                    map: module.map,
                };
                let module = ListenedModule::new(&binary, code_of(number), parts)?;
                modules.push(Arc::clone(&module));
                Some(module)
            }
            RewrittenModule::Wrapper { functions: wrapped } => {
                // The functions that it has of its own are in the order of its probes.
                let mut own: Vec<_> = code_of(number).iter().collect();
                own.sort_by_key(|function| function.index);
                let has_memory =
                    |function: &usize| original.functions()[*function].memory.is_some();
                let probes = wrapped.iter().zip(own).filter_map(|(function, code)| {
                    Some((Arc::clone(&functions[*function]), binary.code_of(code)?))
                });
                let module = ListenedModule::around(
                    &binary,
                    Arc::clone(&shared.suffix),
                    wrapped.iter().any(has_memory),
                    probes,
                );
                around.push(Arc::clone(&module));
                Some(module)
            }
            RewrittenModule::Added => None,
        });
    }
    let instantiations = rewritten.instantiations.iter();
    let instantiations = instantiations.filter_map(|(number, instantiation)| {
        let (Instantiation::Core { module } | Instantiation::Functions { module, .. }) =
            instantiation;
        Some((*number, made.get(*module)?.clone()?))
    });
    let instantiations = instantiations.collect();
    let modules = Arc::new(ComponentModules {
        instantiations,
        binary,
        compiled: made,
        modules,
        around,
        lost: AtomicU64::new(0),
    });
    Ok(ListenedComponent { component, modules })
}

impl Shared {
    /// Makes a component known to its instances.
    pub(super) fn add_component(&self, key: u64, component: &ListenedComponent) {
        let mut components = self.components();
        components.retain(|_, component| component.strong_count() > 0);
        components.insert(key, Arc::downgrade(&component.modules));
    }
}
