//! Runs of host frames, remembered as a whole.
//!
//! Between a guest and the host function that it called, or that called it, lie tens of host
//! frames, the same ones each time. Each step through them follows a rule of the address that
//! it is at; the rules and the addresses being the same, so are all distances. A run is
//! remembered as the words that hold its return addresses, by their distance from the stack
//! pointer that it starts with:
//!
//! ```text
//!   start: pc, sp
//!     sp +  40: holds 0x55..10, as it did          each word is compared, in this order;
//!     sp + 136: holds 0x55..f2, as it did          the rule of an address that has been
//!     sp + 152: holds sp + 480, as it did          compared says where the next one is
//!     ...
//!   outcome: pc, sp + 912, fp from sp + 896
//! ```
//!
//! When each holds what it held the outcome is what unwinding step by step would come to,
//! exactly, wherever on a stack the run lies. Where a frame pointer leads on, its distance
//! from the start is compared instead.

use super::rules::{Base, Place, Rule, Rules, leave};
use super::unwinder::{Exchange, HostUnwinder, Switch};
use crate::x86_64::Registers;
use crate::{Expected, HostStep, HostUnwind, Memory, Texts, X86_64};
use alloc::boxed::Box;
use alloc::vec::Vec;
use wasmscope_address::HostPc;

/// Words of one run that are remembered; a longer run is left rule by rule.
const MOST_WORDS: usize = 128;

/// Runs that share a slot.
const WAYS: usize = 4;

const SLOTS: usize = 8;

/// Where the frame pointer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FpAt {
    /// Where it was at the start.
    Start,
    /// In the word at this distance from the start's stack pointer.
    Distance(u32),
}

/// What a run leads to.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// Guest code, or host code whose frame has no rule.
    Frame,
    End(HostStep<X86_64>),
}

/// One run.
struct Run {
    place: Place,
    /// The start's frame pointer, by its distance, if it leads on.
    fp: Option<u64>,
    words: Vec<Expected>,
    /// The last frame's registers.
    pc: HostPc,
    sp: u64,
    fp_at: FpAt,
    outcome: Outcome,
}

/// What is remembered of host frames: 100 KB, made once for a thread. Using it allocates
/// nothing.
pub struct HostMemo {
    rules: Rules,
    runs: Box<[Run]>,
    next: usize,
    generation: u64,
    /// Where the last stack that another resumed had its first frame, and what it was.
    exchange: Option<(HostPc, Exchange)>,
}

impl HostMemo {
    /// Makes an empty one.
    #[must_use]
    pub fn new() -> Self {
        let run = || Run {
            place: Place::NONE,
            fp: None,
            words: Vec::with_capacity(MOST_WORDS),
            pc: HostPc(0),
            sp: 0,
            fp_at: FpAt::Start,
            outcome: Outcome::Frame,
        };
        Self {
            rules: Rules::new(),
            runs: core::iter::repeat_with(run)
                .take(WAYS.wrapping_mul(SLOTS))
                .collect(),
            next: 0,
            generation: 0,
            exchange: None,
        }
    }

    /// Forgets runs that were found among other guests: they end where guests begin.
    /// `generation` is a number of the guests that are there now.
    pub fn among(&mut self, generation: u64) {
        if self.generation != generation {
            self.generation = generation;
            for run in &mut self.runs {
                run.place = Place::NONE;
            }
        }
    }
}

impl Default for HostMemo {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for HostMemo {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HostMemo").finish_non_exhaustive()
    }
}

impl Run {
    /// Returns the registers at the end, if all is as it was.
    #[inline]
    fn again(&self, place: Place, from: &Registers, memory: &impl Memory) -> Option<Registers> {
        let sp = from.sp;
        if self.place != place || self.fp.is_some_and(|fp| from.fp.wrapping_sub(sp) != fp) {
            return None;
        }
        if !memory.holds(sp, &self.words) {
            return None;
        }
        let fp = match self.fp_at {
            FpAt::Start => from.fp,
            FpAt::Distance(distance) => memory.read(sp.wrapping_add(u64::from(distance)))?,
        };
        Some(Registers {
            pc: self.pc,
            sp: sp.wrapping_add(self.sp),
            fp,
        })
    }

