//! Instances whose listeners another factory chooses.

use super::attach::{attach, enter};
use super::{Listening, current};
use std::sync::Arc;
use wasmscope_listen::Factory;
use wasmtime::{AsContextMut, Instance};

impl Listening {
    /// Instantiates a module whose listeners another factory chooses, among the functions
    /// that have probes.
    ///
    /// `instantiate` is what the embedder does to instantiate `module`, which includes
    /// running its start function.
    ///
    /// # Errors
    ///
    /// Those of `instantiate`.
    pub fn instantiate<S>(
        &self,
        store: &mut S,
        factory: impl Factory + 'static,
        instantiate: impl FnOnce(&mut S) -> wasmtime::Result<Instance>,
    ) -> wasmtime::Result<Instance>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let choice = Choice::begin(store, factory);
        let instance = instantiate(choice.store)?;
        attach(&self.shared, &mut (instance, choice.store.as_context_mut()));
        Ok(instance)
    }

    /// As [`instantiate`](Self::instantiate), for guests that run on fibers.
    ///
    /// # Errors
    ///
    /// Those of `instantiate`.
    pub async fn instantiate_async<S>(
        &self,
        store: &mut S,
        factory: impl Factory + 'static,
        instantiate: impl AsyncFnOnce(&mut S) -> wasmtime::Result<Instance>,
    ) -> wasmtime::Result<Instance>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let choice = Choice::begin(store, factory);
        let instance = instantiate(choice.store).await?;
        attach(&self.shared, &mut (instance, choice.store.as_context_mut()));
        Ok(instance)
    }
}

/// A factory chooses for a store's instances until this is dropped; then who did before does
/// again.
///
/// An instantiation that panics, or whose future is dropped, ends like any other.
pub(super) struct Choice<'a, S>
where
    S: AsContextMut,
    S::Data: 'static,
{
    pub(super) store: &'a mut S,
    outer: Option<Arc<dyn Factory>>,
}

impl<'a, S> Choice<'a, S>
where
    S: AsContextMut,
    S::Data: 'static,
{
    pub(super) fn begin(store: &'a mut S, factory: impl Factory + 'static) -> Self {
        enter(store.as_context_mut());
        let outer = choose(store, Some(Arc::new(factory)));
        Self { store, outer }
    }
}

impl<S> Drop for Choice<'_, S>
where
    S: AsContextMut,
    S::Data: 'static,
{
    fn drop(&mut self) {
        choose(self.store, self.outer.take());
    }
}

/// Sets who chooses for instances that are attached from now on, and returns who did.
fn choose<S>(store: &mut S, factory: Option<Arc<dyn Factory>>) -> Option<Arc<dyn Factory>>
where
    S: AsContextMut,
    S::Data: 'static,
{
    current::with(store.as_context_mut(), |calls, _| {
        std::mem::replace(&mut calls.factory, factory)
    })?
}
