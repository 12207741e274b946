//! The types of components: what WIT can say about a value.

use std::fmt;
use std::sync::Arc;

use super::layout::Layout;

/// The type of a component's value. Cheap to clone.
///
/// Displays as WIT writes it: `list<tuple<string, u32>>`.
///
/// ```
/// use wasmscope_listen::component::Type;
///
/// let header = Type::record([("name", Type::STRING), ("value", Type::list(Type::U8))]);
/// assert_eq!(header.to_string(), "record { name: string, value: list<u8> }");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Type {
    kind: TypeKind,
    pub(super) layout: Layout,
    /// How deep it is nested; saturated.
    pub(super) depth: u16,
}

/// What kind of type it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TypeKind {
    /// `bool`
    Bool,
    /// `s8`
    S8,
    /// `u8`
    U8,
    /// `s16`
    S16,
    /// `u16`
    U16,
    /// `s32`
    S32,
    /// `u32`
    U32,
    /// `s64`
    S64,
    /// `u64`
    U64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `char`
    Char,
    /// `string`
    String,
    /// `error-context`
    ErrorContext,
    /// `list<t>`
    List(Arc<Type>),
    /// `list<t, n>`
    FixedList(Arc<Type>, u32),
    /// `map<k, v>`
    Map(Arc<(Type, Type)>),
    /// `record { name: t }`
    Record(Arc<[(Arc<str>, Type)]>),
    /// `tuple<t, t>`
    Tuple(Arc<[Type]>),
    /// `variant { case(t) }`
    Variant(Arc<[(Arc<str>, Option<Type>)]>),
    /// `enum { case }`
    Enum(Arc<[Arc<str>]>),
    /// `flags { name }`
    Flags(Arc<[Arc<str>]>),
    /// `option<t>`
    Option(Arc<Type>),
    /// `result<ok, err>`
    Result(Arc<(Option<Type>, Option<Type>)>),
    /// A resource that is handed over; its name, where it is known.
    Own(Option<Arc<str>>),
    /// `borrow<r>`
    Borrow(Option<Arc<str>>),
    /// `future<t>`
    Future(Option<Arc<Type>>),
    /// `stream<t>`
    Stream(Option<Arc<Type>>),
}

impl Type {
    /// `bool`
    pub const BOOL: Self = Self::leaf(TypeKind::Bool, Layout::BYTES_1);
    /// `s8`
    pub const S8: Self = Self::leaf(TypeKind::S8, Layout::BYTES_1);
    /// `u8`
    pub const U8: Self = Self::leaf(TypeKind::U8, Layout::BYTES_1);
    /// `s16`
    pub const S16: Self = Self::leaf(TypeKind::S16, Layout::BYTES_2);
    /// `u16`
    pub const U16: Self = Self::leaf(TypeKind::U16, Layout::BYTES_2);
    /// `s32`
    pub const S32: Self = Self::leaf(TypeKind::S32, Layout::BYTES_4);
    /// `u32`
    pub const U32: Self = Self::leaf(TypeKind::U32, Layout::BYTES_4);
    /// `s64`
    pub const S64: Self = Self::leaf(TypeKind::S64, Layout::BYTES_8);
    /// `u64`
    pub const U64: Self = Self::leaf(TypeKind::U64, Layout::BYTES_8);
    /// `f32`
    pub const F32: Self = Self::leaf(TypeKind::F32, Layout::BYTES_4);
    /// `f64`
    pub const F64: Self = Self::leaf(TypeKind::F64, Layout::BYTES_8);
    /// `char`
    pub const CHAR: Self = Self::leaf(TypeKind::Char, Layout::BYTES_4);
    /// `string`
    pub const STRING: Self = Self::leaf(TypeKind::String, Layout::POINTER_PAIR);
    /// `error-context`
    pub const ERROR_CONTEXT: Self = Self::leaf(TypeKind::ErrorContext, Layout::BYTES_4);

    const fn leaf(kind: TypeKind, layout: Layout) -> Self {
        Self {
            kind,
            layout,
            depth: 1,
        }
    }

    /// Returns what kind of type it is.
    #[must_use]
    pub const fn kind(&self) -> &TypeKind {
        &self.kind
    }

    /// Makes `list<t>`.
    #[must_use]
    pub fn list(element: Self) -> Self {
        TypeKind::List(Arc::new(element)).into()
    }

    /// Makes `list<t, n>`.
    #[must_use]
    pub fn fixed_list(element: Self, length: u32) -> Self {
        TypeKind::FixedList(Arc::new(element), length).into()
    }

