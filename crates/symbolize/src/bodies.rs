//! Where the functions' bodies of a core module begin, and their instructions.
//!
//! An engine says of code at a function's entry that it comes from the body's first
//! byte. That is where the locals are declared: a count, which is no opcode but can
//! look like one.

use std::ops::Range;

use wasmparser::{BinaryReader, FunctionBody};

/// The ranges of all bodies, in order.
#[derive(Debug, Default)]
pub(crate) struct Bodies(Vec<Range<usize>>);

impl Bodies {
    /// Reads the sizes of the bodies in the code section at `range` of the file; as
    /// many as are whole.
    pub(crate) fn read(bytes: &[u8], range: &Range<usize>) -> Self {
        let mut bodies = Vec::new();
        let section = bytes.get(range.clone()).unwrap_or_default();
        let mut reader = BinaryReader::new(section, range.start);
        let count = reader.read_var_u32().unwrap_or(0);
        for _ in 0..count {
            let Ok(size) = reader.read_var_u32() else {
                break;
            };
            let start = reader.original_position();
            if reader.read_bytes(size as usize).is_err() {
                break;
            }
            bodies.push(start..reader.original_position());
        }
        Self(bodies)
    }

    /// Returns where the body of a function is, by its place among those that the module
    /// defines.
    pub(crate) fn defined(&self, index: usize) -> Option<Range<usize>> {
        self.0.get(index).cloned()
    }

    /// Tells whether the byte at `at` belongs to a body's instructions, rather than
    /// to its declaration of locals or to no body at all.
    pub(crate) fn has_instruction(&self, bytes: &[u8], at: usize) -> bool {
        let after = self.0.partition_point(|body| body.start <= at);
        let body = after.checked_sub(1).and_then(|before| self.0.get(before));
        let Some(body) = body.filter(|body| body.contains(&at)) else {
            return false;
        };
        let code = bytes.get(body.clone()).unwrap_or_default();
        FunctionBody::new(BinaryReader::new(code, body.start))
            .get_operators_reader()
            .is_ok_and(|operators| operators.original_position() <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locals_are_no_instructions() {
        // Two bodies: no locals and `end`; one run of two i32 and `unreachable end`.
        let code = [2, 2, 0, 0x0b, 5, 1, 2, 0x7f, 0x00, 0x0b];
        let bodies = Bodies::read(&code, &(0..code.len()));
        let instructions: Vec<usize> = (0..code.len() + 2)
            .filter(|&at| bodies.has_instruction(&code, at))
            .collect();
        assert_eq!(instructions, [3, 8, 9]);
    }

    #[test]
    fn damage_ends_the_list() {
        for code in [
            &[][..],
            &[0xff],
            &[9, 9, 9],
            &[0xff, 0xff, 0xff, 0xff, 0x0f, 1],
        ] {
            assert!(Bodies::read(code, &(0..code.len())).0.is_empty());
            assert!(Bodies::read(code, &(5..70)).0.is_empty());
        }
    }
}
