//! What the hooks, modules and instances of one [`Listening`](super::Listening) share.

use super::component::ComponentModules;
use super::module::ListenedModule;
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use wasmscope_instrument::Exceptions;
use wasmscope_listen::Factory;

/// Tells the status of an error that is the guest's own exit.
pub(super) type ExitStatus = dyn Fn(&wasmtime::Error) -> Option<i32> + Send + Sync;

/// What hooks, modules and instances of one [`Listening`] share.
pub(super) struct Shared {
    /// Ends every reserved name, so that no guest can import it.
    pub(super) suffix: Arc<str>,
    pub(super) factory: Arc<dyn Factory>,
    pub(super) exceptions: Exceptions,
    pub(super) switches: bool,
    pub(super) guarded_exports: bool,
    pub(super) exit_status: Box<ExitStatus>,
    pub(super) next_key: AtomicU64,
    pub(super) modules: Mutex<HashMap<u64, Weak<ListenedModule>>>,
    pub(super) components: Mutex<HashMap<u64, Weak<ComponentModules>>>,
    pub(super) component_memory: bool,
    pub(super) component_globals: bool,
}

impl Shared {
    pub(super) fn component(&self, key: u64) -> Option<Arc<ComponentModules>> {
        self.components().get(&key)?.upgrade()
    }

    pub(super) fn components(&self) -> MutexGuard<'_, HashMap<u64, Weak<ComponentModules>>> {
        self.components
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn module(&self, key: u64) -> Option<Arc<ListenedModule>> {
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.get(&key)?.upgrade()
    }
}
