//! Damaged files: they are errors, or still valid and rewritten as such; nothing panics.

use wasmscope_instrument::Module;
use wasmscope_instrument::component::Component;
use wasmscope_instrument::fuzz::{fuzz_component, fuzz_deferred, fuzz_instrument};

use crate::{components, constructs};

/// Random numbers that are the same each time (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

impl Random {
    /// Changes a few bytes of a file.
    fn damaged(&mut self, file: &[u8]) -> Vec<u8> {
        let mut damaged = file.to_vec();
        for _ in 0..=self.below(3) {
            let at = 8 + self.below(damaged.len() - 7);
            match self.below(4) {
                0 if at < damaged.len() => damaged[at] ^= 1 << self.below(8),
                1 if at < damaged.len() => damaged[at] = self.below(256) as u8,
                2 if at < damaged.len() => drop(damaged.remove(at)),
                _ => damaged.insert(at, self.below(256) as u8),
            }
        }
        damaged
    }
}

fn files() -> Vec<Vec<u8>> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/");
    let guest = |name| wat::parse_file(format!("{directory}{name}")).expect("it is valid");
    let mut files = constructs::all();
    files.extend(
        [
            "reactor.wasm",
            "tailcalls.wat",
            "exceptions.wat",
            "manyargs.wat",
        ]
        .map(guest),
    );
    files
}

#[test]
fn no_truncation_of_a_file_is_accepted_unless_it_is_valid() {
    for file in files() {
        for len in 0..=file.len() {
            fuzz_instrument(&file[..len]);
        }
    }
}

#[test]
fn changed_bytes_give_errors_or_valid_modules() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut accepted = 0;
    for file in files() {
        for _ in 0..600 {
            let damaged = random.damaged(&file);
            accepted += u32::from(Module::parse(&damaged).is_ok());
            fuzz_instrument(&damaged);
        }
    }
    assert!(
        accepted > 500,
        "only {accepted} damaged files were still modules"
    );
}

#[test]
fn a_large_guest_survives_changed_bytes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/fib.wasm");
    let file = wat::parse_file(path).unwrap();
    let mut random = Random(1);
    for _ in 0..40 {
        let mut damaged = file.clone();
        let at = random.below(damaged.len());
        damaged[at] = random.below(256) as u8;
        fuzz_instrument(&damaged);
    }
}

#[test]
fn no_truncation_of_a_component_is_accepted_unless_it_is_valid() {
    for (_, file) in components::cases() {
        for len in 0..=file.len() {
            fuzz_component(&file[..len]);
            fuzz_deferred(&file[..len]);
        }
    }
}

#[test]
fn changed_bytes_give_errors_or_valid_components() {
    let mut random = Random(0x0123_4567_89ab_cdef);
    let mut accepted = 0;
    for (_, file) in components::cases() {
        for _ in 0..1500 {
            let damaged = random.damaged(&file);
            accepted += u32::from(Component::parse(&damaged).is_ok());
            fuzz_component(&damaged);
            fuzz_deferred(&damaged);
        }
    }
    assert!(
        accepted > 500,
        "only {accepted} damaged files were still components"
    );
}

#[test]
fn a_real_component_survives_changed_bytes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/component.wasm");
    let file = std::fs::read(path).unwrap();
    let mut random = Random(3);
    for _ in 0..40 {
        fuzz_component(&random.damaged(&file));
    }
}