    /// Notes a step from `from`, whose stack pointer is `distance` above the start's.
    fn note(
        &mut self,
        start: &Registers,
        from: &Registers,
        (base, cfa, fp_at): (Base, i32, Option<i32>),
        caller: &Registers,
    ) -> Option<()> {
        let distance = |address: u64| u32::try_from(address.wrapping_sub(start.sp)).ok();
        let base_at = base.of(from);
        if base == Base::Fp {
            let value = from.fp.wrapping_sub(start.sp);
            match self.fp_at {
                FpAt::Start => self.fp = Some(value),
                FpAt::Distance(distance) => self.push(Expected::address(distance, value)?)?,
            }
        }
        if let Some(at) = fp_at {
            self.fp_at = FpAt::Distance(distance(base_at.wrapping_add_signed(i64::from(at)))?);
        }
        let slot = base_at.wrapping_add_signed(i64::from(cfa)).wrapping_sub(8);
        self.push(Expected::value(distance(slot)?, caller.pc.0)?)
    }

    fn push(&mut self, word: Expected) -> Option<()> {
        if self.words.len() >= MOST_WORDS {
            return None;
        }
        self.words.push(word);
        Some(())
    }
}

/// Steps through host frames as [`HostUnwinder`] does, by what is remembered.
pub struct MemoUnwinder<'a, T: ?Sized> {
    unwinder: HostUnwinder<'a>,
    memo: &'a mut HostMemo,
    guests: &'a T,
    leaps: bool,
    switch: Option<Switch>,
}

impl<'a, T: Texts<X86_64> + ?Sized> MemoUnwinder<'a, T> {
    /// Makes an unwinder that remembers what `unwinder` found among `guests`, whose
    /// [generation](HostMemo::among) `memo` knows. If it `leaps`, one step leads over a whole
    /// run of host frames, to the guest that called it, or to the end.
    #[must_use]
    pub fn new(
        unwinder: HostUnwinder<'a>,
        memo: &'a mut HostMemo,
        guests: &'a T,
        leaps: bool,
    ) -> Self {
        Self {
            unwinder,
            memo,
            guests,
            leaps,
            switch: None,
        }
    }

    /// Returns where the stack that resumed this one goes on, after a step said
    /// [`HostStep::Fiber`].
    #[must_use]
    pub fn switch(&self) -> Option<Switch> {
        self.switch
    }

    /// Leaves one frame.
    fn single(
        &mut self,
        registers: Registers,
        is_return_address: bool,
        memory: &impl Memory,
    ) -> HostStep<X86_64> {
        let rule = self
            .memo
            .rules
            .at(registers.pc, is_return_address, &mut self.unwinder);
        match rule {
            Some(Rule::Frame { base, cfa, fp_at }) => {
                if let Some(caller) = leave((base, cfa, fp_at), &registers, memory) {
                    return HostStep::Caller {
                        registers: caller,
                        is_return_address: true,
                    };
                }
            }
            Some(Rule::End(end)) => return self.end(end, &registers, memory),
            None => {}
        }
        let step = self.unwinder.step(registers, is_return_address, memory);
        match step {
            HostStep::Caller { .. } => step,
            end => self.end(end, &registers, memory),
        }
    }

    fn end(
        &mut self,
        end: HostStep<X86_64>,
        registers: &Registers,
        memory: &impl Memory,
    ) -> HostStep<X86_64> {
        if end == HostStep::Fiber {
            let pc = registers.pc;
            let exchange = match self.memo.exchange {
                Some((known, exchange)) if known == pc => Some(exchange),
                _ => self.unwinder.exchange(pc),
            };
            self.memo.exchange = exchange.map(|exchange| (pc, exchange));
            self.switch = exchange.and_then(|exchange| exchange.switch(registers, memory));
        }
        end
    }

