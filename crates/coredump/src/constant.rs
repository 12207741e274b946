//! Constant expressions of one instruction: what globals are, and where segments begin.

use wasmparser::{AbstractHeapType, BinaryReader, HeapType};

use crate::Error;
use crate::global::{Constant, HeapType as Heap, ReferenceType, ValueType};

/// Reads an expression that is one constant.
pub(crate) fn read(reader: &mut BinaryReader<'_>, what: &'static str) -> Result<Constant, Error> {
    const END: u8 = 0x0b;
    let offset = reader.original_position();
    let constant = (|| {
        Ok(match reader.read_u8()? {
            0x41 => Some(Constant::I32(reader.read_var_i32()?)),
            0x42 => Some(Constant::I64(reader.read_var_i64()?)),
            0x43 => Some(Constant::F32(reader.read_f32()?.bits())),
            0x44 => Some(Constant::F64(reader.read_f64()?.bits())),
            0xd0 => {
                let _: HeapType = reader.read()?;
                Some(Constant::Reference)
            }
            0xfd if reader.read_var_u32()? == 12 => {
                let mut bytes = [0; 16];
                bytes.copy_from_slice(reader.read_bytes(16)?);
                Some(Constant::V128(u128::from_le_bytes(bytes)))
            }
            _ => None,
        })
    })()
    .map_err(|error| Error::malformed(what, &error))?;
    let end = reader
        .read_u8()
        .map_err(|error| Error::malformed(what, &error))?;
    match constant {
        Some(constant) if end == END => Ok(constant),
        _ => Err(Error::Malformed {
            what,
            offset,
            reason: "the expression is not one constant".to_owned(),
        }),
    }
}

/// Returns a type as the model has it; `None` when it refers to a type that a dump has not.
pub(crate) fn value_type(ty: wasmparser::ValType) -> Option<ValueType> {
    use wasmparser::ValType;
    Some(match ty {
        ValType::I32 => ValueType::I32,
        ValType::I64 => ValueType::I64,
        ValType::F32 => ValueType::F32,
        ValType::F64 => ValueType::F64,
        ValType::V128 => ValueType::V128,
        ValType::Ref(ty) => {
            let HeapType::Abstract { shared, ty: heap } = ty.heap_type() else {
                return None;
            };
            let heap: AbstractHeapType = heap;
            ValueType::Reference(ReferenceType {
                nullable: ty.is_nullable(),
                shared,
                heap: Heap::from_parser(heap),
            })
        }
    })
}
