//! Real files with bytes changed, moved and cut off: no question panics, and
//! what is broken is said.

use std::path::Path;

use crate::generate::Plan;
use wasmscope_address::{FuncIndex, ModuleIndex, WasmOffset};
use wasmscope_symbolize::fuzz::fuzz_symbols;
use wasmscope_symbolize::{Error, Symbols};

/// Xorshift: the same damage in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(6) {
            if bytes.is_empty() {
                break;
            }
            let at = self.below(bytes.len());
            let span = self.below(16).min(bytes.len() - at);
            match self.below(7) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                2 => bytes[at..at + span].fill(0xff),
                3 => bytes[at..at + span].fill(0),
                4 => {
                    let from = self.below(bytes.len() - span);
                    bytes.copy_within(from..from + span, at);
                }
                5 => drop(bytes.drain(at..at + span)),
                // Most of the file is needed to get far.
                _ if self.below(8) == 0 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, self.below(256) as u8),
            }
        }
    }
}

fn guest(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests");
    std::fs::read(folder.join(name)).unwrap()
}

#[test]
fn whole_files_answer() {
    for name in ["fib.wasm", "shapes.wasm", "inline.wasm", "component.wasm"] {
        fuzz_symbols(&guest(name));
    }
}

#[test]
fn damaged_files_do_not_panic() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut seeds: Vec<_> = (3..=5)
        .map(|version| (Plan::new(version).bytes(), 800))
        .collect();
    for name in ["fib.wasm", "shapes.wasm", "component.wasm"] {
        seeds.push((guest(name), 60));
    }
    let mut broken = 0;
    for (seed, rounds) in seeds {
        for _ in 0..rounds {
            let mut bytes = seed.clone();
            random.damage(&mut bytes);
            fuzz_symbols(&bytes);
            broken += usize::from(problem(&bytes).is_some());
        }
    }
    // The damage is real: it is noticed often.
    assert!(broken > 500, "only {broken} files were found broken");
}

/// Asks enough to read everything there is for a few functions.
fn problem(bytes: &[u8]) -> Option<Error> {
    let symbols = Symbols::new(bytes.to_vec());
    let step = (bytes.len() / 64).max(1);
    for offset in (0..bytes.len()).step_by(step) {
        symbols.frames(ModuleIndex(0), FuncIndex(2), WasmOffset(offset as u32));
    }
    symbols.problem()
}

#[test]
fn every_cut_is_survived_and_names_its_place() {
    let bytes = Plan::new(5).bytes();
    let (mut silent, module) = (0, ModuleIndex(0));
    for len in 0..bytes.len() {
        let symbols = Symbols::new(bytes[..len].to_vec());
        let name = symbols.function_name(module, FuncIndex(2));
        match symbols.problem() {
            Some(Error::NotWasm) => assert!(len < 8),
            Some(Error::Truncated {
                offset, available, ..
            }) => {
                assert_eq!(offset + available, len);
            }
            Some(Error::Malformed { offset, .. }) => assert!(offset <= len),
            Some(other) => panic!("{len}: {other}"),
            // Between two sections nothing is broken.
            None => silent += 1,
        }
        let frames = symbols.frames(module, FuncIndex(2), WasmOffset(60));
        assert_eq!(frames.last().map(|it| it.inlined), Some(false));
        assert!(name.raw.is_none() || len == bytes.len() || len > bytes.len() - 40);
    }
    assert!(silent < 20, "{silent} cuts were not noticed");
}

#[test]
fn other_files_are_not_wasm() {
    for bytes in [
        &b""[..],
        b"\x7fELF\x02\x01\x01\0\0",
        b"(module)",
        b"\0asm\x02\0\0\0",
    ] {
        let symbols = Symbols::new(bytes.to_vec());
        let name = symbols.function_name(ModuleIndex(0), FuncIndex(5));
        assert_eq!(&*name.display, "<wasm function 5>");
        assert_eq!(symbols.problem(), Some(Error::NotWasm));
    }
}
