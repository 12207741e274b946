//! Keeps why a guest failed, while there still is its store.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use wasmscope::core_dump::{self, Dumper};
use wasmscope::{Error, Explainer, Failure};
use wasmtime::Store;
use wasmtime_wasi::I32Exit;

/// Waits for a guest to fail.
#[derive(Clone, Debug)]
pub(crate) struct Failures {
    explainer: Explainer,
    /// Whether the engine's epoch stops the guest.
    has_deadline: bool,
    /// What takes a core dump, and where that goes.
    dumper: Option<(Dumper, PathBuf)>,
    /// Set before the failure is explained, which may take long.
    is_failed: Arc<AtomicBool>,
    seen: Arc<Mutex<Option<Seen>>>,
}

/// What is known of a failure.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) failure: Failure,
    /// Whether a core dump was written; `None` where none was asked for.
    pub(crate) dumped: Option<Result<(), Error>>,
}

impl Failures {
    /// Waits for a guest that `explainer` knows.
    pub(crate) fn new(explainer: Explainer, has_deadline: bool) -> Self {
        Self {
            explainer,
            has_deadline,
            dumper: None,
            is_failed: Arc::default(),
            seen: Arc::default(),
        }
    }

    /// Writes a core dump of the guest when it fails, in the name of a program.
    pub(crate) fn dump_to(mut self, program: &str, path: PathBuf) -> Self {
        let dumper = Dumper::new(program, &self.explainer);
        self.dumper = Some((dumper, path));
        self
    }

    /// Returns why the guest failed, if it did.
    pub(crate) fn take(&self) -> Option<Seen> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.take()
    }

    /// Tells whether the guest has failed, though its failure may not be explained yet.
    pub(crate) fn is_failed(&self) -> bool {
        self.is_failed.load(Ordering::Acquire)
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
            self.is_failed.store(true, Ordering::Release);
            let failure = self.explainer.explain(error);
            let dumped = self.dumper.as_ref().map(|(dumper, path)| {
                let dump = dumper.dump(store, error)?;
                core_dump::save(&dump, path)
            });
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            *seen = Some(Seen { failure, dumped });
        }
        result
    }
}
