//! A listener that counts: as many closes as opens, whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmscope::listen::{BoxListener, Call, Cause, Listener, Values};
use wasmscope::{Listening, ListeningBuilder};

/// Counts opens and closes, and refuses a close that comes out of order.
#[derive(Clone, Default)]
pub(crate) struct Balance(Arc<Counts>);

#[derive(Default)]
struct Counts {
    opened: AtomicU64,
    closed: AtomicU64,
    aborted: AtomicU64,
}

impl Balance {
    /// Listens to every function.
    pub(crate) fn listening(&self) -> ListeningBuilder {
        Listening::builder(BoxListener::new(self.clone()))
    }

    pub(crate) fn opened(&self) -> u64 {
        self.0.opened.load(Ordering::Relaxed)
    }

    pub(crate) fn aborted(&self) -> u64 {
        self.0.aborted.load(Ordering::Relaxed)
    }

    /// Returns how many calls are open.
    pub(crate) fn open(&self) -> u64 {
        self.opened() - self.0.closed.load(Ordering::Relaxed)
    }
}

/// How many listened calls were open around one.
pub(crate) struct Depth(usize);

impl Balance {
    fn close(&self, call: &Call<'_>, depth: &Depth) {
        let around = call.parent().and_then(|parent| parent.state::<Depth>());
        assert_eq!(around.map_or(0, |around| around.0), depth.0 - 1);
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Listener for Balance {
    type State = Depth;

    fn before(&self, call: &Call<'_>) -> Depth {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        let around = call.parent().and_then(|parent| parent.state::<Depth>());
        Depth(around.map_or(0, |around| around.0) + 1)
    }

    fn after(&self, call: &Call<'_>, _: Values<'_>, depth: Depth) {
        self.close(call, &depth);
    }

    fn tail_call(&self, call: &Call<'_>, depth: Depth) {
        self.close(call, &depth);
    }

    fn abort(&self, call: &Call<'_>, _: &Cause<'_>, depth: Depth) {
        self.0.aborted.fetch_add(1, Ordering::Relaxed);
        self.close(call, &depth);
    }
}
