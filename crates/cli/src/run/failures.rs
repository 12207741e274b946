//! Keeps why a guest failed, while there still is its store.

use std::sync::{Arc, Mutex, PoisonError};
use wasmscope::{Explainer, Failure};
use wasmtime::Store;
use wasmtime_wasi::I32Exit;

/// Waits for a guest to fail.
#[derive(Clone, Debug)]
pub(crate) struct Failures {
    explainer: Explainer,
    /// Whether the engine's epoch stops the guest.
    has_deadline: bool,
    seen: Arc<Mutex<Option<Failure>>>,
}

impl Failures {
    /// Waits for a guest that `explainer` knows.
    pub(crate) fn new(explainer: Explainer, has_deadline: bool) -> Self {
        Self {
            explainer,
            has_deadline,
            seen: Arc::default(),
        }
    }

    /// Returns why the guest failed, if it did.
    pub(crate) fn take(&self) -> Option<Failure> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.take()
    }

    /// Prepares a store.
    pub(super) fn store<T: 'static>(&self, store: &mut Store<T>) {
        if self.has_deadline {
            store.set_epoch_deadline(1);
        }
    }

    /// Runs what calls the guest. An exit of the guest's own is no failure.
    pub(super) fn guard<T: 'static, R>(
        &self,
        store: &mut Store<T>,
        run: impl FnOnce(&mut Store<T>) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<R> {
        let result = run(store);
        if let Err(error) = &result
            && !error.is::<I32Exit>()
        {
            let failure = self.explainer.explain(error);
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            *seen = Some(failure);
        }
        result
    }
}
