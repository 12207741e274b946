//! The fuzzers' bodies on mutations of real files: bounded, and the same each time.

use wasmscope_profile::{Format, fuzz};

use crate::fixture;

/// A small generator of numbers (xorshift): the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Changes some bytes: flips, cuts, repeats, inserts, and takes parts of `other`.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let length = random.below(20).min(bytes.len() - at);
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let part = bytes[at..at + length].to_vec();
                bytes.splice(at..at, part);
            }
            5 => {
                let from = random.below(other.len() + 1);
                let part = &other[from..(from + length).min(other.len())];
                bytes.splice(at..at, part.iter().copied());
            }
            _ => bytes.insert(at, random.next() as u8),
        }
    }
}

fn run(seeds: &[Vec<u8>], body: fn(&[u8]), rounds: usize) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for seed in seeds {
        body(seed);
    }
    for _ in 0..rounds {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        let other = &seeds[random.below(seeds.len())];
        mutate(&mut bytes, other, &mut random);
        body(&bytes);
    }
}

fn seeds(format: Format, compress: &[bool]) -> Vec<Vec<u8>> {
    let profiles = [fixture::profile(), fixture::empty()];
    let mut seeds = Vec::new();
    for profile in &profiles {
        for &compress in compress {
            let mut bytes = Vec::new();
            profile.write(format, compress, &mut bytes).unwrap();
            seeds.push(bytes);
        }
    }
    seeds
}

#[test]
fn mutated_pprof_never_panics() {
    run(&seeds(Format::Pprof, &[false]), fuzz::fuzz_pprof, 4000);
}

#[test]
fn mutated_compressed_pprof_never_panics() {
    run(&seeds(Format::Pprof, &[true]), fuzz::fuzz_pprof, 4000);
}

#[test]
fn mutated_folded_never_panics() {
    run(&seeds(Format::Folded, &[false]), fuzz::fuzz_folded, 4000);
}
