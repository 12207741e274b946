//! The open calls of one store, kept true to its stacks.
//!
//! A frame that returns says so; one that a trap, an error or an exception takes away
//! does not. So each event first finds out which open calls still have their frames. That
//! is seen from the frames themselves, in a few instructions when the caller of the called
//! function is the newest open call, and by walking up otherwise:
//!
//! ```text
//!   open calls       frames            called function's frame: its caller's frame pointer
//!     f  ---------->  f                and return address lead to f, in f's code: f lives,
//!     g  -----x       h  <-- event     and what opened after it (g) is gone
//! ```
//!
//! Frames belong to activations: one entry of the host into the guest each. When the host
//! enters again, older activations may lie below, or be gone.

#![expect(unsafe_code, reason = "pushes and pops without a check at each")]

mod activation;
mod closing;
mod hooked;
mod kept;
mod mark;
mod settling;
mod stacks;
mod staged;

pub(super) use closing::{ListenerPanic, raise};
pub(super) use mark::{Ends, Mark};
pub(super) use settling::Event;

use super::attached::Attached;
use super::component::{Awaited, ComponentModules, Kept};
use super::frame_buffer::FrameBuffer;
use super::open_calls::{CallRef, OpenCalls};
use super::probe::{InstanceProbes, Probe};
use super::quick_site::SitePlace;
use super::reach::{QuickReach, Reach};
use super::site::EventSite;
use crate::layout::{Callers, ExitSlot, Fp, StackId, StoreContext};
use activation::Activation;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use wasmscope_listen::{Call, Cause, Factory, Slot, Values};

/// What is known of one store that runs instances with listeners.
pub(super) struct StoreCalls {
    /// Where the quick way finds the frame that called a hook.
    pub(super) exit: ExitSlot,
    /// The calls of the stack that runs.
    pub(super) calls: OpenCalls,
    pub(super) instances: Vec<Attached>,
    /// The probes of each instance: what an event looks up.
    pub(super) probes: InstanceProbes,
    /// The stack that `calls` are of.
    stack: StackId,
    /// The activations on that stack that calls are open in, oldest first.
    activations: Vec<Activation>,
    /// The other stacks.
    suspended: HashMap<StackId, (OpenCalls, Vec<Activation>)>,
    pub(super) context: Option<StoreContext>,
    /// Words of the next event that did not fit in its call.
    staged: Vec<u64>,
    /// Who chooses listeners for the instance that is being made.
    pub(super) factory: Option<Arc<dyn Factory>>,
    /// What was open at each entry that the engine's call hook told of, and where the
    /// activation around it was entered.
    hooked: Vec<(Fp, Mark)>,
    /// Where quick events leave how far they reach, and make their sites.
    pub(super) reach: QuickReach,
    pub(super) site: SitePlace,
    /// Room for the frames of a walk.
    pub(super) frames: FrameBuffer,
    /// Whether it runs components, whose tasks take turns on fibers.
    pub(super) has_tasks: bool,
    /// Whether the engine knows them by name.
    pub(super) names_tasks: bool,
    /// The components that it runs instances of.
    pub(super) components: Vec<Arc<ComponentModules>>,
    /// Where they keep what they may not tell at once.
    pub(super) kept: Vec<Kept>,
    /// How many of the oldest open calls are no parents of what is told just now, as it may
    /// be another task's.
    pub(super) not_parents: usize,
    /// An event that waits for the memory that it is to be heard with.
    pub(super) awaited: Option<Awaited>,
}

impl StoreCalls {
    /// Makes those of a store, to be written to `place`.
    pub(super) fn new(place: *const Self, reach: QuickReach) -> Self {
        Self {
            exit: ExitSlot::NOWHERE,
            calls: OpenCalls::new(place),
            instances: Vec::new(),
            probes: InstanceProbes::default(),
            stack: StackId::Entered,
            activations: Vec::new(),
            suspended: HashMap::new(),
            context: None,
            staged: Vec::new(),
            factory: None,
            hooked: Vec::new(),
            reach,
            site: SitePlace::new(),
            frames: FrameBuffer::default(),
            has_tasks: false,
            names_tasks: false,
            components: Vec::new(),
            kept: Vec::new(),
            not_parents: 0,
            awaited: None,
        }
    }

    /// Returns the number of the instance that a call is of, or one that no instance has.
    pub(super) fn instance_of(&self, call: CallRef<'_>) -> u32 {
        let instance = self.probes.instance_of(call.probe_number());
        instance.unwrap_or(u32::MAX)
    }

    /// Returns an instance by the number of its first probe.
    pub(super) fn instance_mut(&mut self, first: u32) -> Option<&mut Attached> {
        let instance = self.probes.instance_of(first)?;
        self.instances.get_mut(instance as usize)
    }

    /// As [`Self::open`], of a probe by its number in the store.
    pub(super) fn open_at(
        &mut self,
        callers: Callers,
        number: u32,
        words: &[u64],
        reach: &dyn Reach,
    ) {
        if let Some(instance) = self.probes.instance_of(number)
            && let Some(first) = self.probes.first(instance)
        {
            self.open(callers, instance, number - first, words, reach);
        } else {
            self.settle(Event::Open, callers, reach);
        }
    }

