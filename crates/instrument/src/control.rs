//! What a rewritten module and its host both read and set while the guest runs: which probes
//! are on, and where the next event goes.
//!
//! In a module by itself that is in globals, which a host finds by their exports. A component
//! gives its host no core instance, so there it is in a memory, whose address the host is told
//! (see [`component::interface`](crate::component::interface)):
//!
//! ```text
//!    0          the records of events, if events are kept
//!    position   where the next record goes, an i32
//!    switches   bit p % 32 of word p / 32 is set while probe p is off
//! ```
//!
//! All of it is 0 at first: nothing is kept, and everything is on.

use crate::encoding::Code;
use crate::events::Events;
use crate::hooks::SWITCHES_PER_GLOBAL;
use crate::plan::Plan;

/// The size of a page of memory, in bytes.
pub(crate) const PAGE: u32 = 1 << 16;

/// Where what both sides read and set is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Globals,
    Memory,
}

/// Where things are in the memory that a module within a component shares with its host, which
/// lies behind all memories of the module.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SharedLayout {
    records: u32,
    probes: u32,
}

impl SharedLayout {
    /// Describes the memory of a module with so many probes.
    #[must_use]
    pub fn new(events: Option<Events>, probes: u32) -> Self {
        Self {
            records: events.map_or(0, Events::size),
            probes,
        }
    }

    /// Returns how many bytes of records there are, ahead of everything else.
    #[must_use]
    pub fn records(self) -> u32 {
        self.records
    }

    /// Returns the offset of the position, which is one of the records, or 0.
    #[must_use]
    pub fn position(self) -> u32 {
        self.records
    }

    /// Returns the offset of the `n`th word of switches.
    #[must_use]
    pub fn switches(self, n: u32) -> u32 {
        const BEHIND_POSITION: u32 = 8;
        self.records + BEHIND_POSITION + n * size_of::<u32>() as u32
    }

    /// Returns the size in pages: more than there can be of any memory, if it is too large.
    pub(crate) fn pages(self) -> u32 {
        self.switches(self.probes.div_ceil(SWITCHES_PER_GLOBAL))
            .div_ceil(PAGE)
    }
}

/// The name of the export of that memory.
pub(crate) fn shared_export(suffix: &str) -> String {
    format!("wasmscope:shared{suffix}")
}

/// Writes code that leaves a number other than 0 while a probe is on.
pub(crate) fn is_on(code: &mut Code<'_>, plan: &Plan<'_, '_>, probe: u32) {
    let word = probe / SWITCHES_PER_GLOBAL;
    let bit = (1_u32 << (probe % SWITCHES_PER_GLOBAL)).cast_signed();
    match plan.place {
        Place::Globals => code
            .global_get(plan.switches(word))
            .i32_const(bit)
            .i32_and(),
        Place::Memory => code
            .i32_const(0)
            .i32_load(plan.own_memory(), plan.shared().switches(word))
            .i32_const(bit)
            .i32_and()
            .i32_eqz(),
    };
}

/// Writes what `position` leaves as the position of the next record. What it writes finds the
/// position of this one on the stack.
pub(crate) fn advance(
    code: &mut Code<'_>,
    plan: &Plan<'_, '_>,
    position: impl FnOnce(&mut Code<'_>),
) {
    match plan.place {
        Place::Globals => {
            code.global_get(plan.position());
            position(code);
            code.global_set(plan.position());
        }
        Place::Memory => {
            let (memory, offset) = (plan.own_memory(), plan.shared().position());
            code.i32_const(0).i32_const(0).i32_load(memory, offset);
            position(code);
            code.i32_store(memory, offset);
        }
    }
}
