//! A sampler's threads, and the code that their handlers see.

use super::handler::{Shared, View};
use super::thread::ThreadState;
use crate::CodeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmscope_walk::host::HostObjects;

/// The threads and the code. Never locked by a handler.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) threads: Vec<Arc<ThreadState>>,
    pub(crate) next: u64,
    /// Of the view that handlers see now.
    generation: u64,
    pub(crate) code: CodeMap,
    pub(crate) host: Arc<HostObjects>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            threads: Vec::new(),
            next: 0,
            generation: 1,
            code: CodeMap::default(),
            host: Arc::new(HostObjects::load()),
        }
    }

    /// Returns what handlers are to see now.
    pub(crate) fn view(&self) -> View {
        View {
            generation: self.generation,
            guests: self.code.clone(),
            host: self.host.clone(),
        }
    }

    /// Makes the code and the host objects what handlers see, and waits until none
    /// sees what was there before.
    pub(crate) fn publish(&mut self, shared: &Shared) {
        self.generation += 1;
        let slots = self.threads.iter().map(|thread| &thread.slot);
        drop(shared.code.replace(self.view(), slots));
    }
}
