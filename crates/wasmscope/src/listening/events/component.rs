//! Streams of the events of components.

#![expect(unsafe_code, reason = "believes an instance where its memory is")]

use super::super::component::Candidates;
use super::super::own_memory::is_one_too_many;
use super::super::shared_memory::{SharedCount, SharedMemory};
use super::buffer::Buffer;
use super::store_events::{self, Attached, UNKNOWN};
use super::{EventStream, Shared};
use crate::Error;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use wasmscope_instrument::component::interface::{import_name, losses_at};
use wasmscope_instrument::component::{
    self as instrument, Instantiation, RewrittenModule, SharedLayout,
};
use wasmscope_instrument::hooks::Hook;
use wasmscope_listen::Definition;
use wasmtime::component::{Component, Linker, WasmList};
use wasmtime::{Engine, StoreContextMut};

impl EventStream {
    /// As [`compile`](Self::compile), for components: the functions of their core modules, and
    /// those that they import and export, by their WIT names.
    ///
    /// Each core instance within has a buffer of its own, and is an instance to
    /// [`Batch::instance`](super::Batch::instance); what stands around the functions that the
    /// component imports and exports too. An import that is wanted is kept as the component's,
    /// as in [`Listening::compile_component`](crate::Listening::compile_component); where its
    /// module is instantiated several times, with other things by that name, as the module's too.
    ///
    /// The engine lets nothing be called from `realloc` and `post-return`: a buffer that is
    /// full there is lost, and counted. So is one that is full before its instance has started.
    /// What is in the buffer of an instance whose start fails is lost and not counted.
    ///
    /// # Errors
    ///
    /// As [`compile`](Self::compile). [`Error::Instrument`] too when a core module or a component
    /// that the component hands out, or takes in, has a probe.
    pub fn compile_component(
        &self,
        engine: &Engine,
        bytes: impl AsRef<[u8]>,
    ) -> Result<StreamedComponent, Error> {
        let shared = &*self.shared;
        let original = instrument::Component::parse(bytes.as_ref())?;
        let candidates = Candidates::of(&original);
        let key = shared.next_key.fetch_add(1, Ordering::Relaxed);
        let options = shared.options(key);
        let rewritten = original.rewrite(&options, &|candidate| {
            candidates.is_probed(candidate, &|definition: &Definition| {
                (shared.wanted)(definition)
            })
        })?;
        let component = Component::new(engine, &rewritten.wasm).map_err(|source| {
            let memories = original.modules().iter();
            let mut memories = memories.map(|nested| nested.module.memories());
            if memories.any(|count| is_one_too_many(engine, count)) {
                Error::OwnMemory(source)
            } else {
                Error::Engine(source)
            }
        })?;
        let made: Vec<Arc<[Arc<Definition>]>> = rewritten
            .modules
            .iter()
            .map(|module| match module {
                RewrittenModule::Original(module) => {
                    let definitions = &candidates.core[module.index];
                    let probed = module.probes.iter();
                    let probed = probed.filter_map(|f| definitions.get(f.0 as usize).cloned());
                    probed.collect()
                }
                RewrittenModule::Wrapper { functions } => {
                    let functions = functions.iter();
                    let functions = functions.map(|f| Arc::clone(&candidates.functions[*f]));
                    functions.collect()
                }
                RewrittenModule::Added => Arc::default(),
            })
            .collect();
        let instantiations = rewritten.instantiations.iter();
        let instantiations = instantiations.filter_map(|(number, instantiation)| {
            let (Instantiation::Core { module, .. } | Instantiation::Functions { module, .. }) =
                instantiation;
            Some((*number, Arc::clone(made.get(*module)?)))
        });
        let modules = Arc::new(StreamedModules {
            instantiations: instantiations.collect(),
            probed: made.iter().flat_map(|probed| probed.to_vec()).collect(),
        });
        let mut components = shared
            .components
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        components.retain(|_, modules| modules.strong_count() > 0);
        components.insert(key, Arc::downgrade(&modules));
        Ok(StreamedComponent { component, modules })
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
        let mut instance = linker.instance(&import_name(&self.shared.suffix))?;
        let this = Arc::clone(&self.shared);
        instance.func_wrap(
            "attach",
            move |store: StoreContextMut<'_, T>,
                  (key, instantiation, events): (u64, u32, WasmList<u8>)| {
                Ok((attach(&this, store, key, instantiation, &events).unwrap_or(UNKNOWN),))
            },
        )?;
        let this = Arc::clone(&self.shared);
        instance.func_wrap(
            "share",
            move |store: StoreContextMut<'_, T>,
                  (key, instance, first): (u64, u32, WasmList<u8>)| {
                if this.streamed(key).is_some() {
                    share(&this, &store, instance, first.as_le_slice(&store));
                }
                Ok(())
            },
        )?;
        let this = Arc::clone(&self.shared);
        instance.func_wrap(
            &Hook::Flush.to_string(),
            move |store: StoreContextMut<'_, T>, (instance,): (u32,)| {
                store_events::take_full(&this, store, instance);
                Ok(())
            },
        )?;
        Ok(())
    }
}

/// Attaches an instance of a component with this key. Returns its number in its store.
fn attach<T: 'static>(
    shared: &Arc<Shared>,
    store: StoreContextMut<'_, T>,
    key: u64,
    instantiation: u32,
    events: &WasmList<u8>,
) -> Option<u32> {
    let modules = shared.streamed(key)?;
    let probed = modules.instantiations.get(&instantiation)?;
    let at = losses_at(instantiation) as usize;
    let count = events.as_le_slice(&store).get(at..)?.first_chunk()?;
    // SAFETY: who knows the component's key is the component as it was rewritten, and counts
    // there. The count is the store's, and used by who holds it.
    let untaken = unsafe { SharedCount::new(count) };
    let attached = Attached::new(Arc::clone(probed), Some(untaken));
    store_events::add(shared, store, Arc::new(attached))
}

/// Finds the buffer of an instance in the memory whose first bytes these are.
fn share<T: 'static>(shared: &Shared, store: &StoreContextMut<'_, T>, instance: u32, first: &[u8]) {
    if let Some(attached) = shared.attached(store, instance) {
        let layout = SharedLayout::new(Some(shared.events), attached.probes());
        // SAFETY: as above, with this layout.
        let memory = unsafe { SharedMemory::new(first, layout) };
        attached.keeps_in(Buffer::Shared(memory));
    }
}

impl Shared {
    fn streamed(&self, key: u64) -> Option<Arc<StreamedModules>> {
        let components = self
            .components
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        components.get(&key)?.upgrade()
    }
}

/// A component whose functions keep events, compiled.
///
/// Has to be kept as long as the component is instantiated; instances that exist keep what
/// they need. The events of instances that are made later are counted as lost.
#[derive(Clone)]
pub struct StreamedComponent {
    component: Component,
    modules: Arc<StreamedModules>,
}

/// What is known of the modules within a component.
pub(super) struct StreamedModules {
    /// The function of each probe, by the number of what is instantiated.
    instantiations: HashMap<u32, Arc<[Arc<Definition>]>>,
    probed: Vec<Arc<Definition>>,
}

impl StreamedComponent {
    /// Returns the compiled component, to be instantiated as any other.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// Returns the functions whose events are kept: those of the core modules, and of what the
    /// component imports and exports. The numbers that events have are a batch's own.
    #[must_use]
    pub fn probed(&self) -> &[Arc<Definition>] {
        &self.modules.probed
    }
}

impl fmt::Debug for StreamedComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedComponent")
            .field("probed", &self.probed().len())
            .finish_non_exhaustive()
    }
}
