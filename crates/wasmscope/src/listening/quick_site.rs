//! A quick event as its listener sees it: an entry of the open calls, and nothing else until
//! the listener asks.
//!
//! Most listeners look at the definition and the values, if at that. So an event in the quick
//! way makes no [`EventSite`]: what it needs stays where it is, and one is made in a place
//! that waits for it when the listener asks for more.

#![expect(
    unsafe_code,
    reason = "leads from an entry of the open calls to its store, while an event of it goes on"
)]

use super::open_calls::Shown;
use super::reach::QuickReach;
use super::site::EventSite;
use super::store_calls::StoreCalls;
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use wasmscope_listen::{Definition, Instance, Parent, Site, StackSource, TaskId};

/// Where a store's quick events make their sites, one at a time.
pub(super) struct SitePlace(UnsafeCell<MaybeUninit<EventSite<'static, QuickReach>>>);

impl SitePlace {
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }
}

impl Shown {
    fn store(&self) -> &StoreCalls {
        // SAFETY: a quick event of this call goes on, which set it. The store's calls are
        // only read until the event is over.
        unsafe { &*self.store_of_event() }
    }

    /// Returns the event's site, made when it is first asked for.
    fn event(&self) -> &EventSite<'_, QuickReach> {
        let store = self.store();
        let call = store.calls.call_of(self);
        let place = store.site.0.get().cast::<EventSite<'_, QuickReach>>();
        // SAFETY: a store has one quick event at a time, so its place is used for no other
        // as long as this is borrowed; and what was in it needs no dropping.
        unsafe {
            if self.is_first_look(store.calls.is_open(call)) {
                place.write(EventSite::new(store, &store.reach, call));
            }
            &*place
        }
    }
}

impl Site for Shown {
    fn definition(&self) -> &Definition {
        &self.probe().definition
    }

    fn params(&self) -> &[u64] {
        let calls = &self.store().calls;
        calls.words(calls.call_of(self))
    }

    fn instance(&self) -> &dyn Instance {
        self.event()
    }

    fn stack(&self) -> &dyn StackSource {
        self.event()
    }

    fn parent(&self, of: Option<u64>) -> Option<Parent<'_>> {
        self.event().parent(of)
    }

    fn task(&self) -> Option<TaskId> {
        self.event().task()
    }
}
