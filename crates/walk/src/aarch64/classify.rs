//! Finding the windows in aarch64 text.
//!
//! Instructions have four bytes and stand at multiples of four, so a function is
//! read word by word, and the state of its frame carried along:
//!
//! ```text
//!                stp fp,lr,[sp,-16]!; mov fp,sp
//!   Link above 0 ------------------------------> body
//!        ^                                       | |^
//!        |       ldp fp,lr,[sp],16               | ||  mov fp,sp
//!        +---------------------------------------+ |+------------- Link above n+16
//!                                                  +---------------> ldr fp,[sp,n]
//! ```
//!
//! Constants and jump tables stand between the code and look like it. So an end of
//! a body is believed only if the whole sequence follows that the compilers emit.

use super::{Aarch64, Rule};
use crate::Window;
use crate::architecture::Classify;
use alloc::vec::Vec;
use core::ops::Range;
use wasmscope_address::TextOffset;

/// `stp fp, lr, [sp, #-16]!`
const PUSH: u32 = 0xa9bf_7bfd;
/// `mov fp, sp`
const SET_FP: u32 = 0x9100_03fd;
/// `ldp fp, lr, [sp], #16`
const POP: u32 = 0xa8c1_7bfd;
/// `stp fp, lr, [sp]`
const STORE: u32 = 0xa900_7bfd;

impl Classify for Aarch64 {
    fn classify_function(text: &[u8], function: Range<u32>, windows: &mut Vec<Window<Self>>) {
        sweep(text, function, Some(Rule::Link { above: 0 }), windows);
    }

    fn classify_gap(text: &[u8], gap: Range<u32>, windows: &mut Vec<Window<Self>>) {
        // Text starts at a multiple of four.
        let start = gap.start.next_multiple_of(4);
        sweep(text, start..gap.end, None, windows);
    }
}

/// Reads a stretch of code. `state` is `None` in the body.
fn sweep(text: &[u8], range: Range<u32>, state: Option<Rule>, windows: &mut Vec<Window<Aarch64>>) {
    let Some(code) = text.get(range.start as usize..range.end as usize) else {
        return;
    };
    let first = windows.len();
    let mut state = state;
    let (mut words, _) = code.as_chunks::<4>();
    let mut at = range.start;
    while let [word, rest @ ..] = words {
        let word = u32::from_le_bytes(*word);
        let following = |n: usize| rest.get(n).map(|word| u32::from_le_bytes(*word));
        // Trampolines, which nobody lists.
        if state.is_none() && is_prologue(word, following) {
            state = Some(Rule::Link { above: 0 });
        }
        let next = at.saturating_add(4);
        if let Some(rule) = state {
            let open = windows.get_mut(first..).and_then(<[_]>::last_mut);
            match open {
                Some(last) if last.end.0 == at && last.rule == rule => last.end.0 = next,
                _ => windows.push(Window {
                    start: TextOffset(at),
                    end: TextOffset(next),
                    rule,
                }),
            }
        }
        state = match state {
            None if word == POP && is_epilogue(following) => Some(Rule::Link { above: 0 }),
            None => loaded_fp_at(word, following).map(|offset| Rule::Link {
                above: offset.saturating_add(16),
            }),
            Some(_) if word == SET_FP || leaves(word) => None,
            Some(Rule::Link { above: 0 }) if word == PUSH => Some(Rule::Link { above: 16 }),
            Some(Rule::Link { above }) => Some(Rule::Link {
                above: above.saturating_sub(raised_sp_by(word)),
            }),
        };
        words = rest;
        at = next;
    }
}

/// Says whether a function starts here.
fn is_prologue(word: u32, following: impl Fn(usize) -> Option<u32>) -> bool {
    match word {
        PUSH => following(0) == Some(SET_FP),
        _ if is_hint(word) => {
            let push = following(0);
            push == Some(PUSH) && following(1) == Some(SET_FP)
        }
        _ => false,
    }
}

/// Says whether what follows the `ldp` leaves the function.
fn is_epilogue(following: impl Fn(usize) -> Option<u32>) -> bool {
    // An adjustment of the stack pointer by a large number takes four instructions
    // to load it and one to add it; then there may be an authentication.
    const LONGEST: usize = 7;
    for n in 0..LONGEST {
        match following(n) {
            Some(word) if leaves(word) => return true,
            Some(word) if raised_sp_by(word) != 0 || is_hint(word) || adds_scratch(word) => {}
            _ => return false,
        }
    }
    false
}

/// For `ldr fp, [sp, #offset]` as the start of a move of the frame: the offset.
fn loaded_fp_at(word: u32, following: impl Fn(usize) -> Option<u32>) -> Option<i32> {
    if following(0) != Some(STORE) || following(1) != Some(SET_FP) {
        return None;
    }
    let offset = if word & 0xffc0_03ff == 0xf940_03fd {
        // Twelve bits, in units of eight bytes.
        ((word >> 10) & 0xfff) << 3
    } else if word & 0xfff0_0fff == 0xf840_03fd {
        // `ldur`: nine bits, signed; here the sign is not set.
        (word >> 12) & 0xff
    } else {
        return None;
    };
    i32::try_from(offset).ok()
}

/// `ret`, `retaa`, `retab`, `b`, `br`.
fn leaves(word: u32) -> bool {
    word & 0xffff_fc1f == 0xd65f_0000
        || word & 0xffff_fbff == 0xd65f_0bff
        || word & 0xfc00_0000 == 0x1400_0000
        || word & 0xffff_fc1f == 0xd61f_0000
}

/// For `add sp, sp, #n`: n; otherwise zero.
fn raised_sp_by(word: u32) -> i32 {
    if word & 0xff80_03ff != 0x9100_03ff {
        return 0;
    }
    let shift = if word & (1 << 22) == 0 { 0 } else { 12 };
    i32::try_from((word >> 10) & 0xfff).map_or(0, |amount| amount << shift)
}

/// Hints: pointer authentication, branch targets, and what does nothing.
fn is_hint(word: u32) -> bool {
    word & 0xffff_f01f == 0xd503_201f
}

/// Loads a constant into `x16`, or adds it to `sp`.
fn adds_scratch(word: u32) -> bool {
    let is_move_wide = word & 0x1f80_001f == 0x1280_0010;
    let is_or_constant = word & 0x7f80_03ff == 0x3200_03f0;
    // `add sp, sp, x16, uxtx`
    is_move_wide || is_or_constant || word == 0x8b30_63ff
}