    /// Makes `map<k, v>`.
    #[must_use]
    pub fn map(key: Self, value: Self) -> Self {
        TypeKind::Map(Arc::new((key, value))).into()
    }

    /// Makes a record of these fields.
    #[must_use]
    pub fn record<N: Into<Arc<str>>>(fields: impl IntoIterator<Item = (N, Self)>) -> Self {
        let fields = fields.into_iter().map(|(name, ty)| (name.into(), ty));
        TypeKind::Record(fields.collect()).into()
    }

    /// Makes a tuple of these types.
    #[must_use]
    pub fn tuple(types: impl IntoIterator<Item = Self>) -> Self {
        TypeKind::Tuple(types.into_iter().collect()).into()
    }

    /// Makes a variant of these cases, with or without a payload.
    #[must_use]
    pub fn variant<N: Into<Arc<str>>>(cases: impl IntoIterator<Item = (N, Option<Self>)>) -> Self {
        let cases = cases.into_iter().map(|(name, ty)| (name.into(), ty));
        TypeKind::Variant(cases.collect()).into()
    }

    /// Makes an enum of these cases.
    #[must_use]
    pub fn enumeration<N: Into<Arc<str>>>(cases: impl IntoIterator<Item = N>) -> Self {
        TypeKind::Enum(cases.into_iter().map(Into::into).collect()).into()
    }

    /// Makes flags with these names.
    #[must_use]
    pub fn flags<N: Into<Arc<str>>>(names: impl IntoIterator<Item = N>) -> Self {
        TypeKind::Flags(names.into_iter().map(Into::into).collect()).into()
    }

    /// Makes `option<t>`.
    #[must_use]
    pub fn option(some: Self) -> Self {
        TypeKind::Option(Arc::new(some)).into()
    }

    /// Makes `result<ok, err>`, either of which may be nothing.
    #[must_use]
    pub fn result(ok: Option<Self>, err: Option<Self>) -> Self {
        TypeKind::Result(Arc::new((ok, err))).into()
    }

    /// Makes the type of an owned handle.
    #[must_use]
    pub fn own<N: Into<Arc<str>>>(resource: Option<N>) -> Self {
        TypeKind::Own(resource.map(Into::into)).into()
    }

    /// Makes the type of a borrowed handle.
    #[must_use]
    pub fn borrow<N: Into<Arc<str>>>(resource: Option<N>) -> Self {
        TypeKind::Borrow(resource.map(Into::into)).into()
    }

    /// Makes `future<t>`.
    #[must_use]
    pub fn future(payload: Option<Self>) -> Self {
        TypeKind::Future(payload.map(Arc::new)).into()
    }

    /// Makes `stream<t>`.
    #[must_use]
    pub fn stream(payload: Option<Self>) -> Self {
        TypeKind::Stream(payload.map(Arc::new)).into()
    }
}

/// Lays the type out.
impl From<TypeKind> for Type {
    fn from(kind: TypeKind) -> Self {
        fn payloads<'t>(types: &[Option<&'t Type>]) -> impl Iterator<Item = &'t Layout> {
            types.iter().flatten().map(|ty| &ty.layout)
        }
        let layout = match &kind {
            TypeKind::Bool | TypeKind::S8 | TypeKind::U8 => Layout::BYTES_1,
            TypeKind::S16 | TypeKind::U16 => Layout::BYTES_2,
            TypeKind::S32
            | TypeKind::U32
            | TypeKind::F32
            | TypeKind::Char
            | TypeKind::ErrorContext
            | TypeKind::Own(_)
            | TypeKind::Borrow(_)
            | TypeKind::Future(_)
            | TypeKind::Stream(_) => Layout::BYTES_4,
            TypeKind::S64 | TypeKind::U64 | TypeKind::F64 => Layout::BYTES_8,
            TypeKind::String | TypeKind::List(_) | TypeKind::Map(_) => Layout::POINTER_PAIR,
            TypeKind::FixedList(element, length) => Layout::of_repeated(&element.layout, *length),
            TypeKind::Record(fields) => Layout::of_fields(fields.iter().map(|(_, ty)| &ty.layout)),
            TypeKind::Tuple(types) => Layout::of_fields(types.iter().map(|ty| &ty.layout)),
            TypeKind::Variant(cases) => {
                let types = cases.iter().filter_map(|(_, ty)| ty.as_ref());
                Layout::of_cases(cases.len(), types.map(|ty| &ty.layout))
            }
            TypeKind::Enum(cases) => Layout::of_cases(cases.len(), [].into_iter()),
            TypeKind::Flags(names) => Layout::of_flags(names.len()),
            TypeKind::Option(some) => Layout::of_cases(2, payloads(&[Some(some)])),
            TypeKind::Result(arms) => {
                Layout::of_cases(2, payloads(&[arms.0.as_ref(), arms.1.as_ref()]))
            }
        };
        let below = match &kind {
            TypeKind::List(ty) | TypeKind::FixedList(ty, _) | TypeKind::Option(ty) => ty.depth,
            TypeKind::Map(types) => types.0.depth.max(types.1.depth),
            TypeKind::Record(fields) => deepest(fields.iter().map(|(_, ty)| ty)),
            TypeKind::Tuple(types) => deepest(types.iter()),
            TypeKind::Variant(cases) => deepest(cases.iter().filter_map(|(_, ty)| ty.as_ref())),
            TypeKind::Result(arms) => deepest(arms.0.iter().chain(arms.1.iter())),
            _ => 0,
        };
        Self {
            kind,
            layout,
            depth: below.saturating_add(1),
        }
    }
}