    /// Leaves frame by frame, as long as that is host code.
    fn run(
        &mut self,
        mut registers: Registers,
        mut is_return_address: bool,
        memory: &impl Memory,
    ) -> HostStep<X86_64> {
        loop {
            let step = self.single(registers, is_return_address, memory);
            let HostStep::Caller {
                registers: caller,
                is_return_address: returns,
            } = step
            else {
                return step;
            };
            if self.is_guest(&caller, returns) {
                return step;
            }
            (registers, is_return_address) = (caller, returns);
        }
    }

    fn is_guest(&self, registers: &Registers, is_return_address: bool) -> bool {
        let pc = registers.pc.0;
        let call = HostPc(pc.wrapping_sub(u64::from(is_return_address)));
        self.guests.find(call).is_some()
    }

    /// Leaves the frames of a run that follow rules, and remembers it.
    fn remember(
        &mut self,
        index: usize,
        place: Place,
        start: Registers,
        is_return_address: bool,
        memory: &impl Memory,
    ) {
        let Some(run) = self.memo.runs.get_mut(index) else {
            return;
        };
        run.place = Place::NONE;
        run.fp = None;
        run.words.clear();
        run.fp_at = FpAt::Start;
        let mut from = start;
        let mut is_return_address = is_return_address;
        run.outcome = loop {
            let rule = self
                .memo
                .rules
                .at(from.pc, is_return_address, &mut self.unwinder);
            let rule = match rule {
                Some(Rule::Frame { base, cfa, fp_at }) => (base, cfa, fp_at),
                Some(Rule::End(end)) => break Outcome::End(end),
                None => break Outcome::Frame,
            };
            let Some(caller) = leave(rule, &from, memory) else {
                break Outcome::Frame;
            };
            if run.note(&start, &from, rule, &caller).is_none() {
                return;
            }
            from = caller;
            is_return_address = true;
            let call = HostPc(from.pc.0.wrapping_sub(1));
            if self.guests.find(call).is_some() {
                break Outcome::Frame;
            }
        };
        if run.words.is_empty() {
            return;
        }
        run.pc = from.pc;
        run.sp = from.sp.wrapping_sub(start.sp);
        run.place = place;
    }
}

impl<T: Texts<X86_64> + ?Sized> HostUnwind<X86_64> for MemoUnwinder<'_, T> {
    #[inline]
    fn step(
        &mut self,
        registers: Registers,
        is_return_address: bool,
        memory: &impl Memory,
    ) -> HostStep<X86_64> {
        if !self.leaps {
            return self.single(registers, is_return_address, memory);
        }
        let place = Place::new(registers.pc, is_return_address);
        let first = place.slot(SLOTS).wrapping_mul(WAYS);
        let ways = first..first.wrapping_add(WAYS);
        for attempt in 0..2 {
            let runs = self.memo.runs.get(ways.clone()).unwrap_or_default();
            let found = runs
                .iter()
                .find_map(|run| Some((run.again(place, &registers, memory)?, run.outcome)));
            match found {
                Some((caller, Outcome::End(end))) => return self.end(end, &caller, memory),
                Some((caller, Outcome::Frame)) if self.is_guest(&caller, true) => {
                    return HostStep::Caller {
                        registers: caller,
                        is_return_address: true,
                    };
                }
                // A frame without a rule; what follows it may be remembered as well.
                Some((caller, Outcome::Frame)) => return self.run(caller, true, memory),
                None if attempt == 0 => {
                    self.memo.next = self.memo.next.wrapping_add(1);
                    let index = first.wrapping_add(self.memo.next % WAYS);
                    self.remember(index, place, registers, is_return_address, memory);
                }
                None => {}
            }
        }
        self.run(registers, is_return_address, memory)
    }
}

impl<T: ?Sized> core::fmt::Debug for MemoUnwinder<'_, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MemoUnwinder")
            .field("leaps", &self.leaps)
            .finish_non_exhaustive()
    }
}
