//! What the host knows of the stack, because it said each step of it.

use crate::guest::{Function, Step};
use std::collections::HashMap;
use wasmscope::StoreId;

/// A store by the number that it has as its data.
pub(crate) type StoreNumber = u32;

/// What a frame's stack is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begin {
    /// Called by the guest's frame before it.
    Called,
    /// Entered by the host.
    Entered,
    /// Entered by the host, on a fiber.
    OnFiber,
    /// The first of a continuation.
    OnContinuation,
}

/// One frame of a guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) store: StoreNumber,
    pub(crate) function: Function,
    pub(crate) begin: Begin,
    /// What it does.
    pub(crate) step: Step,
}

/// How deep a play goes, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Frames of guests.
    pub(crate) frames: usize,
    /// Steps after which all return.
    pub(crate) steps: usize,
    /// Times that the host is on the stack.
    pub(crate) entries: usize,
    pub(crate) fibers: usize,
    pub(crate) continuations: usize,
    /// In how many calls one is not a plain one.
    pub(crate) one_in: u64,
    /// In how many steps one is a look.
    pub(crate) look_one_in: u64,
}

/// The record of one play, and what comes next.
#[derive(Debug)]
pub(crate) struct Play {
    /// Oldest first.
    pub(crate) entries: Vec<Entry>,
    /// Which store is which.
    pub(crate) stores: HashMap<StoreNumber, StoreId>,
    pub(crate) looks: usize,
    pub(crate) deepest: usize,
    limits: Limits,
    steps: usize,
    /// Where it grows or shrinks to.
    target: usize,
    random: u64,
}

/// Frames that a fiber or continuation has room for.
const MOST_ON_ONE: usize = 3_000;

impl Play {
    pub(crate) fn new(seed: u64, limits: Limits) -> Self {
        Self {
            entries: Vec::new(),
            stores: HashMap::new(),
            looks: 0,
            deepest: 0,
            limits,
            steps: 0,
            target: limits.frames,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // xorshift64*.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    fn count(&self, begin: &[Begin]) -> usize {
        let entries = self.entries.iter();
        entries.filter(|entry| begin.contains(&entry.begin)).count()
    }

    /// Says what the newest frame does next, and notes it.
    pub(crate) fn next(&mut self, is_on_fiber: bool) -> Step {
        let step = self.choose(is_on_fiber);
        let newest = self.entries.last_mut().expect("a guest asks");
        newest.step = step;
        let store = newest.store;
        match step {
            Step::Return => {
                self.entries.pop();
            }
            Step::Call => self.push(store, Function::A, Begin::Called),
            Step::CallIndirect => self.push(store, Function::B, Begin::Called),
            Step::Resume => self.push(store, Function::C, Begin::OnContinuation),
            Step::Enter | Step::Other | Step::Fiber => {}
            Step::Capture => self.looks += 1,
        }
        step
    }

    pub(crate) fn push(&mut self, store: StoreNumber, function: Function, begin: Begin) {
        let step = Step::Return;
        self.entries.push(Entry {
            store,
            function,
            begin,
            step,
        });
        self.deepest = self.deepest.max(self.entries.len());
    }

    fn choose(&mut self, is_on_fiber: bool) -> Step {
        self.steps += 1;
        let depth = self.entries.len();
        if self.steps > self.limits.steps {
            return Step::Return;
        }
        if self.below(self.limits.look_one_in) == 0 {
            return Step::Capture;
        }
        let step = if depth >= self.target { -1 } else { 1 };
        if depth == self.target {
            // Down to somewhere, or up again.
            self.target = if self.target == self.limits.frames {
                1 + self.below(self.limits.frames as u64) as usize
            } else {
                self.limits.frames
            };
            return Step::Capture;
        }
        if step < 0 {
            return if depth > 1 { Step::Return } else { Step::Call };
        }
        let since = self
            .entries
            .iter()
            .rposition(|entry| matches!(entry.begin, Begin::OnFiber | Begin::OnContinuation));
        if let Some(at) = since.filter(|at| depth - at > MOST_ON_ONE) {
            self.target = at.max(1);
            return Step::Return;
        }
        if self.below(self.limits.one_in) != 0 {
            return [Step::Call, Step::CallIndirect][self.below(2) as usize];
        }
        let entries = self.count(&[Begin::Entered, Begin::OnFiber]);
        let fibers = self.count(&[Begin::OnFiber]);
        let continuations = self.count(&[Begin::OnContinuation]);
        match self.below(4) {
            0 if entries < self.limits.entries && (!is_on_fiber || fibers < self.limits.fibers) => {
                Step::Enter
            }
            1 if entries < self.limits.entries => Step::Other,
            2 if entries < self.limits.entries && fibers < self.limits.fibers => Step::Fiber,
            3 if continuations < self.limits.continuations && !is_on_fiber => Step::Resume,
            _ => Step::Call,
        }
    }
}
