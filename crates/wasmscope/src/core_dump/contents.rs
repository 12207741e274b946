//! What a store's memories and globals hold.

use wasmscope_coredump::{
    Constant, Global, HeapType, Memory, MemoryType, ReferenceType, ValueType,
};
use wasmtime::{AsContextMut, Mutability, StoreContext, Val, ValType};

/// Returns a memory, whose contents stay where they are.
pub(super) fn memory<'s, T: 'static>(
    memory: &wasmtime::Memory,
    store: StoreContext<'s, T>,
) -> Memory<'s> {
    let ty = memory.ty(&store);
    let ty = MemoryType {
        pages: memory.size(&store),
        maximum: ty.maximum(),
        memory64: ty.is_64(),
        shared: ty.is_shared(),
        page_size_log2: ty.page_size_log2().into(),
    };
    Memory::of(ty, memory.data(store))
}

/// Returns a global. References are kept as nulls: the format has nothing else.
pub(super) fn global(global: &wasmtime::Global, mut store: impl AsContextMut) -> Global {
    let declared = global.ty(&store);
    let ty = match declared.content() {
        ValType::I32 => ValueType::I32,
        ValType::I64 => ValueType::I64,
        ValType::F32 => ValueType::F32,
        ValType::F64 => ValueType::F64,
        ValType::V128 => ValueType::V128,
        ValType::Ref(ty) => ValueType::Reference(ReferenceType {
            nullable: true,
            shared: false,
            heap: heap_type(ty.heap_type()),
        }),
    };
    // A reference is not read: to hold it would keep what it refers to.
    let value = match ty {
        ValueType::Reference(_) => Constant::Reference,
        _ => match global.get(&mut store) {
            Val::I32(value) => Constant::I32(value),
            Val::I64(value) => Constant::I64(value),
            Val::F32(bits) => Constant::F32(bits),
            Val::F64(bits) => Constant::F64(bits),
            Val::V128(value) => Constant::V128(value.as_u128()),
            _ => Constant::Reference,
        },
    };
    Global {
        ty,
        mutable: declared.mutability() == Mutability::Var,
        shared: false,
        value,
    }
}

/// Returns the type at the top of a type's hierarchy: the dump has no types of its own.
fn heap_type(ty: &wasmtime::HeapType) -> HeapType {
    match ty.top() {
        wasmtime::HeapType::Extern => HeapType::Extern,
        wasmtime::HeapType::Func => HeapType::Func,
        wasmtime::HeapType::Exn => HeapType::Exn,
        wasmtime::HeapType::Cont => HeapType::Cont,
        _ => HeapType::Any,
    }
}
