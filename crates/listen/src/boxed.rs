//! A listener whose type is forgotten, as those who drive listeners hold it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::call::{Call, Site};
use crate::cause::Cause;
use crate::listener::Listener;
use crate::listener_ref::ListenerRef;
use crate::slot::Slot;
use crate::value::ValueType;
use crate::values::Values;

/// Any listener, shared: a clone is the same listener.
///
/// Whoever drives it keeps one [`Slot`] for each open call. An event costs one indirect
/// call, and no allocation for states of up to three words.
///
/// A close does nothing when the slot is empty, which it is after the first close. So a
/// driver that closes twice is not heard twice.
#[derive(Clone)]
pub struct BoxListener(Arc<dyn Erased>);

/// [`Listener`] with its state in a slot. Everything is passed in registers, so that what
/// a listener does not look at costs nothing.
trait Erased: Send + Sync {
    fn borrow(&self) -> ListenerRef<'_>;
    /// The slot is empty: a state that is in it is forgotten.
    fn before(&self, site: &dyn Site, slot: &mut Slot);
    fn after(&self, site: &dyn Site, types: &[ValueType], words: &[u64], slot: &mut Slot);
    fn tail_call(&self, site: &dyn Site, slot: &mut Slot);
    fn abort(&self, site: &dyn Site, cause: &Cause<'_>, slot: &mut Slot);
}

impl<L: Listener> Erased for L {
    fn borrow(&self) -> ListenerRef<'_> {
        ListenerRef::new(self)
    }

    #[inline]
    fn before(&self, site: &dyn Site, slot: &mut Slot) {
        slot.fill::<L>(Listener::before(self, &Call::new(site)));
    }

    #[inline]
    fn after(&self, site: &dyn Site, types: &[ValueType], words: &[u64], slot: &mut Slot) {
        if let Some(state) = slot.take::<L>() {
            Listener::after(self, &Call::new(site), Values::new(types, words), state);
        }
    }

    #[inline]
    fn tail_call(&self, site: &dyn Site, slot: &mut Slot) {
        if let Some(state) = slot.take::<L>() {
            Listener::tail_call(self, &Call::new(site), state);
        }
    }

    #[inline]
    fn abort(&self, site: &dyn Site, cause: &Cause<'_>, slot: &mut Slot) {
        if let Some(state) = slot.take::<L>() {
            Listener::abort(self, &Call::new(site), cause, state);
        }
    }
}

impl BoxListener {
    /// Takes a listener.
    #[must_use]
    pub fn new(listener: impl Listener) -> Self {
        Self(Arc::new(listener))
    }

    /// Opens a call: calls the listener's `before` and puts its state into `slot`.
    ///
    /// When the listener panics the slot is left as it was.
    #[inline]
    pub fn before(&self, call: &Call<'_>, slot: &mut Slot) {
        self.borrow().before(call, slot);
    }

    /// Closes a call that returned, if `slot` holds this listener's state.
    #[inline]
    pub fn after(&self, call: &Call<'_>, results: Values<'_>, slot: &mut Slot) {
        self.0
            .after(call.site, results.types(), results.words(), slot);
    }

    /// Closes a call that makes way for the function it tail-calls, if `slot` holds this
    /// listener's state.
    #[inline]
    pub fn tail_call(&self, call: &Call<'_>, slot: &mut Slot) {
        self.0.tail_call(call.site, slot);
    }

    /// Closes a call that ended without returning, if `slot` holds this listener's state.
    #[inline]
    pub fn abort(&self, call: &Call<'_>, cause: &Cause<'_>, slot: &mut Slot) {
        self.0.abort(call.site, cause, slot);
    }
}

impl BoxListener {
    /// Borrows the listener.
    #[must_use]
    pub fn borrow(&self) -> ListenerRef<'_> {
        self.0.borrow()
    }
}

/// So a boxed listener can be part of a tuple.
impl Listener for BoxListener {
    type State = Slot;

    fn before(&self, call: &Call<'_>) -> Slot {
        let mut slot = Slot::new();
        self.0.before(call.site, &mut slot);
        slot
    }

    fn after(&self, call: &Call<'_>, results: Values<'_>, mut state: Slot) {
        self.0
            .after(call.site, results.types(), results.words(), &mut state);
    }

    fn tail_call(&self, call: &Call<'_>, mut state: Slot) {
        self.0.tail_call(call.site, &mut state);
    }

    fn abort(&self, call: &Call<'_>, cause: &Cause<'_>, mut state: Slot) {
        self.0.abort(call.site, cause, &mut state);
    }

    fn show<'s>(state: &'s Slot, look: &mut dyn FnMut(&'s dyn Any)) {
        state.show(look);
    }
}

impl fmt::Debug for BoxListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxListener")
    }
}
