//! Writes the few pieces of WebAssembly's binary format that are inserted: numbers,
//! types, instructions.
//!
//! Everything else in a rewritten module is copied.

use wasmparser::{AbstractHeapType, HeapType, RefType, UnpackedIndex, ValType};

/// The type `i32`.
pub(crate) const I32: u8 = 0x7f;
/// The type `i64`.
pub(crate) const I64: u8 = 0x7e;
/// The type `exnref`.
const EXNREF: u8 = 0x69;
/// The block type without parameters or results.
const EMPTY: u8 = 0x40;

/// Opcodes that are looked for.
pub(crate) mod opcode {
    pub(crate) const BLOCK: u8 = 0x02;
    pub(crate) const LOOP: u8 = 0x03;
    pub(crate) const IF: u8 = 0x04;
    pub(crate) const TRY: u8 = 0x06;
    pub(crate) const THROW: u8 = 0x08;
    pub(crate) const THROW_REF: u8 = 0x0a;
    pub(crate) const RETURN: u8 = 0x0f;
    pub(crate) const CALL: u8 = 0x10;
    pub(crate) const RETURN_CALL: u8 = 0x12;
    pub(crate) const RETURN_CALL_INDIRECT: u8 = 0x13;
    pub(crate) const RETURN_CALL_REF: u8 = 0x15;
    pub(crate) const TRY_TABLE: u8 = 0x1f;
    pub(crate) const REF_FUNC: u8 = 0xd2;
}

/// Writes `value` as an unsigned LEB128 number.
pub(crate) fn unsigned(out: &mut Vec<u8>, value: u32) {
    unsigned_padded(out, value, 1);
}

/// Writes `value` as an unsigned LEB128 number of at least `width` bytes, which is at
/// most 5. Returns the width.
pub(crate) fn unsigned_padded(out: &mut Vec<u8>, mut value: u32, width: usize) -> usize {
    let mut written = 1;
    while value >= 0x80 || written < width {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
        written += 1;
    }
    out.push(value as u8);
    written
}

/// Writes `value` as a signed LEB128 number.
pub(crate) fn signed(out: &mut Vec<u8>, mut value: i64) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// Writes a name: its length and its bytes, fewer than 4 GiB.
pub(crate) fn name(out: &mut Vec<u8>, name: &str) {
    unsigned(out, name.len() as u32);
    out.extend_from_slice(name.as_bytes());
}

/// Reads the unsigned LEB128 number at the start of `bytes`, which is known to be valid.
/// Returns it and its width.
pub(crate) fn read_unsigned(bytes: &[u8]) -> (u32, usize) {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return (value, at + 1);
        }
    }
    (value, bytes.len().min(5))
}

/// Writes a value type whose indices are the module's own.
pub(crate) fn value_type(out: &mut Vec<u8>, ty: ValType) {
    match ty {
        ValType::I32 => out.push(I32),
        ValType::I64 => out.push(I64),
        ValType::F32 => out.push(0x7d),
        ValType::F64 => out.push(0x7c),
        ValType::V128 => out.push(0x7b),
        ValType::Ref(ty) => reference_type(out, ty),
    }
}

fn reference_type(out: &mut Vec<u8>, ty: RefType) {
    out.push(if ty.is_nullable() { 0x63 } else { 0x64 });
    heap_type(out, ty.heap_type());
}

fn heap_type(out: &mut Vec<u8>, ty: HeapType) {
    match ty {
        HeapType::Abstract { shared, ty } => {
            if shared {
                out.push(0x65);
            }
            out.push(match ty {
                AbstractHeapType::Func => 0x70,
                AbstractHeapType::Extern => 0x6f,
                AbstractHeapType::Any => 0x6e,
                AbstractHeapType::None => 0x71,
                AbstractHeapType::NoExtern => 0x72,
                AbstractHeapType::NoFunc => 0x73,
                AbstractHeapType::Eq => 0x6d,
                AbstractHeapType::Struct => 0x6b,
                AbstractHeapType::Array => 0x6a,
                AbstractHeapType::I31 => 0x6c,
                AbstractHeapType::Exn => 0x69,
                AbstractHeapType::NoExn => 0x74,
                AbstractHeapType::Cont => 0x68,
                AbstractHeapType::NoCont => 0x75,
            });
        }
        HeapType::Concrete(index) => signed(out, i64::from(type_index(index))),
        HeapType::Exact(index) => {
            out.push(0x62);
            unsigned(out, type_index(index));
        }
    }
}