    /// Returns a probe of an instance, and its number in the store.
    fn probe(&self, instance: u32, probe: u32) -> Option<(*const Probe, u32)> {
        let probes = &self.instances.get(instance as usize)?.probes;
        let number = self.probes.first(instance)?.checked_add(probe)?;
        Some((std::ptr::from_ref(probes.get(probe as usize)?), number))
    }

    /// Tells whether somebody listens to a probe of an instance.
    pub(super) fn is_heard(&self, instance: u32, probe: u32) -> bool {
        let attached = self.instances.get(instance as usize);
        let probe = attached.and_then(|attached| attached.probes.get(probe as usize));
        probe.is_some_and(|probe| probe.is_heard)
    }

    /// Opens a call whose frame `callers` begin with.
    pub(super) fn open(
        &mut self,
        callers: Callers,
        instance: u32,
        probe: u32,
        words: &[u64],
        reach: &dyn Reach,
    ) {
        self.settle(Event::Open, callers, reach);
        let Some((probe, number)) = self.probe(instance, probe) else {
            return;
        };
        // SAFETY: an instance's probes stay where they are.
        let values = self.values(unsafe { (*probe).param_words() }, words);
        if self.calls.reserve(values.len()) {
            // SAFETY: room was made; nothing is pushed while the listener hears.
            let (call, slot) = unsafe { self.calls.push(callers.frame, probe, number, &values) };
            let site = EventSite::new(self, &reach, call);
            call.probe().listener.before(&Call::new(&site), slot);
        } else {
            self.lose(instance);
        }
        self.recycle(values);
    }

    /// Closes the call whose frame `callers` begin with, if it is open, with results.
    pub(super) fn close(&mut self, callers: Callers, words: &[u64], reach: &dyn Reach) {
        self.settle(Event::Close, callers, reach);
        if self.is_top(callers.frame) {
            let results = self.calls.top().probe().result_words();
            let values = self.values(results, words);
            self.take(reach, |probe, call, slot| {
                let results = Values::new(&probe.definition.results, &values);
                probe.listener.after(call, results, slot);
            });
            self.recycle(values);
        }
    }

    /// Closes the call whose frame `callers` begin with, if it is open: it makes way for
    /// another.
    pub(super) fn close_tail(&mut self, callers: Callers, reach: &dyn Reach) {
        self.settle(Event::Close, callers, reach);
        if self.is_top(callers.frame) {
            self.take(reach, |probe, call, slot| {
                probe.listener.tail_call(call, slot)
            });
        }
    }

    /// Closes the call whose frame `callers` begin with, if it is open: an exception
    /// leaves it.
    pub(super) fn close_thrown(&mut self, callers: Callers, reach: &dyn Reach) {
        self.settle(Event::Close, callers, reach);
        if self.is_top(callers.frame) {
            self.take(reach, |probe, call, slot| {
                probe.listener.abort(call, &Cause::Exception, slot);
            });
        }
    }

    /// Counts a call of an instance that cannot be kept.
    #[cold]
    fn lose(&self, instance: u32) {
        if let Some(attached) = self.instances.get(instance as usize) {
            attached.module.unheard.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens a call that was over before the host could hear of it: it has no frame.
    pub(super) fn open_deferred(
        &mut self,
        instance: u32,
        probe: u32,
        words: &[u64],
        reach: &dyn Reach,
    ) {
        let Some((probe, number)) = self.probe(instance, probe) else {
            return;
        };
        // SAFETY: an instance's probes stay where they are.
        if unsafe { (*probe).param_words() } != words.len() {
            return;
        }
        if self.calls.reserve(words.len()) {
            // SAFETY: room was made; nothing is pushed while the listener hears.
            let (call, slot) = unsafe { self.calls.push(Fp::NOWHERE, probe, number, words) };
            let site = EventSite::of_deferred(self, &reach, call);
            call.probe().listener.before(&Call::new(&site), slot);
        } else {
            self.lose(instance);
        }
    }

    /// Closes the newest call, one without a frame, if it is not among the oldest `below`.
    pub(super) fn close_deferred(
        &mut self,
        below: usize,
        reach: &dyn Reach,
        hear: impl FnOnce(&Probe, &Call<'_>, &mut Slot),
    ) {
        if self.calls.len() > below {
            // SAFETY: a call is open; nothing is pushed while it hears.
            let (call, slot) = unsafe { self.calls.pop() };
            let site = EventSite::of_deferred(self, &reach, call);
            hear(call.probe(), &Call::new(&site), slot);
        }
    }

    /// Takes the newest call off and lets its listener hear how it ended.
    fn take(&mut self, reach: &dyn Reach, hear: impl FnOnce(&Probe, &Call<'_>, &mut Slot)) {
        // SAFETY: whoever asks has seen an open call; nothing is pushed while it hears.
        let (call, slot) = unsafe { self.calls.pop() };
        let site = EventSite::new(self, &reach, call);
        hear(call.probe(), &Call::new(&site), slot);
    }

    /// Sets the switches of all instances as they are wanted.
    pub(super) fn switch(&self, reach: &dyn Reach) {
        for attached in &self.instances {
            attached.switch(reach);
        }
    }

    pub(super) fn is_top(&self, frame: Fp) -> bool {
        !self.calls.is_empty() && self.calls.top().fp() == frame
    }
}
