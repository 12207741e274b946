//! What turns the probes of an instance off and on.

use super::module::ListenedModule;
use super::probe::Probe;
use super::reach::Reach;
use super::shared_memory::SharedMemory;
use wasmtime::Global;

/// The switches of one instance, 32 probes each.
pub(super) enum Switches {
    /// Bits of globals; none, without switches.
    Globals(Vec<Global>),
    /// Words of a memory: within components.
    Shared(SharedMemory),
}

impl Switches {
    /// Turns on the probes that are wanted and heard, and off all others.
    pub(super) fn set(&self, module: &ListenedModule, probes: &[Probe], reach: &dyn Reach) {
        match self {
            Self::Globals(globals) => {
                for (group, global) in (0..).zip(globals) {
                    reach.set(*global, module.switched(group, probes).cast_signed());
                }
            }
            Self::Shared(memory) => {
                for group in 0..module.groups() {
                    memory.switch(group, module.switched(group, probes));
                }
            }
        }
    }
}
