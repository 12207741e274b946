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

use super::attached::Attached;
use super::component::{Awaited, ComponentModules};
use super::frame_buffer::FrameBuffer;
use super::open_calls::{CallRef, OpenCalls};
use super::outer::Outer;
use super::probe::{InstanceProbes, Probe};
use super::quick_site::SitePlace;
use super::reach::{QuickReach, Reach};
use super::site::EventSite;
use crate::layout::{Callers, ExitSlot, Fp, Progress, StackId, StoreContext};
use std::any::Any;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use wasmscope_address::HostPc;
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
    /// Calls that could not be kept: too many were open.
    pub(super) unheard: u64,
    /// Whether it runs components, whose tasks take turns on fibers.
    pub(super) has_tasks: bool,
    /// The components that it runs instances of.
    pub(super) components: Vec<Arc<ComponentModules>>,
    /// An event that waits for the memory that it is to be heard with.
    pub(super) awaited: Option<Awaited>,
}

/// One entry of the host into the guest.
struct Activation {
    /// The entry trampoline's frame.
    entry: Fp,
    /// Which fiber it is on; 0 on a thread's own stack.
    fiber: usize,
    /// The guest frames below it, once somebody has asked.
    outer: OnceCell<Outer>,
}

impl Activation {
    /// Tells whether a frame can be one of this activation's: stacks grow down from where
    /// it was entered, and a fiber's guard pages are below its stack.
    fn holds(&self, fp: Fp) -> bool {
        self.entry == Fp::NONE || (fp < self.entry && fp.0 > self.fiber)
    }
}

/// Whether a function was just called, or is about to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    Open,
    Close,
}

/// How far a call is unwound by the host: down to so many open calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Mark {
    /// The stack that the host was on.
    stack: StackId,
    /// How many were open on that one.
    left: usize,
    /// How many were open on the fibers of other tasks.
    fibers: Vec<(StackId, usize)>,
}

/// More words than any call has: a function has a thousand parameters or results at most,
/// of two words each.
const MOST_STAGED: usize = 2_048;

/// What a listener panicked with.
type ListenerPanic = Box<dyn Any + Send>;

