//! The operators that an engine carries out with code of its own.
//!
//! A profiler that finds the engine's code on the stack above a guest function asks
//! what the guest did there. Only those operators are known here; plain arithmetic
//! never leaves the guest. Opcodes: WebAssembly core specification 3.0, binary
//! format, instructions.

use wasmparser::BinaryReader;

/// An operator that the engine may carry out with code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operator {
    name: &'static str,
    is_call: bool,
}

impl Operator {
    /// Returns its name in the text format, such as `memory.grow`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Tells whether it calls a function, which may then be the guest's own, an
    /// import, or any other that it got a reference to.
    #[must_use]
    pub const fn is_call(self) -> bool {
        self.is_call
    }

    /// Decodes the operator at the start of `code`; `None` for one that never leaves
    /// the guest, and for what is no operator.
    pub(crate) fn decode(code: &[u8]) -> Option<Self> {
        const MISC: u8 = 0xfc;
        const GC: u8 = 0xfb;
        const ATOMIC: u8 = 0xfe;
        let mut reader = BinaryReader::new(code, 0);
        let (name, is_call) = match reader.read_u8().ok()? {
            0x00 => ("unreachable", false),
            0x08 => ("throw", false),
            0x0a => ("throw_ref", false),
            0x10 => ("call", true),
            0x11 => ("call_indirect", true),
            0x12 => ("return_call", true),
            0x13 => ("return_call_indirect", true),
            0x14 => ("call_ref", true),
            0x15 => ("return_call_ref", true),
            0x25 => ("table.get", false),
            0x26 => ("table.set", false),
            0x40 => ("memory.grow", false),
            0xd2 => ("ref.func", false),
            0xe0 => ("cont.new", false),
            0xe2 => ("suspend", false),
            0xe3 => ("resume", true),
            0xe6 => ("switch", true),
            MISC => match reader.read_var_u32().ok()? {
                8 => ("memory.init", false),
                9 => ("data.drop", false),
                10 => ("memory.copy", false),
                11 => ("memory.fill", false),
                12 => ("table.init", false),
                13 => ("elem.drop", false),
                14 => ("table.copy", false),
                15 => ("table.grow", false),
                17 => ("table.fill", false),
                _ => return None,
            },
            GC => match reader.read_var_u32().ok()? {
                0 => ("struct.new", false),
                1 => ("struct.new_default", false),
                6 => ("array.new", false),
                7 => ("array.new_default", false),
                8 => ("array.new_fixed", false),
                9 => ("array.new_data", false),
                10 => ("array.new_elem", false),
                16 => ("array.fill", false),
                17 => ("array.copy", false),
                18 => ("array.init_data", false),
                19 => ("array.init_elem", false),
                20 | 21 => ("ref.test", false),
                22 | 23 => ("ref.cast", false),
                24 => ("br_on_cast", false),
                25 => ("br_on_cast_fail", false),
                _ => return None,
            },
            ATOMIC => match reader.read_var_u32().ok()? {
                0 => ("memory.atomic.notify", false),
                1 => ("memory.atomic.wait32", false),
                2 => ("memory.atomic.wait64", false),
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { name, is_call })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_may_leave_the_guest() {
        let name = |code: &[u8]| Operator::decode(code).map(Operator::name);
        assert_eq!(name(&[0x40, 0]), Some("memory.grow"));
        assert_eq!(name(&[0xfc, 11, 0]), Some("memory.fill"));
        assert_eq!(name(&[0xfe, 1]), Some("memory.atomic.wait32"));
        assert_eq!(name(&[0x6a]), None, "i32.add");
        assert_eq!(name(&[]), None);
        assert_eq!(name(&[0xfc]), None);
        assert!(Operator::decode(&[0x11, 0, 0]).is_some_and(Operator::is_call));
    }
}
