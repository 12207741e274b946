//! The body of the fuzz targets, which plain tests run too.
//!
//! Bytes stand for everything that the walk reads of the outside: registers, code
//! and memory. Nothing may panic and every walk must end.

use crate::{Aarch64, Architecture, End, MemoryFn, NoHost, Text, Window, Windows, X86_64, walk};
use crate::{aarch64, x86_64};
use core::ops::ControlFlow;
use wasmscope_address::{HostPc, TextOffset, TextRange};

const STACK: u64 = 0x7000_0000;
const CODE: u64 = 0x40_0000;

/// Reads windows from the bytes as from a text, and walks with the same bytes as
/// registers and stack.
pub fn fuzz_walk(data: &[u8]) {
    let (words, _) = data.as_chunks::<8>();
    let word = |at: usize| words.get(at).map_or(0, |word| u64::from_le_bytes(*word));
    let limit = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let split = u32::try_from(word(4) & 0xffff).unwrap_or(0).min(limit);
    let functions = [0..split, split.saturating_add(3)..limit];

    let registers = x86_64::Registers {
        pc: HostPc(word(0)),
        sp: word(1),
        fp: word(2),
    };
    let windows = Windows::<X86_64>::classify(data, functions.clone());
    check(&windows, limit);
    walk_all(registers, &windows, words);

    let registers = aarch64::Registers {
        pc: HostPc(word(0)),
        sp: word(1),
        fp: word(2),
        lr: word(3),
    };
    let windows = Windows::<Aarch64>::classify(data, functions);
    check(&windows, limit);
    walk_all(registers, &windows, words);
}

/// Windows are sorted and apart, whatever they were read from.
fn check<A: Architecture>(windows: &[Window<A>], limit: u32) {
    let mut end = TextOffset(0);
    for window in windows {
        assert!(end <= window.start && window.start < window.end);
        end = window.end;
    }
    assert!(end.0 <= limit);
}

fn walk_all<A: Architecture>(registers: A::Registers, windows: &[Window<A>], words: &[[u8; 8]]) {
    let Some(range) = TextRange::new(HostPc(CODE), 0x1_0000) else {
        return;
    };
    let text = Text { range, windows };
    // As the registers are, then with each of them led to where it does most harm.
    let near = |address: u64, from: u64| from.wrapping_add(address & 0xff8);
    let led = A::caller(
        HostPc(near(A::pc(&registers).0, CODE)),
        near(A::sp(&registers), STACK),
        near(A::fp(&registers), STACK) & !15,
    );
    let at_window = windows.iter().map(|window| {
        let pc = HostPc(CODE.wrapping_add(u64::from(window.start.0)));
        A::caller(pc, A::sp(&led), A::fp(&led))
    });
    for registers in [registers, led].into_iter().chain(at_window.take(64)) {
        let memory = MemoryFn(|address: u64| {
            let offset = address.checked_sub(STACK)?;
            let word = words.get(usize::try_from(offset >> 3).ok()?)?;
            let word = u64::from_le_bytes(*word);
            // Half of all words are led to the stack or the code.
            Some(match word & 7 {
                0 | 1 => near(word, STACK) & !15,
                2 | 3 => near(word, CODE),
                _ => word,
            })
        });
        let mut frames = 0usize;
        let end = walk::<A>(registers, &memory, &text, &mut NoHost, |_| {
            frames = frames.saturating_add(1);
            ControlFlow::Continue(())
        });
        // Each frame takes two words of the stack, but for the newest two.
        assert!(frames <= words.len().saturating_add(2));
        assert_ne!(end, End::Stopped);
    }
}

#[cfg(test)]
mod tests {
    use super::fuzz_walk;
    use alloc::vec::Vec;

    /// A reproducible stream of bytes.
    fn bytes(seed: u64) -> impl Iterator<Item = u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        core::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
    }

    #[test]
    fn any_bytes_are_survived() {
        for seed in 0..3000 {
            let len = (seed as usize).wrapping_mul(7) % 2048;
            let data: Vec<u8> = bytes(seed).take(len).collect();
            fuzz_walk(&data);
        }
    }

    #[test]
    fn damaged_code_is_survived() {
        // A function with both kinds of prologue, a tail call and a jump table.
        let code = [
            0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x20, 0x48, 0x89, 0xe5, 0x4c, 0x8b, 0x5c,
            0x24, 0x20, 0x4c, 0x89, 0x1c, 0x24, 0x4c, 0x8b, 0x5c, 0x24, 0x28, 0x4c, 0x89, 0x5c,
            0x24, 0x08, 0x48, 0x8d, 0x05, 0x0a, 0x00, 0x00, 0x00, 0x48, 0x63, 0x0c, 0x88, 0x48,
            0x01, 0xc8, 0xff, 0xe0, 0x08, 0x00, 0x00, 0x00, 0x0a, 0x00, 0x00, 0x00, 0x90, 0x48,
            0x89, 0xec, 0x5d, 0xc3,
        ];
        let long: Vec<u8> = code.iter().copied().cycle().take(600).collect();
        fuzz_walk(&long);
        for seed in 0..20_000u64 {
            let mut data = long.clone();
            let mut random = bytes(seed);
            for _ in 0..=seed % 5 {
                let mut next = || usize::from(random.next().unwrap_or(0));
                let at = (next() << 8 | next()) % data.len();
                data[at] = next() as u8;
            }
            fuzz_walk(&data);
        }
    }
}