/// Lets a listener's panic go on, unless the thread panics as it is.
fn raise(panic: Option<ListenerPanic>) {
    if let Some(payload) = panic
        && !std::thread::panicking()
    {
        resume_unwind(payload);
    }
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
            unheard: 0,
            has_tasks: false,
            components: Vec::new(),
            awaited: None,
        }
    }

    /// Makes the open calls those of the stack that runs, and closes the ones whose frames
    /// are gone. `callers` begin with the frame of the event: of a function that was just
    /// called, or that is about to end.
    pub(super) fn settle(&mut self, event: Event, mut callers: Callers, reach: &dyn Reach) {
        let Some(context) = self.context else {
            return;
        };
        self.unbar();
        self.switch_to(self.running(context));
        let over =
            self.leave_dead_activations(context.entry_of(self.stack), context.fiber(), reach);

        let mut left = self.calls.len();
        let mut lives = false;
        while let Some(call) = self.calls.get(left) {
            let fp = call.fp();
            if !self.activations.last().is_some_and(|a| a.holds(fp)) {
                // Of an older activation, or of a newer one's on another fiber.
                if !over.iter().any(|a| a.holds(fp)) {
                    break;
                }
                left -= 1;
                continue;
            }
            // Up to the frame that would be this call's, which no other can be above.
            while callers.frame < call.fp()
                && callers.advance()
                && callers.pc.is_some_and(|pc| self.knows(pc))
            {}
            lives = callers.frame == call.fp()
                && match callers.pc {
                    Some(pc) => call.probe().holds(pc),
                    None => event == Event::Close,
                };
            if lives {
                break;
            }
            left -= 1;
        }
        if left < self.calls.len() && !self.suspended.is_empty() {
            raise(self.close_continuations(&Cause::Unknown, reach));
        }
        let is_over = |number: &usize| {
            let call = self.calls.get(*number);
            call.is_some_and(|call| over.iter().any(|a| a.holds(call.fp())))
        };
        let trapped = (left + 1..=self.calls.len())
            .rev()
            .take_while(is_over)
            .count();
        self.close_down_to(self.calls.len() - trapped, &Cause::Unknown, reach);
        // A trap takes a whole activation; only an exception leaves some of it.
        let cause = if lives {
            Cause::Exception
        } else {
            Cause::Unknown
        };
        self.close_down_to(left, &cause, reach);
        if !lives
            && event == Event::Open
            && let Some(activation) = self.activations.last_mut()
        {
            // Perhaps another that was entered at the same place.
            activation.outer = OnceCell::new();
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

    /// Tells whether an address is in a module that an instance of the store runs.
    fn knows(&self, pc: HostPc) -> bool {
        self.instances
            .iter()
            .any(|attached| attached.module.binary.text.contains(pc))
    }

    /// Makes the newest activation the one with this entry. Returns those that it led to,
    /// which are over.
    fn leave_dead_activations(
        &mut self,
        entry: Fp,
        fiber: usize,
        reach: &dyn Reach,
    ) -> Vec<Activation> {
        let is_it = |last: &Activation| last.entry == entry && last.fiber == fiber;
        if let Some(known) = self.activations.iter().rposition(is_it) {
            return self.activations.split_off(known + 1);
        }
        let outer = OnceCell::new();
        while let Some(last) = self.activations.last() {
            let (left, lives) = self.living_below(last, entry, fiber, &outer);
            let cause = if lives {
                Cause::Exception
            } else {
                Cause::Unknown
            };
            self.close_down_to(left, &cause, reach);
            if lives {
                break;
            }
            self.activations.pop();
        }
        self.activations.push(Activation {
            entry,
            fiber,
            outer,
        });
        Vec::new()
    }

    /// Tells which calls of the newest activation still have their frames, below a newer
    /// one that was entered at `entry`: how many are open without the others, and whether
    /// there are any.
    fn living_below(
        &self,
        activation: &Activation,
        entry: Fp,
        fiber: usize,
        outer: &OnceCell<Outer>,
    ) -> (usize, bool) {
        let mut left = self.calls.len();
        while let Some(call) = self.calls.get(left)
            && activation.holds(call.fp())
        {
            if activation.fiber != fiber || matches!(self.stack, StackId::Continuation(_)) {
                // Another stack cannot be seen from here: its calls are left until their
                // future, their scope or their store ends.
                return (left, true);
            }
            // Stacks grow down. Where the host's cannot be walked, nothing speaks against it.
            let lives = call.fp() > entry
                && (!Outer::can_be_seen() || {
                    let outer = outer.get_or_init(|| Outer::below(entry));
                    let pc = outer.at(call.fp());
                    pc.is_some_and(|pc| call.probe().holds(pc))
                });
            // Nor can they be seen from a continuation that they resumed.
            if lives || self.has_running_continuation() {
                return (left, true);
            }
            left -= 1;
        }
        (left, false)
    }

    /// Closes what is gone, while the host has control: in a host function the newest
    /// activation is the one that called it.
    fn settle_in_host(&mut self, reach: &dyn Reach) {
        let Some(context) = self.context else {
            return;
        };
        if context.stack() != StackId::Entered {
            return;
        }
        if context.entry() == Fp::NONE {
            let panic = self.close_continuations(&Cause::Unknown, reach);
            self.switch_to(self.host_stack());
            self.activations.clear();
            raise(panic.or(self.try_close_down_to(0, &Cause::Unknown, reach)));
            return;
        }
        // SAFETY: the host was called by the store's guest, whose frames are there.
        let callers = unsafe { context.callers_of_host() };
        self.settle(Event::Close, callers, reach);
    }

    /// Notes that it runs components: from now on fibers are stacks of their own.
    pub(super) fn expect_tasks(&mut self) {
        if !self.has_tasks {
            self.has_tasks = true;
            // What is open was opened on the fiber that led here, if on one.
            if self.stack == StackId::Entered {
                self.stack = self.host_stack();
            }
        }
    }

    /// Returns the stack that the guest runs on. Tasks take turns, so that each fiber's
    /// calls are apart; without tasks a fiber's are on top of those that led to it.
    fn running(&self, context: StoreContext) -> StackId {
        match context.stack() {
            StackId::Entered if self.has_tasks && context.fiber() != 0 => {
                StackId::Fiber(context.fiber())
            }
            stack => stack,
        }
    }

    /// Returns the stack that the host is on, whatever continuation called it.
    fn host_stack(&self) -> StackId {
        match self.context.map(StoreContext::fiber) {
            Some(fiber) if self.has_tasks && fiber != 0 => StackId::Fiber(fiber),
            _ => StackId::Entered,
        }
    }

    /// Makes `stack` the current one.
    fn switch_to(&mut self, stack: StackId) {
        if stack == self.stack {
            return;
        }
        let (calls, activations) = self
            .suspended
            .remove(&stack)
            .unwrap_or_else(|| (OpenCalls::new(self.calls.store()), Vec::new()));
        let calls = std::mem::replace(&mut self.calls, calls);
        let activations = std::mem::replace(&mut self.activations, activations);
        if !calls.is_empty() || self.stack == StackId::Entered {
            self.suspended.insert(self.stack, (calls, activations));
        }
        self.stack = stack;
    }

    /// Closes the calls of continuations that a failure of their guest ended; those that
    /// are paused can go on. Returns the first panic.
    fn close_continuations(
        &mut self,
        cause: &Cause<'_>,
        reach: &dyn Reach,
    ) -> Option<ListenerPanic> {
        let current = self.stack;
        self.switch_to(StackId::Entered);
        // None can be running when no guest is.
        let no_guest_runs = self.entry_around() == Fp::NONE;
        let ended = self.suspended.keys().filter_map(|stack| {
            // SAFETY: the store is there: it is at hand.
            let (progress, depth) = unsafe { stack.progress() };
            let has_ended = match progress {
                Progress::Trapped => true,
                Progress::Running => no_guest_runs,
                Progress::Paused => false,
            };
            has_ended.then_some((depth, *stack))
        });
        let mut ended: Vec<_> = ended.collect();
        ended.sort_unstable_by_key(|(depth, _)| std::cmp::Reverse(*depth));
        let mut panic = None;
        for (_, stack) in ended {
            self.switch_to(stack);
            panic = panic.or(self.try_close_down_to(0, cause, reach));
        }
        self.switch_to(current);
        panic
    }

    /// Returns the stacks that calls are open on.
    pub(super) fn stacks_with_calls(&self) -> impl Iterator<Item = StackId> + '_ {
        let others = self.suspended.iter();
        let others = others.filter_map(|(stack, (calls, _))| (!calls.is_empty()).then_some(*stack));
        let newest = (!self.calls.is_empty()).then_some(self.stack);
        newest.into_iter().chain(others)
    }

    /// Tells whether a continuation with open calls runs, or waits for one that it resumed.
    fn has_running_continuation(&self) -> bool {
        self.suspended.keys().any(|stack| {
            // SAFETY: the store is there: it has an event.
            let (progress, _) = unsafe { stack.progress() };
            *stack != StackId::Entered && progress == Progress::Running
        })
    }

    /// Returns the guest frames below the activation that runs on a thread's own stack.
    pub(super) fn outer(&self) -> Option<&Outer> {
        let context = self.context?;
        let (entry, fiber) = (context.entry_of(self.stack), context.fiber());
        // Newer ones are over, if no event has told yet.
        let mut activations = self.activations.iter().rev();
        let activation = activations.find(|a| a.entry == entry && a.fiber == fiber)?;
        let outer = activation.outer.get_or_init(|| Outer::below(entry));
        Some(outer)
    }

    /// Tells whether no call is open on any stack, and all are entered on the current one.
    fn has_nothing_open(&self) -> bool {
        self.calls.is_empty()
            && self.suspended.is_empty()
            && self.stack == StackId::Entered
            && !self.has_tasks
    }

    /// Notes how many calls are open, before the host enters the guest.
    pub(super) fn mark(&mut self, reach: &dyn Reach) -> Mark {
        if self.has_nothing_open() {
            // Nothing to close, and of no activation is anything to be remembered.
            self.unbar();
            self.activations.clear();
            return Mark::default();
        }
        self.settle_in_host(reach);
        self.switch_to(self.host_stack());
        let fibers = self.suspended.iter().filter_map(|(stack, (calls, _))| {
            matches!(stack, StackId::Fiber(_)).then_some((*stack, calls.len()))
        });
        Mark {
            stack: self.stack,
            left: self.calls.len(),
            fibers: fibers.collect(),
        }
    }

    /// Closes what was opened since, when the host is back from the guest: nothing, if the
    /// guest returned, which is when there is no cause.
    ///
    /// Calls on continuations that are suspended stay open then; when the guest failed, the
    /// engine has dropped the one that ran. So do those of other tasks: unless one failed,
    /// which ends them all.
    pub(super) fn close_since(
        &mut self,
        mark: &Mark,
        cause: Option<&Cause<'_>>,
        reach: &dyn Reach,
    ) {
        self.staged.clear();
        self.awaited = None;
        self.unbar();
        if self.has_nothing_open() {
            self.activations.clear();
            return;
        }
        let mut panic = None;
        if let Some(cause) = cause {
            panic = self.close_continuations(cause, reach);
            panic = panic.or(self.close_fibers_since(mark, cause, reach));
        }
        self.switch_to(mark.stack);
        let cause = cause.unwrap_or(&Cause::Unknown);
        panic = panic.or(self.try_close_down_to(mark.left, cause, reach));
        if self.calls.is_empty() {
            self.activations.clear();
        }
        raise(panic);
    }

    /// Closes what was opened on the fibers of other tasks, the one that ran last first.
    /// Returns the first panic.
    fn close_fibers_since(
        &mut self,
        mark: &Mark,
        cause: &Cause<'_>,
        reach: &dyn Reach,
    ) -> Option<ListenerPanic> {
        let others = self.suspended.keys().copied();
        let fibers: Vec<_> = std::iter::once(self.stack)
            .chain(others)
            .filter(|stack| matches!(stack, StackId::Fiber(_)) && *stack != mark.stack)
            .collect();
        let mut panic = None;
        for fiber in fibers {
            let mut marked = mark.fibers.iter();
            let left = marked
                .find(|(stack, _)| *stack == fiber)
                .map_or(0, |(_, left)| *left);
            self.switch_to(fiber);
            panic = panic.or(self.try_close_down_to(left, cause, reach));
        }
        panic
    }

    /// Notes how many calls are open, as the engine's call hook says that the host enters.
    pub(super) fn enter_hooked(&mut self, reach: &dyn Reach) {
        let mark = self.mark(reach);
        let around = self.entry_around();
        // The engine says nothing more of an entry that the embedder's hook refused.
        self.hooked
            .retain(|(refused, of)| *refused != around || of.stack != mark.stack);
        self.hooked.push((around, mark));
    }

    /// Closes what was opened since the host entered, as the engine's call hook says that
    /// it is back.
    pub(super) fn leave_hooked(&mut self, reach: &dyn Reach) {
        let (around, stack) = (self.entry_around(), self.host_stack());
        let is_it = |(entry, mark): &(Fp, Mark)| *entry == around && mark.stack == stack;
        let Some(entered) = self.hooked.iter().rposition(is_it) else {
            return;
        };
        let (_, mark) = self.hooked.remove(entered);
        // What the same stack entered since is over; other tasks' entries are not.
        let mut number = 0;
        self.hooked.retain(|(_, later)| {
            number += 1;
            number <= entered || later.stack != stack
        });
        let open = match self.stack {
            StackId::Fiber(_) if self.stack != stack => {
                let suspended = self.suspended.get(&stack);
                suspended.map_or(0, |(calls, _)| calls.len())
            }
            _ => self.calls.len(),
        };
        let failed = open > mark.left;
        self.close_since(&mark, failed.then_some(&Cause::Unknown), reach);
    }

    /// Returns where the activation was entered that the host's code is called by: none,
    /// if by none.
    fn entry_around(&self) -> Fp {
        self.context.map_or(Fp::NONE, StoreContext::entry)
    }

    /// Closes everything, at the store's end.
    pub(super) fn close_all(&mut self, cause: &Cause<'_>, reach: &dyn Reach) {
        let mut panic = self.try_close_down_to(0, cause, reach);
        let others: Vec<StackId> = self.suspended.keys().copied().collect();
        for stack in others {
            self.switch_to(stack);
            panic = panic.or(self.try_close_down_to(0, cause, reach));
        }
        raise(panic);
    }

    /// Closes the newest calls of the current stack until `left` are open.
    ///
    /// A listener that panics does not keep the others from hearing; its panic goes on when
    /// all have heard.
    pub(super) fn close_down_to(&mut self, left: usize, cause: &Cause<'_>, reach: &dyn Reach) {
        raise(self.try_close_down_to(left, cause, reach));
    }

    /// As [`Self::close_down_to`], but returns the first panic.
    fn try_close_down_to(
        &mut self,
        left: usize,
        cause: &Cause<'_>,
        reach: &dyn Reach,
    ) -> Option<ListenerPanic> {
        let mut panic = None;
        while self.calls.len() > left {
            let closed = catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: a call is open; nothing is pushed while it hears.
                let (call, slot) = unsafe { self.calls.pop() };
                let site = EventSite::of_gone(self, &reach, call);
                let listener = &call.probe().listener;
                listener.abort(&Call::new(&site), cause, slot);
            }));
            panic = panic.or(closed.err());
        }
        panic
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
            self.unheard += 1;
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
            self.unheard += 1;
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

    /// Makes the next event take the long way: it meets no frame that it knows.
    fn bar(&mut self) {
        self.exit = ExitSlot::NOWHERE;
    }

    /// Ends what [`bar`](Self::bar) began.
    fn unbar(&mut self) {
        self.exit = self
            .context
            .map_or(ExitSlot::NOWHERE, StoreContext::exit_slot);
    }

    /// Keeps words of the event that follows.
    pub(super) fn stage(&mut self, words: &[u64]) {
        if self.staged.len() > MOST_STAGED {
            // For no event: none has so many.
            self.staged.clear();
        }
        self.staged.extend_from_slice(words);
        self.bar();
    }

    /// Returns the words of an event, of which there are so many: those that were staged
    /// for it, and the rest.
    fn values(&mut self, len: usize, rest: &[u64]) -> Vec<u64> {
        let mut values = std::mem::take(&mut self.staged);
        // What was staged for an event that never came lies before.
        let staged = len.saturating_sub(rest.len());
        values.drain(..values.len().saturating_sub(staged));
        values.extend_from_slice(rest);
        values
    }

    /// Keeps the room that words had.
    fn recycle(&mut self, mut values: Vec<u64>) {
        values.clear();
        self.staged = values;
    }
}
