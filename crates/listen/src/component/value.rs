//! One value of a component.

use std::sync::Arc;

/// A component's value, lifted from its memory.
///
/// Displays as [WAVE] writes it, with `...` where something was left out; with `{:#}`, a
/// `list<u8>` shows as text:
///
/// ```
/// use wasmscope_listen::component::{HandleKind, Value};
///
/// let some = Value::Option(Some(Box::new(Value::from("a\n"))));
/// assert_eq!(some.to_string(), r#"some("a\n")"#);
/// let handle = Value::Handle { kind: HandleKind::Own, resource: None, index: 3 };
/// assert_eq!(handle.to_string(), "resource #3");
///
/// let bytes = Value::Bytes { bytes: b"hi\n".to_vec(), more: 0 };
/// assert_eq!(format!("{bytes} {bytes:#}"), r#"[104, 105, 10] b"hi\n""#);
/// ```
///
/// Two values are equal when all their bits are: a NaN equals itself, and zero does not
/// equal minus zero.
///
/// [WAVE]: https://docs.rs/wasm-wave
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// `bool`
    Bool(bool),
    /// `s8`
    S8(i8),
    /// `u8`
    U8(u8),
    /// `s16`
    S16(i16),
    /// `u16`
    U16(u16),
    /// `s32`
    S32(i32),
    /// `u32`
    U32(u32),
    /// `s64`
    S64(i64),
    /// `u64`
    U64(u64),
    /// `f32`
    F32(f32),
    /// `f64`
    F64(f64),
    /// `char`
    Char(char),
    /// `string`
    String {
        /// The text, or its beginning.
        text: String,
        /// How many units were left out: bytes, or 16-bit units, as the string's length
        /// counts in the guest.
        more: u64,
    },
    /// `list<u8>`
    Bytes {
        /// The bytes, or the first of them.
        bytes: Vec<u8>,
        /// How many were left out.
        more: u64,
    },
    /// `list<t>` and `list<t, n>` of all else
    List {
        /// The elements, or the first of them.
        values: Vec<Value>,
        /// How many were left out.
        more: u64,
    },
    /// `map<k, v>`
    Map {
        /// The entries as the guest has them, or the first of them. Where a key is there
        /// twice, the last one counts.
        entries: Vec<(Value, Value)>,
        /// How many were left out.
        more: u64,
    },
    /// `record { name: t }`
    Record(Vec<(Arc<str>, Value)>),
    /// `tuple<t, t>`
    Tuple(Vec<Value>),
    /// `variant { case(t) }`
    Variant(Arc<str>, Option<Box<Value>>),
    /// `enum { case }`
    Enum(Arc<str>),
    /// `flags { name }`: those that are set
    Flags(Vec<Arc<str>>),
    /// `option<t>`
    Option(Option<Box<Value>>),
    /// `result<ok, err>`
    Result(Result<Option<Box<Value>>, Option<Box<Value>>>),
    /// A resource, future, stream or error context.
    Handle {
        /// What it leads to.
        kind: HandleKind,
        /// The resource's name, where it is known.
        resource: Option<Arc<str>>,
        /// Its index in the component's table of handles. For a borrowed resource that
        /// the called component itself implements, it is what the component stands the
        /// resource for instead.
        index: u32,
    },
}

/// What a handle leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandleKind {
    /// A resource, handed over.
    Own,
    /// A resource, lent.
    Borrow,
    /// A future.
    Future,
    /// A stream.
    Stream,
    /// An error context.
    ErrorContext,
}

impl Value {
    /// Tells whether nothing was left out, here or within.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match self {
            Self::String { more, .. } | Self::Bytes { more, .. } => *more == 0,
            Self::List { values, more } => *more == 0 && values.iter().all(Self::is_whole),
            Self::Map { entries, more } => {
                *more == 0 && entries.iter().all(|(k, v)| k.is_whole() && v.is_whole())
            }
            Self::Record(fields) => fields.iter().all(|(_, value)| value.is_whole()),
            Self::Tuple(values) => values.iter().all(Self::is_whole),
            Self::Variant(_, value)
            | Self::Option(value)
            | Self::Result(Ok(value) | Err(value)) => {
                value.as_ref().is_none_or(|value| value.is_whole())
            }
            _ => true,
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::S8(a), Self::S8(b)) => a == b,
            (Self::U8(a), Self::U8(b)) => a == b,
            (Self::S16(a), Self::S16(b)) => a == b,
            (Self::U16(a), Self::U16(b)) => a == b,
            (Self::S32(a), Self::S32(b)) => a == b,
            (Self::U32(a), Self::U32(b)) => a == b,
            (Self::S64(a), Self::S64(b)) => a == b,
            (Self::U64(a), Self::U64(b)) => a == b,
            (Self::F32(a), Self::F32(b)) => a.to_bits() == b.to_bits(),
            (Self::F64(a), Self::F64(b)) => a.to_bits() == b.to_bits(),
            (Self::Char(a), Self::Char(b)) => a == b,
            (Self::String { text: a, more: m }, Self::String { text: b, more: n }) => {
                (a, m) == (b, n)
            }
            (Self::Bytes { bytes: a, more: m }, Self::Bytes { bytes: b, more: n }) => {
                (a, m) == (b, n)
            }
            (Self::List { values: a, more: m }, Self::List { values: b, more: n }) => {
                (a, m) == (b, n)
            }
            (
                Self::Map {
                    entries: a,
                    more: m,
                },
                Self::Map {
                    entries: b,
                    more: n,
                },
            ) => (a, m) == (b, n),
            (Self::Record(a), Self::Record(b)) => a == b,
            (Self::Tuple(a), Self::Tuple(b)) => a == b,
            (Self::Variant(a, x), Self::Variant(b, y)) => (a, x) == (b, y),
            (Self::Enum(a), Self::Enum(b)) => a == b,
            (Self::Flags(a), Self::Flags(b)) => a == b,
            (Self::Option(a), Self::Option(b)) => a == b,
            (Self::Result(a), Self::Result(b)) => a == b,
            (
                Self::Handle {
                    kind: a,
                    resource: m,
                    index: i,
                },
                Self::Handle {
                    kind: b,
                    resource: n,
                    index: j,
                },
            ) => (a, m, i) == (b, n, j),
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
from!(
    bool => Bool, i8 => S8, u8 => U8, i16 => S16, u16 => U16, i32 => S32, u32 => U32, i64 => S64,
    u64 => U64, f32 => F32, f64 => F64, char => Char
);

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String {
            text: text.to_owned(),
            more: 0,
        }
    }
}
