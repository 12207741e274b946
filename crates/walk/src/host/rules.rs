//! How to leave the frame at one address of host code, remembered as a rule.
//!
//! An unwind table says for each address where the caller's registers are, relative to the
//! stack or the frame pointer. Evaluating it takes tens of nanoseconds; a rule that came of
//! it takes two loads. No table is read here: the unwinder is asked twice, with registers and
//! memory that are made up, and what it read and returned says what it would do with any. An
//! address whose answers are not such a rule is not remembered.

use super::unwinder::HostUnwinder;
use crate::x86_64::Registers;
use crate::{HostStep, HostUnwind as _, Memory, MemoryFn, X86_64};
use alloc::boxed::Box;
use alloc::vec;
use wasmscope_address::HostPc;

/// What a frame's caller is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Sp,
    Fp,
}

/// How to leave a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// The caller's stack pointer is `cfa` above the base, with the return address below it;
    /// its frame pointer is the same, or stored `fp_at` from the base.
    Frame {
        base: Base,
        cfa: i32,
        fp_at: Option<i32>,
    },
    /// There is no caller to be found by registers and stack, whatever they are.
    End(HostStep<X86_64>),
}

/// Where an instruction or a return address is, as one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u64);

impl Place {
    pub(super) fn new(pc: HostPc, is_return_address: bool) -> Self {
        // No address of a program has the highest bit.
        Self(pc.0 | u64::from(is_return_address) << 63)
    }

    /// No place.
    pub(super) const NONE: Self = Self(0);

    /// Returns a number below `count`, a power of two, that spreads places.
    pub(super) fn slot(self, count: usize) -> usize {
        let spread = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        (spread as usize) & count.wrapping_sub(1)
    }
}

/// Rules by their place; what takes another's slot replaces it.
pub(super) struct Rules(Box<[(Place, Rule)]>);

const RULES: usize = 1024;

impl Rules {
    pub(super) fn new() -> Self {
        let none = (Place::NONE, Rule::End(HostStep::Root));
        Self(vec![none; RULES].into())
    }

    /// Returns the rule for a place, if what leaves it is one.
    pub(super) fn at(
        &mut self,
        pc: HostPc,
        is_return_address: bool,
        unwinder: &mut HostUnwinder<'_>,
    ) -> Option<Rule> {
        let place = Place::new(pc, is_return_address);
        let slot = self.0.get_mut(place.slot(RULES))?;
        if slot.0 == place {
            return Some(slot.1);
        }
        let rule = find_rule(pc, is_return_address, unwinder)?;
        *slot = (place, rule);
        Some(rule)
    }
}

/// Made-up registers, far from each other and from what is below them.
const PROBES: [(u64, u64); 2] = [
    (1 << 40, (1 << 40) + (1 << 30)),
    (3 << 40, (3 << 40) + (1 << 29)),
];

/// Made-up memory holds each word's address, and this more.
const STORED: u64 = 1 << 50;

/// The furthest that a rule reaches.
const REACH: i64 = 1 << 24;

fn find_rule(pc: HostPc, is_return_address: bool, unwinder: &mut HostUnwinder<'_>) -> Option<Rule> {
    let mut rules = PROBES.iter().map(|&(sp, fp)| {
        let registers = Registers { pc, sp, fp };
        let reads = core::cell::Cell::new(false);
        let memory = MemoryFn(|address: u64| {
            reads.set(true);
            Some(address.wrapping_add(STORED))
        });
        let step = unwinder.step(registers, is_return_address, &memory);
        match step {
            HostStep::Caller {
                registers: caller,
                is_return_address: true,
            } => frame_rule(&registers, &caller),
            HostStep::Caller { .. } => None,
            end if !reads.get() => Some(Rule::End(end)),
            _ => None,
        }
    });
    let (first, second) = (rules.next()??, rules.next()??);
    (first == second).then_some(first)
}

/// Returns the rule by which made-up registers became those of the caller.
fn frame_rule(from: &Registers, caller: &Registers) -> Option<Rule> {
    let within = |address: u64, base: u64| -> Option<i32> {
        let distance = address.wrapping_sub(base).cast_signed();
        (distance.abs() < REACH).then(|| i32::try_from(distance).ok())?
    };
    if caller.pc.0.wrapping_sub(STORED) != caller.sp.wrapping_sub(8) {
        return None;
    }
    let (base, cfa) = match within(caller.sp, from.sp) {
        Some(cfa) => (Base::Sp, cfa),
        None => (Base::Fp, within(caller.sp, from.fp)?),
    };
    let base_at = match base {
        Base::Sp => from.sp,
        Base::Fp => from.fp,
    };
    let fp_at = if caller.fp == from.fp {
        None
    } else {
        Some(within(caller.fp.wrapping_sub(STORED), base_at)?)
    };
    Some(Rule::Frame { base, cfa, fp_at })
}

impl Base {
    pub(super) fn of(self, registers: &Registers) -> u64 {
        match self {
            Base::Sp => registers.sp,
            Base::Fp => registers.fp,
        }
    }
}

/// Leaves a frame by its rule, or returns `None` where the unwinder should say what is wrong.
#[inline]
pub(super) fn leave(
    (base, cfa, fp_at): (Base, i32, Option<i32>),
    registers: &Registers,
    memory: &impl Memory,
) -> Option<Registers> {
    let base = base.of(registers);
    let sp = base.wrapping_add_signed(i64::from(cfa));
    if sp <= registers.sp {
        return None;
    }
    let fp = match fp_at {
        None => registers.fp,
        Some(at) => memory.read(base.wrapping_add_signed(i64::from(at)))?,
    };
    let pc = memory.read(sp.wrapping_sub(8))?;
    (pc != 0).then_some(Registers {
        pc: HostPc(pc),
        sp,
        fp,
    })
}
