//! One WebAssembly value and its type.
//!
//! References come as what a listener may know of them: the hierarchy they belong to and
//! whether they are null. What they point at stays with the engine. Many values at once,
//! as the guest hands them over, are in [`crate::values`].

use std::fmt;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValueType {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
    /// A 128-bit vector.
    V128,
    /// A reference, nullable or not.
    Ref(ReferenceKind),
}

impl ValueType {
    /// Returns how many 64-bit words a value of this type takes: two for a vector, else one.
    #[must_use]
    #[inline]
    pub const fn words(self) -> usize {
        match self {
            Self::V128 => 2,
            _ => 1,
        }
    }
}

/// The hierarchy that a reference type belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReferenceKind {
    /// Functions.
    Func,
    /// What the host handed in.
    Extern,
    /// Structs, arrays and small integers of the guest's heap.
    Any,
    /// Exceptions.
    Exn,
    /// Continuations.
    Cont,
}

/// What is known of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The hierarchy of its type.
    pub kind: ReferenceKind,
    /// Whether it is null.
    pub is_null: bool,
}

/// One value.
///
/// Two values are equal when all their bits are: a NaN equals itself, and zero does not
/// equal minus zero.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Value {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// A 32-bit float.
    F32(f32),
    /// A 64-bit float.
    F64(f64),
    /// A 128-bit vector, its lane 0 in the lowest bits.
    V128(u128),
    /// A reference.
    Ref(Reference),
}

impl Value {
    /// Returns the value's type.
    #[must_use]
    pub const fn value_type(self) -> ValueType {
        match self {
            Self::I32(_) => ValueType::I32,
            Self::I64(_) => ValueType::I64,
            Self::F32(_) => ValueType::F32,
            Self::F64(_) => ValueType::F64,
            Self::V128(_) => ValueType::V128,
            Self::Ref(reference) => ValueType::Ref(reference.kind),
        }
    }

    /// Appends the value's words, as [`crate::Values`] reads them.
    pub fn flatten(self, words: &mut Vec<u64>) {
        match self {
            Self::I32(v) => words.push(u64::from(v.cast_unsigned())),
            Self::I64(v) => words.push(v.cast_unsigned()),
            Self::F32(v) => words.push(u64::from(v.to_bits())),
            Self::F64(v) => words.push(v.to_bits()),
            Self::V128(v) => words.extend([v as u64, (v >> 64) as u64]),
            Self::Ref(reference) => words.push(u64::from(!reference.is_null)),
        }
    }

    /// Reads a value from the first of these words, or `None` when they are too few.
    #[inline]
    pub(crate) fn read(ty: ValueType, words: &[u64]) -> Option<Self> {
        let word = *words.first()?;
        Some(match ty {
            ValueType::I32 => Self::I32((word as u32).cast_signed()),
            ValueType::I64 => Self::I64(word.cast_signed()),
            ValueType::F32 => Self::F32(f32::from_bits(word as u32)),
            ValueType::F64 => Self::F64(f64::from_bits(word)),
            ValueType::V128 => Self::V128(u128::from(word) | u128::from(*words.get(1)?) << 64),
            ValueType::Ref(kind) => Self::Ref(Reference {
                kind,
                is_null: word == 0,
            }),
        })
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::I32(a), Self::I32(b)) => a == b,
            (Self::I64(a), Self::I64(b)) => a == b,
            (Self::F32(a), Self::F32(b)) => a.to_bits() == b.to_bits(),
            (Self::F64(a), Self::F64(b)) => a.to_bits() == b.to_bits(),
            (Self::V128(a), Self::V128(b)) => a == b,
            (Self::Ref(a), Self::Ref(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

macro_rules! from {
    ($($native:ty => $variant:ident),*) => {$(
        impl From<$native> for Value {
            fn from(value: $native) -> Self {
                Self::$variant(value)
            }
        }
    )*};
}
from!(i32 => I32, i64 => I64, f32 => F32, f64 => F64, u128 => V128, Reference => Ref);

impl fmt::Display for ReferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Func => "func",
            Self::Extern => "extern",
            Self::Any => "any",
            Self::Exn => "exn",
            Self::Cont => "cont",
        })
    }
}

/// Writes the type as the text format does: `i32`, `funcref`.
impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::I32 => f.write_str("i32"),
            Self::I64 => f.write_str("i64"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::V128 => f.write_str("v128"),
            Self::Ref(kind) => write!(f, "{kind}ref"),
        }
    }
}

/// Writes integers as signed, floats as the shortest text that reads back the same, a
/// vector in hexadecimal, a reference as `null` or its kind: `func`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::I32(v) => write!(f, "{v}"),
            Self::I64(v) => write!(f, "{v}"),
            Self::F32(v) => write!(f, "{v:?}"),
            Self::F64(v) => write!(f, "{v:?}"),
            Self::V128(v) => write!(f, "{v:#034x}"),
            Self::Ref(Reference { is_null: true, .. }) => f.write_str("null"),
            Self::Ref(reference) => write!(f, "{}", reference.kind),
        }
    }
}
