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
mod candidates;
mod deferred;
mod definition;
mod hooks;
mod kept;

pub(super) use awaited::Awaited;
pub(super) use candidates::Candidates;
pub(super) use deferred::replay_here;
pub(super) use kept::Kept;

use super::binary::Binary;
use super::choice::Choice;
use super::module::{ListenedModule, Parts};
use super::own_memory::is_one_too_many;
use super::{Listening, Shared, can_be_heard, current};
use crate::Error;
use crate::guest::{Bytes, Compiled, CompiledFunction, Origin};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmscope_address::ModuleIndex;
use wasmscope_instrument::Options;
use wasmscope_instrument::component::{self as instrument, Instantiation, RewrittenModule};
use wasmscope_listen::{Definition, Factory};
use wasmtime::component::{Component, Linker};
use wasmtime::{AsContextMut, Engine};

impl Listening {
    /// As [`compile`](Self::compile), for components: the functions of their core modules,
    /// and the functions that they import and export, by their WIT names.
    ///
    /// A function that a component imports is heard where the component calls it, once: as
    /// the component's ([`Definition::component`]) if the factory listens to that, and not also
    /// as the function that a core module imports, by whatever name. Typed values come from
    /// [`Call::component_params`](wasmscope_listen::Call::component_params) and its like.
    ///
    /// # What differs from core modules
    ///
    /// - Each store has one core instance more, of a module that does nothing. Where the
    ///   store has no room for it, [`Error::Anchor`] ends the instantiation.
    /// - Memories and globals of an instance can be read with
    ///   [`component_memory`](super::ListeningBuilder::component_memory) and
    ///   [`component_globals`](super::ListeningBuilder::component_globals). A component
    ///   function's memory can always be.
    /// - The engine lets nothing be called from `realloc` and `post-return`. Calls there are
    ///   told without frames, and say so
    ///   ([`Call::is_deferred`](wasmscope_listen::Call::is_deferred)): ahead of the next event
    ///   of the component instance, where a scope or the call hook says that the host has the
    ///   store back, or by [`tell_deferred`](Self::tell_deferred), whichever is first. What no
    ///   such thing follows before the store is dropped is not told. Of which task they were
    ///   is not known: while other tasks have calls open they have no parents but each other,
    ///   else the newest open call is their parent, also where that is of another task than
    ///   one that is over or has nothing open that is listened to.
    /// - On fibers, calls of different tasks nest apart: no task's calls are the parents of
    ///   another's, but for what is told later, as above. What a task left open that failed,
    ///   or was dropped, is closed with the scope that it ran in (see
    ///   [`guard_async`](Self::guard_async)), with the next task on the same fiber, or with
    ///   the store.
    ///
    /// # Errors
    ///
    /// As [`compile`](Self::compile), and [`Error::ComponentSetting`] with guarded exports;
    /// [`Error::OwnMemory`] when the engine has no room for the memory more that each module
    /// has with [`switches`](super::ListeningBuilder::switches). [`Error::Instrument`] too when a core module or a component
    /// that the component hands out, or takes in, has a probe.
    pub fn compile_component(
        &self,
        engine: &Engine,
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
    ) -> Result<ListenedComponent, Error> {
        self.compile_component_probed(engine, bytes, |function| {
            self.shared.factory.listener(function).is_some()
        })
    }

    /// As [`compile_component`](Self::compile_component), with probes in the functions that
    /// `probed` says.
    ///
    /// # Errors
    ///
    /// As [`compile_component`](Self::compile_component).
    pub fn compile_component_probed(
        &self,
        engine: &Engine,
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
        probed: impl Fn(&Definition) -> bool + Sync,
    ) -> Result<ListenedComponent, Error> {
        if self.shared.guarded_exports {
            return Err(Error::ComponentSetting {
                setting: "guarded_exports",
            });
        }
        can_be_heard(engine, String::new)?;
        let key = self.shared.next_key.fetch_add(1, Ordering::Relaxed);
        let listened = compile(&self.shared, engine, bytes, key, probed)?;
        self.shared.add_component(key, &listened);
        Ok(listened)
    }

