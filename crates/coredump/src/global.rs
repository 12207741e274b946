//! Globals, with their types.

/// A global and what it held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Global {
    /// The type of its value.
    pub ty: ValueType,
    /// Whether it is declared mutable. Some writers declare all immutable.
    pub mutable: bool,
    /// Whether it is shared between threads.
    pub shared: bool,
    /// What it held.
    pub value: Constant,
}

/// What a global held. Floats are bits, so that a NaN equals itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Constant {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// The bits of a 32-bit float.
    F32(u32),
    /// The bits of a 64-bit float.
    F64(u64),
    /// A vector.
    V128(u128),
    /// A reference. The format can say only that it is null, so writers say that of every
    /// reference, and what it was is not known.
    Reference,
}

/// The type of a global's value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ValueType {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
    /// A vector.
    V128,
    /// A reference.
    Reference(ReferenceType),
}

/// The type of a reference. A dump has no types of its own to refer to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReferenceType {
    /// Whether null is of this type.
    pub nullable: bool,
    /// Whether it is of the types that threads share.
    pub shared: bool,
    /// What it refers to.
    pub heap: HeapType,
}

macro_rules! heap_types {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a reference may refer to: the abstract types of the specification.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum HeapType {
            $($(#[$doc])* $name,)*
        }

        impl HeapType {
            pub(crate) fn from_parser(ty: wasmparser::AbstractHeapType) -> Self {
                match ty {
                    $(wasmparser::AbstractHeapType::$name => Self::$name,)*
                }
            }

            pub(crate) fn to_encoder(self) -> wasm_encoder::AbstractHeapType {
                match self {
                    $(Self::$name => wasm_encoder::AbstractHeapType::$name,)*
                }
            }
        }
    };
}

heap_types! {
    /// A function.
    Func,
    /// Something of the host's.
    Extern,
    /// Any value of the guest's.
    Any,
    /// No value of the guest's.
    None,
    /// Nothing of the host's.
    NoExtern,
    /// No function.
    NoFunc,
    /// A value that can be compared.
    Eq,
    /// A structure.
    Struct,
    /// An array.
    Array,
    /// A small integer.
    I31,
    /// An exception.
    Exn,
    /// No exception.
    NoExn,
    /// A continuation.
    Cont,
    /// No continuation.
    NoCont,
}

impl Constant {
    /// Tells whether it is of a type.
    #[must_use]
    pub fn is(self, ty: ValueType) -> bool {
        matches!(
            (self, ty),
            (Self::I32(_), ValueType::I32)
                | (Self::I64(_), ValueType::I64)
                | (Self::F32(_), ValueType::F32)
                | (Self::F64(_), ValueType::F64)
                | (Self::V128(_), ValueType::V128)
                | (Self::Reference, ValueType::Reference(_))
        )
    }
}
