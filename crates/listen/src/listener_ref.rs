//! A listener as a driver holds it that calls it often.

#![expect(
    unsafe_code,
    reason = "a listener's functions are kept beside it, so that an event finds them with one load"
)]

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::call::{Call, Site};
use crate::listener::Listener;
use crate::slot::Slot;
use crate::values::Values;

/// A [`BoxListener`](crate::BoxListener), borrowed: what a driver keeps at hand that calls it
/// often.
#[derive(Clone, Copy)]
pub struct ListenerRef<'l> {
    /// A listener of the type that the functions are for.
    listener: NonNull<()>,
    before: unsafe fn(NonNull<()>, &dyn Site, &mut Slot),
    returned: unsafe fn(NonNull<()>, &dyn Site, &[u64], &mut Slot),
    borrowed: PhantomData<&'l (dyn Send + Sync)>,
}

// SAFETY: a shared borrow of a listener, and listeners are `Sync`.
unsafe impl Send for ListenerRef<'_> {}
// SAFETY: as above.
unsafe impl Sync for ListenerRef<'_> {}

impl<'l> ListenerRef<'l> {
    /// Borrows a listener.
    pub(crate) fn new<L: Listener>(listener: &'l L) -> Self {
        Self {
            listener: NonNull::from_ref(listener).cast(),
            before: before::<L>,
            returned: returned::<L>,
            borrowed: PhantomData,
        }
    }

    /// As [`BoxListener::before`](crate::BoxListener::before).
    #[inline]
    pub fn before(self, call: &Call<'_>, slot: &mut Slot) {
        if slot.is_empty() {
            self.before_in_empty(call, slot);
        } else {
            let mut fresh = Slot::new();
            self.before_in_empty(call, &mut fresh);
            *slot = fresh;
        }
    }

    /// As [`Self::before`], for a slot that is known to be empty: a state that is in it is
    /// forgotten, not dropped.
    ///
    /// When the listener panics the slot is left as it was.
    #[inline]
    pub fn before_in_empty(self, call: &Call<'_>, slot: &mut Slot) {
        debug_assert!(slot.is_empty(), "a state would be forgotten");
        // SAFETY: the function is for the listener's type.
        unsafe { (self.before)(self.listener, call.site, slot) }
    }

    /// As [`BoxListener::after`](crate::BoxListener::after), with results whose types are
    /// those of the call's definition. `words` is what [`Values::new`] takes.
    #[inline]
    pub fn after(self, call: &Call<'_>, words: &[u64], slot: &mut Slot) {
        // SAFETY: the function is for the listener's type.
        unsafe { (self.returned)(self.listener, call.site, words, slot) }
    }
}

/// Opens a call. A state that is in the slot is forgotten.
///
/// # Safety
///
/// `listener` is a borrowed `L`.
unsafe fn before<L: Listener>(listener: NonNull<()>, site: &dyn Site, slot: &mut Slot) {
    // SAFETY: as the caller promises.
    let listener = unsafe { listener.cast::<L>().as_ref() };
    slot.fill::<L>(listener.before(&Call::new(site)));
}

/// Closes a call that returned, if the slot holds the listener's state.
///
/// # Safety
///
/// As [`before`].
unsafe fn returned<L: Listener>(
    listener: NonNull<()>,
    site: &dyn Site,
    words: &[u64],
    slot: &mut Slot,
) {
    // SAFETY: as the caller promises.
    let listener = unsafe { listener.cast::<L>().as_ref() };
    if let Some(state) = slot.take::<L>() {
        listener.after(&Call::new(site), Values::results(site, words), state);
    }
}

impl fmt::Debug for ListenerRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ListenerRef")
    }
}
