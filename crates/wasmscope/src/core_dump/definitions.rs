//! What the core modules of a guest define, by its bytes.

use wasmparser::{Encoding, Parser, Payload};

/// The memories and globals that one core module defines.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Definitions {
    /// Of each memory, whether threads share it.
    pub(super) memories: Vec<bool>,
    pub(super) globals: u32,
}

impl Definitions {
    /// Reads those of a core module, or of each core module within a component, in the order in
    /// which they stand there; `None` where the bytes are malformed.
    pub(super) fn read(bytes: &[u8]) -> Option<Vec<Self>> {
        let mut all: Vec<Self> = Vec::new();
        // What the parser is in, outermost first; a component is `None`.
        let mut within: Vec<Option<usize>> = Vec::new();
        for payload in Parser::new(0).parse_all(bytes) {
            let module = |within: &[Option<usize>]| within.last().copied().flatten();
            match payload.ok()? {
                Payload::Version { encoding, .. } => within.push(match encoding {
                    Encoding::Module => {
                        all.push(Self::default());
                        Some(all.len() - 1)
                    }
                    Encoding::Component => None,
                }),
                Payload::MemorySection(memories) => {
                    let of = all.get_mut(module(&within)?)?;
                    for memory in memories {
                        of.memories.push(memory.ok()?.shared);
                    }
                }
                Payload::GlobalSection(globals) => {
                    let of = all.get_mut(module(&within)?)?;
                    for global in globals {
                        global.ok()?;
                        of.globals += 1;
                    }
                }
                Payload::End(_) => drop(within.pop()),
                _ => {}
            }
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(Vec<bool>, u32)> {
        let all = Definitions::read(&wat::parse_str(text).unwrap()).unwrap();
        all.into_iter()
            .map(|it| (it.memories, it.globals))
            .collect()
    }

    #[test]
    fn imports_are_not_definitions() {
        let text = "(module (import \"\" \"m\" (memory 1)) (import \"\" \"g\" (global i32))
            (memory 1 2 shared) (memory 3) (global i64 (i64.const 1)))";
        assert_eq!(read(text), [(vec![true, false], 1)]);
        assert_eq!(read("(module)"), [(vec![], 0)]);
    }

    #[test]
    fn modules_of_components_are_in_order() {
        let text = "(component
            (core module (memory 1))
            (component (core module (global i32 (i32.const 1))) (core module))
            (core module (memory 2) (memory 1) (global i32 (i32.const 1))))";
        assert_eq!(
            read(text),
            [
                (vec![false], 0),
                (vec![], 1),
                (vec![], 0),
                (vec![false, false], 1)
            ]
        );
    }

    #[test]
    fn what_is_cut_has_none() {
        let bytes = wat::parse_str("(module (memory 1) (global i32 (i32.const 1)))").unwrap();
        // Within the sections of memories and of globals, and in the last byte of them.
        for missing in [1, 3, 7, 9] {
            let cut = &bytes[..bytes.len() - missing];
            assert_eq!(Definitions::read(cut), None, "{missing}");
        }
        assert_eq!(Definitions::read(b"\0asm\x0d\0\x02\0"), None);
    }

    /// Nothing that a byte may become makes it panic or count what is not there.
    #[test]
    fn damaged_binaries() {
        let text = "(component (core module (memory 1) (global i32 (i32.const 1)))
            (component (core module (memory 1 1 shared) (memory 2)))
            (core module (global i64 (i64.const 1)) (global f32 (f32.const 1))))";
        let bytes = wat::parse_str(text).unwrap();
        let mut read = 0;
        for at in 0..bytes.len() {
            for value in 0..=u8::MAX {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                let Some(all) = Definitions::read(&damaged) else {
                    continue;
                };
                read += 1;
                // No definition takes less than two bytes.
                let count = |it: &Definitions| it.memories.len() + it.globals as usize;
                assert!(all.iter().map(count).sum::<usize>() * 2 <= bytes.len());
            }
        }
        assert!(read > bytes.len(), "{read}");
    }
}
