//! An instance whose calls are listened to.

use super::guarded::Guards;
use super::module::ListenedModule;
use super::probe::Probe;
use super::reach::Reach;
use super::switches::Switches;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmscope_listen::{InstanceId, Value};
use wasmtime::{Extern, Global, Memory};

/// One instance of a module that was rewritten, in its store.
pub(super) struct Attached {
    pub(super) id: InstanceId,
    pub(super) module: Arc<ListenedModule>,
    /// By probe number; shared between instances that have the same factory.
    pub(super) probes: Arc<[Probe]>,
    pub(super) switches: Switches,
    pub(super) guards: Guards,
    /// Whether memories or globals are handed over with each event.
    pub(super) looks: bool,
    memories: Vec<Option<Memory>>,
    globals: Vec<Option<Global>>,
}

/// Returns a number that no instance of the process had before.
pub(super) fn new_instance_id() -> InstanceId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    InstanceId(NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Attached {
    pub(super) fn new(
        module: Arc<ListenedModule>,
        probes: Arc<[Probe]>,
        switches: Switches,
    ) -> Self {
        Self {
            id: new_instance_id(),
            memories: Vec::new(),
            globals: Vec::new(),
            module,
            probes,
            switches,
            guards: Guards::default(),
            looks: false,
        }
    }

    /// Finds what listeners may ask for among the exports of the instance.
    ///
    /// At once, not when somebody asks: then only the store is at hand.
    pub(super) fn find(&mut self, mut export: impl FnMut(&str) -> Option<Extern>) {
        let module = &self.module;
        let memories = (0..module.memories).map(|n| export(&module.memory_export(n)));
        self.memories = memories
            .map(|memory| memory.and_then(Extern::into_memory))
            .collect();
        let globals = (0..module.globals).map(|n| export(&module.global_export(n)));
        self.globals = globals
            .map(|global| global.and_then(Extern::into_global))
            .collect();
    }

    /// Returns a memory, if it was found.
    pub(super) fn memory(&self, index: u32) -> Option<Memory> {
        *self.memories.get(index as usize)?
    }

    /// Returns the value of a global, if it was found.
    pub(super) fn global(&self, index: u32, reach: &dyn Reach) -> Option<Value> {
        reach.get((*self.globals.get(index as usize)?)?)
    }

    /// Switches the probes that are on, and off all others.
    pub(super) fn switch(&self, reach: &dyn Reach) {
        self.switches.set(&self.module, &self.probes, reach);
    }
}