fn deepest<'t>(types: impl Iterator<Item = &'t Type>) -> u16 {
    types.map(|ty| ty.depth).max().unwrap_or(0)
}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.kind {
            TypeKind::Bool => "bool",
            TypeKind::S8 => "s8",
            TypeKind::U8 => "u8",
            TypeKind::S16 => "s16",
            TypeKind::U16 => "u16",
            TypeKind::S32 => "s32",
            TypeKind::U32 => "u32",
            TypeKind::S64 => "s64",
            TypeKind::U64 => "u64",
            TypeKind::F32 => "f32",
            TypeKind::F64 => "f64",
            TypeKind::Char => "char",
            TypeKind::String => "string",
            TypeKind::ErrorContext => "error-context",
            TypeKind::List(element) => return write!(f, "list<{element}>"),
            TypeKind::FixedList(element, length) => return write!(f, "list<{element}, {length}>"),
            TypeKind::Map(types) => return write!(f, "map<{}, {}>", types.0, types.1),
            TypeKind::Record(fields) => {
                let fields = fields.iter().map(|(name, ty)| format!("{name}: {ty}"));
                return braced(f, "record", fields);
            }
            TypeKind::Tuple(types) => {
                f.write_str("tuple<")?;
                for (i, ty) in types.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{ty}")?;
                }
                return f.write_str(">");
            }
            TypeKind::Variant(cases) => {
                let cases = cases.iter().map(|(name, ty)| match ty {
                    Some(ty) => format!("{name}({ty})"),
                    None => name.to_string(),
                });
                return braced(f, "variant", cases);
            }
            TypeKind::Enum(cases) => return braced(f, "enum", cases.iter()),
            TypeKind::Flags(names) => return braced(f, "flags", names.iter()),
            TypeKind::Option(some) => return write!(f, "option<{some}>"),
            TypeKind::Result(arms) => {
                return match &**arms {
                    (None, None) => f.write_str("result"),
                    (Some(ok), None) => write!(f, "result<{ok}>"),
                    (None, Some(err)) => write!(f, "result<_, {err}>"),
                    (Some(ok), Some(err)) => write!(f, "result<{ok}, {err}>"),
                };
            }
            TypeKind::Own(name) => name.as_deref().unwrap_or("resource"),
            TypeKind::Borrow(name) => {
                return write!(f, "borrow<{}>", name.as_deref().unwrap_or("resource"));
            }
            TypeKind::Future(payload) => return with_payload(f, "future", payload.as_deref()),
            TypeKind::Stream(payload) => return with_payload(f, "stream", payload.as_deref()),
        };
        f.write_str(name)
    }
}

fn with_payload(f: &mut fmt::Formatter<'_>, name: &str, payload: Option<&Type>) -> fmt::Result {
    match payload {
        Some(payload) => write!(f, "{name}<{payload}>"),
        None => f.write_str(name),
    }
}

fn braced(
    f: &mut fmt::Formatter<'_>,
    keyword: &str,
    parts: impl Iterator<Item = impl fmt::Display>,
) -> fmt::Result {
    write!(f, "{keyword} {{")?;
    for (i, part) in parts.enumerate() {
        let comma = if i == 0 { " " } else { ", " };
        write!(f, "{comma}{part}")?;
    }
    f.write_str(" }")
}