/// Returns an index that was read from the module, where all are the module's own.
fn type_index(index: UnpackedIndex) -> u32 {
    index.as_module_index().unwrap_or_default()
}

/// The type of a block that takes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BlockType {
    /// It leaves nothing either.
    Empty,
    /// It leaves one value.
    Value(ValType),
    /// It leaves what a function of the type with that index returns.
    Function(u32),
}

fn block_type(out: &mut Vec<u8>, ty: BlockType) {
    match ty {
        BlockType::Empty => out.push(EMPTY),
        BlockType::Value(ty) => value_type(out, ty),
        BlockType::Function(index) => signed(out, i64::from(index)),
    }
}

/// Writes instructions to the end of a buffer.
#[derive(Debug)]
pub(crate) struct Code<'a>(pub(crate) &'a mut Vec<u8>);

impl Code<'_> {
    fn indexed(&mut self, opcode: u8, index: u32) -> &mut Self {
        self.0.push(opcode);
        unsigned(self.0, index);
        self
    }

    fn plain(&mut self, opcode: u8) -> &mut Self {
        self.0.push(opcode);
        self
    }

    pub(crate) fn block(&mut self, ty: BlockType) -> &mut Self {
        self.0.push(opcode::BLOCK);
        block_type(self.0, ty);
        self
    }

    pub(crate) fn block_exnref(&mut self) -> &mut Self {
        self.plain(opcode::BLOCK).plain(EXNREF)
    }

    /// Opens a `try_table` that takes every exception, with its reference, to label 0
    /// outside it.
    pub(crate) fn try_catch_all_ref(&mut self, ty: BlockType) -> &mut Self {
        self.0.push(opcode::TRY_TABLE);
        block_type(self.0, ty);
        self.0.extend_from_slice(&[1, 0x03, 0]);
        self
    }

    pub(crate) fn if_empty(&mut self) -> &mut Self {
        self.plain(opcode::IF).plain(EMPTY)
    }

    /// Opens an `if` that leaves an `i32`.
    pub(crate) fn if_i32(&mut self) -> &mut Self {
        self.plain(opcode::IF).plain(I32)
    }

    pub(crate) fn else_(&mut self) -> &mut Self {
        self.plain(0x05)
    }

    pub(crate) fn end(&mut self) -> &mut Self {
        self.plain(0x0b)
    }

    pub(crate) fn br(&mut self, depth: u32) -> &mut Self {
        self.indexed(0x0c, depth)
    }

    pub(crate) fn return_(&mut self) -> &mut Self {
        self.plain(opcode::RETURN)
    }

    pub(crate) fn throw_ref(&mut self) -> &mut Self {
        self.plain(opcode::THROW_REF)
    }

    pub(crate) fn call(&mut self, function: u32) -> &mut Self {
        self.indexed(opcode::CALL, function)
    }

    pub(crate) fn local_get(&mut self, local: u32) -> &mut Self {
        self.indexed(0x20, local)
    }

    pub(crate) fn local_set(&mut self, local: u32) -> &mut Self {
        self.indexed(0x21, local)
    }

    pub(crate) fn local_tee(&mut self, local: u32) -> &mut Self {
        self.indexed(0x22, local)
    }

    pub(crate) fn global_get(&mut self, global: u32) -> &mut Self {
        self.indexed(0x23, global)
    }

    pub(crate) fn global_set(&mut self, global: u32) -> &mut Self {
        self.indexed(0x24, global)
    }

    /// Stores an `i64` to an aligned address of a memory of 32 bits.
    pub(crate) fn i64_store(&mut self, memory: u32) -> &mut Self {
        self.plain(0x37).memory(3, memory, 0)
    }

    /// Loads an `i32` from an aligned address of a memory of 32 bits, plus `offset`.
    pub(crate) fn i32_load(&mut self, memory: u32, offset: u32) -> &mut Self {
        self.plain(0x28).memory(2, memory, offset)
    }

    /// Stores an `i32` as [`Self::i32_load`] loads it.
    pub(crate) fn i32_store(&mut self, memory: u32, offset: u32) -> &mut Self {
        self.plain(0x36).memory(2, memory, offset)
    }

    fn memory(&mut self, align: u8, memory: u32, offset: u32) -> &mut Self {
        const OF_MEMORY: u8 = 1 << 6;
        if memory == 0 {
            // The form that engines know which have one memory at most.
            self.plain(align);
        } else {
            self.indexed(align | OF_MEMORY, memory);
        }
        unsigned(self.0, offset);
        self
    }

    pub(crate) fn i32_const(&mut self, value: i32) -> &mut Self {
        self.0.push(0x41);
        signed(self.0, i64::from(value));
        self
    }

    pub(crate) fn i64_const(&mut self, value: i64) -> &mut Self {
        self.0.push(0x42);
        signed(self.0, value);
        self
    }

    /// Pushes what a type's values are at first: zero, or null of a nullable type.
    pub(crate) fn zero(&mut self, ty: ValType) -> &mut Self {
        match ty {
            ValType::I32 => return self.i32_const(0),
            ValType::I64 => return self.i64_const(0),
            ValType::F32 => self.0.extend_from_slice(&[0x43, 0, 0, 0, 0]),
            ValType::F64 => self.0.extend_from_slice(&[0x44, 0, 0, 0, 0, 0, 0, 0, 0]),
            ValType::V128 => {
                self.0.extend_from_slice(&[0xfd, 0x0c]);
                self.0.extend_from_slice(&[0; 16]);
            }
            ValType::Ref(ty) => {
                self.0.push(0xd0);
                heap_type(self.0, ty.heap_type());
            }
        }
        self
    }

    pub(crate) fn ref_as_non_null(&mut self) -> &mut Self {
        self.plain(0xd4)
    }

    pub(crate) fn i32_eqz(&mut self) -> &mut Self {
        self.plain(0x45)
    }

    pub(crate) fn i32_ne(&mut self) -> &mut Self {
        self.plain(0x47)
    }

    pub(crate) fn i32_add(&mut self) -> &mut Self {
        self.plain(0x6a)
    }

    pub(crate) fn i32_and(&mut self) -> &mut Self {
        self.plain(0x71)
    }

    /// Pushes the value of a local, flattened.
    pub(crate) fn flatten(&mut self, local: u32, ty: ValType, lane: u8) -> &mut Self {
        self.local_get(local);
        match ty {
            ValType::I32 => self.plain(0xad),
            ValType::I64 => self,
            ValType::F32 => self.plain(0xbc).plain(0xad),
            ValType::F64 => self.plain(0xbd),
            // i64x2.extract_lane
            ValType::V128 => self.plain(0xfd).plain(0x1d).plain(lane),
            // ref.is_null
            ValType::Ref(_) => self.plain(0xd1).i32_eqz().plain(0xad),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsigned_numbers_keep_their_width_or_grow() {
        for (value, width, bytes) in [
            (0, 1, &[0][..]),
            (127, 1, &[0x7f]),
            (128, 1, &[0x80, 1]),
            (1, 5, &[0x81, 0x80, 0x80, 0x80, 0]),
            (u32::MAX, 1, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            assert_eq!(unsigned_padded(&mut out, value, width), bytes.len());
            assert_eq!(out, bytes);
            assert_eq!(read_unsigned(&out), (value, bytes.len()));
        }
    }

    #[test]
    fn signed_numbers_are_as_wasmparser_reads_them() {
        for value in [0, 1, 63, 64, -1, -64, -65, i64::from(i32::MIN), i64::MIN] {
            let mut out = Vec::new();
            signed(&mut out, value);
            let mut reader = wasmparser::BinaryReader::new(&out, 0);
            assert_eq!(reader.read_var_i64().unwrap(), value);
            assert!(reader.eof());
        }
    }
}
