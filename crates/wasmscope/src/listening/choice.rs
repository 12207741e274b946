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
        let factory: Arc<dyn Factory> = Arc::new(factory);
        let outer = self.choose(store, Some(factory));
        let result = instantiate(store);
        self.attach_chosen(store, &result, outer);
        result
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
        let factory: Arc<dyn Factory> = Arc::new(factory);
        let outer = self.choose(store, Some(factory));
        let result = instantiate(store).await;
        self.attach_chosen(store, &result, outer);
        result
    }

    /// Sets who chooses for instances that are attached from now on, and returns who did.
    pub(super) fn choose<S>(
        &self,
        store: &mut S,
        factory: Option<Arc<dyn Factory>>,
    ) -> Option<Arc<dyn Factory>>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        enter(store.as_context_mut());
        current::with(store.as_context_mut(), |calls, _| {
            std::mem::replace(&mut calls.factory, factory)
        })?
    }

    fn attach_chosen<S>(
        &self,
        store: &mut S,
        result: &wasmtime::Result<Instance>,
        outer: Option<Arc<dyn Factory>>,
    ) where
        S: AsContextMut,
        S::Data: 'static,
    {
        if let Ok(instance) = result {
            attach(&self.shared, &mut (*instance, store.as_context_mut()));
        }
        self.choose(store, outer);
    }
}
