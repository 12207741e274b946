//! Keeps the last calls, each with its parameters and how it ended.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::lock;
use crate::boxed::BoxListener;
use crate::call::Call;
use crate::cause::Cause;
use crate::definition::Definition;
use crate::factory::Factory;
use crate::listener::Listener;
use crate::value::Value;
use crate::values::Values;

/// A ring of records: when it is full, the oldest makes way for the newest.
#[derive(Clone)]
pub struct Recorder(Arc<Shared>);

struct Shared {
    capacity: usize,
    ring: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    records: VecDeque<Record>,
    lost: u64,
}

/// One call that has closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The function.
    pub definition: Arc<Definition>,
    /// Its parameters, as they were at the call.
    pub params: Vec<Value>,
    /// How it ended.
    pub end: End,
}

/// How a recorded call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It returned these results.
    Returned(Vec<Value>),
    /// It made way for the function it tail-called.
    TailCalled,
    /// It was aborted, for this reason.
    Aborted(String),
}

impl Recorder {
    /// Keeps at most `capacity` calls.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Shared {
            capacity,
            ring: Mutex::default(),
        }))
    }

    /// Returns the calls that are kept, in the order in which they closed.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        lock(&self.0.ring).records.iter().cloned().collect()
    }

    /// Returns how many calls have made way for newer ones.
    #[must_use]
    pub fn lost(&self) -> u64 {
        lock(&self.0.ring).lost
    }
}

impl Factory for Recorder {
    fn listener(&self, definition: &Definition) -> Option<BoxListener> {
        Some(BoxListener::new(Recorded {
            shared: self.0.clone(),
            definition: Arc::new(definition.clone()),
        }))
    }
}

/// Records one function's calls. A call knows its parameters when it closes, so there is
/// nothing to remember in between.
struct Recorded {
    shared: Arc<Shared>,
    definition: Arc<Definition>,
}

impl Recorded {
    fn close(&self, call: &Call<'_>, end: End) {
        let record = Record {
            definition: self.definition.clone(),
            params: call.params().iter().collect(),
            end,
        };
        let mut ring = lock(&self.shared.ring);
        ring.records.push_back(record);
        if ring.records.len() > self.shared.capacity {
            ring.records.pop_front();
            ring.lost += 1;
        }
    }
}

impl Listener for Recorded {
    type State = ();

    fn before(&self, _: &Call<'_>) {}

    fn after(&self, call: &Call<'_>, results: Values<'_>, (): ()) {
        self.close(call, End::Returned(results.iter().collect()));
    }

    fn tail_call(&self, call: &Call<'_>, (): ()) {
        self.close(call, End::TailCalled);
    }

    fn abort(&self, call: &Call<'_>, cause: &Cause<'_>, (): ()) {
        self.close(call, End::Aborted(cause.to_string()));
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("capacity", &self.0.capacity)
            .finish_non_exhaustive()
    }
}
