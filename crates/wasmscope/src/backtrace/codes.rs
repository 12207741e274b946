//! The guests that a walker knows, as one immutable list.
//!
//! Replaced as a whole when a guest comes or goes, so that a backtrace keeps the list that it
//! was captured with.

use crate::code::Code;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmscope_address::{HostPc, TextOffset};
use wasmscope_sample::{CodeMap, GuestWindows};

/// One guest's code, with a number that no other has.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) id: u64,
    pub(super) code: Arc<Code>,
}

/// All guests that are registered at a time, sorted by the address of their code.
pub(crate) struct Codes {
    /// Differs from that of every other list of the process; never 0.
    pub(crate) generation: u64,
    /// What a walk needs: addresses alone, nothing of the guests.
    pub(crate) map: Arc<CodeMap>,
    known: Vec<Known>,
}

/// Gives out numbers that are used once.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Codes {
    pub(super) fn none() -> Self {
        Self {
            generation: next_number(),
            map: Arc::default(),
            known: Vec::new(),
        }
    }

    /// Returns this list with one more guest, or `None` if its code overlaps another's.
    pub(super) fn with(&self, code: Arc<Code>, windows: GuestWindows) -> Option<Self> {
        let map = self.map.with(code.range, windows)?;
        let mut known = self.known.clone();
        let id = next_number();
        let at = known.partition_point(|known| known.code.range.start() < code.range.start());
        known.insert(at, Known { id, code });
        Some(Self {
            generation: next_number(),
            map: Arc::new(map),
            known,
        })
    }

    /// Returns the same list as another generation.
    pub(super) fn again(&self) -> Self {
        Self {
            generation: next_number(),
            map: Arc::clone(&self.map),
            known: self.known.clone(),
        }
    }

    /// Returns this list without a guest.
    pub(super) fn without(&self, code: &Arc<Code>) -> Self {
        let mut known = self.known.clone();
        known.retain(|known| !Arc::ptr_eq(&known.code, code));
        Self {
            generation: next_number(),
            map: Arc::new(self.map.without(code.range)),
            known,
        }
    }

    /// Returns all guests, sorted by address.
    pub(crate) fn guests(&self) -> impl Iterator<Item = (u64, &Arc<Code>)> {
        self.known.iter().map(|known| (known.id, &known.code))
    }

    /// Returns the guest whose code has an address, and where in it that is.
    pub(super) fn at(&self, pc: HostPc) -> Option<(&Known, TextOffset)> {
        let after = self
            .known
            .partition_point(|known| known.code.range.start() <= pc);
        let known = self.known.get(after.checked_sub(1)?)?;
        Some((known, known.code.range.offset_of(pc)?))
    }

    /// Returns the number of a guest.
    pub(super) fn id_of(&self, code: &Arc<Code>) -> Option<u64> {
        let mut known = self.known.iter();
        Some(known.find(|known| Arc::ptr_eq(&known.code, code))?.id)
    }
}

impl fmt::Debug for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.known.iter().map(|known| known.code.name());
        f.debug_list().entries(names).finish()
    }
}
