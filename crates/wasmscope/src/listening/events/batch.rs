//! Events that are handed over together.

use std::fmt;
use std::sync::Arc;
use wasmscope_instrument::events::Event;
use wasmscope_listen::{Definition, InstanceId};

/// Events of one instance, in the order in which they happened.
///
/// Between two batches of an instance nothing is missing but what
/// [`lost`](Self::lost) says.
pub struct Batch<'a> {
    pub(super) instance: InstanceId,
    pub(super) definitions: &'a [Arc<Definition>],
    pub(super) lost: u64,
    /// The records, as they are in the guest's memory.
    pub(super) records: &'a [[u8; Event::SIZE as usize]],
}

impl<'a> Batch<'a> {
    /// Returns the instance whose events these are.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Returns how many events of this instance were lost between the last one that the
    /// sink took and the first of these.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns how many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Tells whether there are no events: then it is told of a loss.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Visits the events, the oldest first. They are read from the guest's memory as they
    /// are visited.
    #[must_use]
    pub fn events(&self) -> impl ExactSizeIterator<Item = Event> + use<'a> {
        self.records
            .iter()
            .map(|record| Event::of_record(u64::from_le_bytes(*record)))
    }

    /// Returns the function that an event of this batch is of; `None` when the host itself
    /// wrote to the memory that events are in.
    #[must_use]
    pub fn definition(&self, event: Event) -> Option<&'a Arc<Definition>> {
        self.definitions.get(event.probe as usize)
    }

    /// Returns the functions that events are of, by the number that events have.
    #[must_use]
    pub fn definitions(&self) -> &'a [Arc<Definition>] {
        self.definitions
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("instance", &self.instance)
            .field("lost", &self.lost)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// How much of a batch a sink took. The rest is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// All of it.
    All,
    /// So many events, the oldest ones.
    First(usize),
}
