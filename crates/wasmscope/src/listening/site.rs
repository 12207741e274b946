//! An event as its listener sees it: the call, its instance, its parents, its stack.

#![expect(unsafe_code, reason = "shows what other calls' listeners left")]

use super::attached::Attached;
use super::open_calls::CallRef;
use super::outer::Outer;
use super::reach::Reach;
use super::store_calls::StoreCalls;
use std::cell::OnceCell;
use wasmscope_listen::{
    Definition, Instance, InstanceId, Parent, RawFrame, ReadError, Site, StackSource, TaskId, Value,
};

/// What surrounds one event. Made for it, and gone with it.
pub(super) struct EventSite<'a, R> {
    pub(super) store: &'a StoreCalls,
    reach: &'a R,
    /// The call that the event is of; when it is a close, no longer among the open ones.
    pub(super) call: CallRef<'a>,
    /// What a walk found.
    pub(super) frames: OnceCell<&'a [RawFrame]>,
    /// What a walk found below a fiber or a continuation.
    pub(super) resumers: OnceCell<Box<Outer>>,
    is_deferred: bool,
    /// Whether something else than the call tells that it is over.
    is_gone: bool,
}

impl<'a, R> EventSite<'a, R> {
    #[inline(always)]
    pub(super) fn new(store: &'a StoreCalls, reach: &'a R, call: CallRef<'a>) -> Self {
        Self {
            store,
            reach,
            call,
            frames: OnceCell::new(),
            resumers: OnceCell::new(),
            is_deferred: false,
            is_gone: false,
        }
    }

    /// What surrounds the close of a call whose frame is gone: no frames are shown.
    pub(super) fn of_gone(store: &'a StoreCalls, reach: &'a R, call: CallRef<'a>) -> Self {
        let mut site = Self::new(store, reach, call);
        site.is_gone = true;
        let _ = site.frames.set(&[]);
        site
    }

    /// What surrounds an event that is told later than it happened.
    pub(super) fn of_deferred(store: &'a StoreCalls, reach: &'a R, call: CallRef<'a>) -> Self {
        Self {
            is_deferred: true,
            ..Self::of_gone(store, reach, call)
        }
    }

    /// Returns the number that the event's call has or had, the oldest open one being 1.
    pub(super) fn number(&self) -> usize {
        self.store.calls.number_of(self.call)
    }

    /// Returns the number that the event's instance has in its store.
    fn instance_number(&self) -> u32 {
        self.store.instance_of(self.call)
    }

    fn attached(&self) -> Option<&'a Attached> {
        self.store.instances.get(self.instance_number() as usize)
    }
}

impl<R: Reach> EventSite<'_, R> {
    /// Returns the bytes of a memory that came with the event.
    fn handed_over(&self, memory: u32) -> Option<&[u8]> {
        self.reach.handed_over(self.instance_number(), memory)
    }
}

/// Copies bytes. Returns whether all were there.
fn copy(bytes: &[u8], offset: u64, into: &mut [u8]) -> bool {
    let bytes = usize::try_from(offset)
        .ok()
        .and_then(|start| bytes.get(start..start.checked_add(into.len())?));
    if let Some(bytes) = bytes {
        into.copy_from_slice(bytes);
    }
    bytes.is_some()
}

impl<R: Reach> Site for EventSite<'_, R> {
    fn definition(&self) -> &Definition {
        &self.call.probe().definition
    }

    fn params(&self) -> &[u64] {
        self.store.calls.words(self.call)
    }

    fn instance(&self) -> &dyn Instance {
        self
    }

    fn stack(&self) -> &dyn StackSource {
        self
    }

    fn parent(&self, of: Option<u64>) -> Option<Parent<'_>> {
        let below = match of {
            Some(key) => usize::try_from(key).ok()?,
            None => self.number(),
        };
        let number = below.checked_sub(1)?;
        if number <= self.store.not_parents {
            return None;
        }
        let call = self.store.calls.get(number)?;
        // SAFETY: older than the event's own call.
        let slot = unsafe { self.store.calls.slot(call) };
        Some(Parent::new(&call.probe().definition, slot, number as u64))
    }

    fn is_deferred(&self) -> bool {
        self.is_deferred
    }

    fn task(&self) -> Option<TaskId> {
        (self.store.names_tasks && !self.is_gone).then(|| self.reach.task())?
    }
}

impl<R: Reach> Instance for EventSite<'_, R> {
    fn id(&self) -> InstanceId {
        self.attached()
            .map_or(InstanceId(u64::MAX), |attached| attached.id)
    }

    fn name(&self) -> Option<&str> {
        self.attached()?.module.name.as_deref()
    }

    fn memories(&self) -> u32 {
        self.attached()
            .map_or(0, |attached| attached.module.memories)
    }

    fn memory_size(&self, memory: u32) -> Option<u64> {
        if let Some(bytes) = self.handed_over(memory) {
            return Some(bytes.len() as u64);
        }
        self.reach.size(self.attached()?.memory(memory)?)
    }

    fn read(&self, memory: u32, offset: u64, into: &mut [u8]) -> Result<(), ReadError> {
        let is_read = match self.handed_over(memory) {
            Some(bytes) => copy(bytes, offset, into),
            None => self
                .attached()
                .and_then(|attached| attached.memory(memory))
                .is_some_and(|memory| self.reach.read(memory, offset, into)),
        };
        is_read.then_some(()).ok_or(ReadError {
            memory,
            offset,
            len: into.len() as u64,
        })
    }

    fn globals(&self) -> u32 {
        self.attached()
            .map_or(0, |attached| attached.module.globals)
    }

    fn global(&self, global: u32) -> Option<Value> {
        let attached = self.attached()?;
        match self.reach.handed_globals(self.instance_number()) {
            Some(words) => attached.module.shown_global(global, words),
            None => attached.global(global, self.reach),
        }
    }
}