    /// As [`add_to_linker`](Self::add_to_linker), for components.
    ///
    /// # Errors
    ///
    /// When the linker has it already.
    pub fn add_to_component_linker<T: 'static>(
        &self,
        linker: &mut Linker<T>,
    ) -> wasmtime::Result<()> {
        hooks::define(&self.shared, linker)
    }

    /// Tells listeners of the calls within `realloc` and `post-return` of the store's
    /// components that they were not told of yet. For who calls components without a scope,
    /// after the last call: [`guard`](Self::guard) and its like do the same.
    pub fn tell_deferred<S>(&self, store: &mut S)
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let store = store.as_context_mut();
        current::with(store, |calls, reach| calls.tell_kept(reach));
    }

    /// As [`instantiate`](Self::instantiate), for components: `instantiate` gives whatever the
    /// embedder's bindings make of one.
    ///
    /// # Errors
    ///
    /// Those of `instantiate`.
    pub fn instantiate_component<S, R>(
        &self,
        store: &mut S,
        factory: impl Factory + 'static,
        instantiate: impl FnOnce(&mut S) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<R>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let choice = Choice::begin(store, factory);
        instantiate(choice.store)
    }

    /// As [`instantiate_component`](Self::instantiate_component), for guests that run on
    /// fibers.
    ///
    /// # Errors
    ///
    /// Those of `instantiate`.
    pub async fn instantiate_component_async<S, R>(
        &self,
        store: &mut S,
        factory: impl Factory + 'static,
        instantiate: impl AsyncFnOnce(&mut S) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<R>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let choice = Choice::begin(store, factory);
        instantiate(choice.store).await
    }
}

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

    /// As [`Listened::switch`](super::Listened::switch). All functions are on while the start
    /// functions of core modules run.
    pub fn switch(&self, wanted: impl Fn(&Definition) -> Option<bool>) {
        for module in self.modules.modules.iter().chain(&self.modules.around) {
            module.want(&wanted);
        }
        current::ask_for_attention();
    }

    /// As [`Listened::apply`](super::Listened::apply).
    pub fn apply<T: 'static>(&self, mut store: impl AsContextMut<Data = T>) {
        current::with(store.as_context_mut(), |calls, reach| calls.switch(reach));
    }

    /// As [`Listened::unheard`](super::Listened::unheard).
    #[must_use]
    pub fn unheard(&self) -> u64 {
        let modules = self.modules.modules.iter().chain(&self.modules.around);
        let unheard = modules.map(|module| module.unheard.load(Ordering::Relaxed));
        unheard.sum()
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
    /// What its instances are known by.
    key: u64,
    binary: Arc<Binary>,
    /// All that were compiled, by the numbers that the engine gives them; none for those that
    /// are not listened to.
    compiled: Vec<Option<Arc<ListenedModule>>>,
    /// Those of the original.
    pub(super) modules: Vec<Arc<ListenedModule>>,
    /// What stands around functions that are lifted and lowered.
    around: Vec<Arc<ListenedModule>>,
    /// By the number of what is instantiated: what its instances are of.
    instantiations: HashMap<u32, Instantiated>,
    /// Events that were not told.
    lost: AtomicU64,
}

/// What is instantiated in a component.
struct Instantiated {
    module: Arc<ListenedModule>,
    /// The probes on functions that it imports here and that are heard as what the component
    /// lowers.
    told_elsewhere: Vec<usize>,
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
fn compile(
    shared: &Shared,
    engine: &Engine,
    bytes: impl AsRef<[u8]> + Send + Sync + 'static,
    key: u64,
    probed: impl Fn(&Definition) -> bool + Sync,
) -> Result<ListenedComponent, Error> {
    let bytes = Arc::new(bytes);
    let original = instrument::Component::parse((*bytes).as_ref())?;
    let candidates = Candidates::of(&original);
    let options = Options {
        suffix: shared.suffix.to_string(),
        key,
        exceptions: shared.exceptions,
        switches: shared.switches,
        expose: true,
        show_globals: shared.component_globals,
        ..Options::default()
    };
    let rewritten = original.rewrite(&options, &|candidate| {
        candidates.is_probed(candidate, &probed)
    })?;
    let component = Component::new(engine, &rewritten.wasm).map_err(|source| {
        let memories = original.modules().iter();
        let mut memories = memories.map(|nested| nested.module.memories());
        if shared.switches && memories.any(|count| is_one_too_many(engine, count)) {
            Error::OwnMemory(source)
        } else {
            Error::Engine(source)
        }
    })?;

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
                    shown_globals: definition::shown_globals(&nested.module)?,
                    definitions: candidates.core[module.index].clone(),
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
                    Some((
                        Arc::clone(&candidates.functions[*function]),
                        binary.code_of(code)?,
                    ))
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
    let is_heard = |function: usize| {
        let function = candidates.functions.get(function);
        function.is_some_and(|function| {
            let mut heard = around.iter().flat_map(|module| &module.probed);
            heard.any(|heard| Arc::ptr_eq(heard, function))
        })
    };
    let instantiations = rewritten.instantiations.iter();
    let instantiations = instantiations.filter_map(|(number, instantiation)| {
        let (Instantiation::Core { module, .. } | Instantiation::Functions { module, .. }) =
            instantiation;
        let module = made.get(*module)?.clone()?;
        let is_told_elsewhere = |definition: &Definition| match instantiation {
            Instantiation::Core { lowered, .. } => {
                let function = lowered.get(&definition.index);
                function.is_some_and(|function| is_heard(*function))
            }
            Instantiation::Functions { .. } => false,
        };
        let probes = module.probed.iter().enumerate();
        let elsewhere = probes.filter(|(_, definition)| is_told_elsewhere(definition));
        let told_elsewhere = elsewhere.map(|(probe, _)| probe).collect();
        let instantiated = Instantiated {
            module,
            told_elsewhere,
        };
        Some((*number, instantiated))
    });
    let instantiations = instantiations.collect();
    let modules = Arc::new(ComponentModules {
        key,
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
    fn add_component(&self, key: u64, component: &ListenedComponent) {
        let mut components = self.components();
        components.retain(|_, component| component.strong_count() > 0);
        components.insert(key, Arc::downgrade(&component.modules));
    }
}
