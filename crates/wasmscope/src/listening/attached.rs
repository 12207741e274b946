//! An instance whose calls are listened to.

use super::guarded::Guards;
use super::module::ListenedModule;
use super::probe::Probe;
use super::reach::Reach;
use std::cell::RefCell;
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
    /// The globals whose bits switch the probes, 32 each.
    pub(super) switches: Vec<Global>,
    pub(super) guards: Guards,
    memories: RefCell<Vec<Option<Memory>>>,
    globals: RefCell<Vec<Option<Global>>>,
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
        switches: Vec<Global>,
    ) -> Self {
        Self {
            id: new_instance_id(),
            memories: RefCell::new(vec![None; module.memories as usize]),
            globals: RefCell::new(vec![None; module.globals as usize]),
            module,
            probes,
            switches,
            guards: Guards::default(),
        }
    }

    /// Returns a memory: found before, or among the exports of the instance that called.
    pub(super) fn memory(&self, index: u32, reach: &dyn Reach) -> Option<Memory> {
        let mut memories = self.memories.borrow_mut();
        let memory = memories.get_mut(index as usize)?;
        if memory.is_none() {
            *memory = match reach.export(&self.module.memory_export(index))? {
                Extern::Memory(memory) => Some(memory),
                _ => None,
            };
        }
        *memory
    }

    /// Returns a global's value; the global is found as a memory is.
    pub(super) fn global(&self, index: u32, reach: &dyn Reach) -> Option<Value> {
        let mut globals = self.globals.borrow_mut();
        let global = globals.get_mut(index as usize)?;
        if global.is_none() {
            *global = match reach.export(&self.module.global_export(index))? {
                Extern::Global(global) => Some(global),
                _ => None,
            };
        }
        reach.get((*global)?)
    }

    /// Switches the probes that are on, and off all others.
    pub(super) fn switch(&self, reach: &dyn Reach) {
        for (number, global) in (0..).zip(&self.switches) {
            reach.set(
                *global,
                self.module.switched(number, &self.probes).cast_signed(),
            );
        }
    }
}
