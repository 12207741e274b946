//! The functions through which a component's core modules meet the world.

use wasmparser::ValType;
use wasmparser::component_types::{ComponentFuncTypeId, ComponentValType};

use super::core_type::CoreType;

/// A function that a component lifts or lowers, or `task.return`.
#[derive(Clone, Debug)]
pub struct ComponentFunction {
    /// Whether core code is called through it, or calls.
    pub direction: Direction,
    /// The interface that it is part of, such as `wasi:cli/stdout@0.2.0`. `None` where it is
    /// exported or imported by itself, or comes from a sibling.
    pub interface: Option<String>,
    /// Its name there: what the component imports it by, or exports it as. `None` when it
    /// has none, as it is part of nothing that its component exports or gives to others.
    pub name: Option<String>,
    /// Its type, in terms of [`Component::types`](super::Component::types).
    pub ty: Signature,
    /// How strings are encoded.
    pub encoding: StringEncoding,
    /// The index of the core memory that values go through, in its own component.
    pub memory: Option<u32>,
    /// Whether it is lifted or lowered as an async function.
    pub is_async: bool,
    /// Whether it is lifted with a callback.
    pub has_callback: bool,
    /// The types of the parameters of the core function.
    pub params: Box<[ValType]>,
    /// The types of the results of the core function.
    pub results: Box<[ValType]>,
    /// The same, when it can be wrapped.
    pub(super) core: Option<CoreType>,
}

/// What a function takes and returns.
#[derive(Clone, Copy, Debug)]
pub enum Signature {
    /// Of a function that is lifted or lowered.
    Function(ComponentFuncTypeId),
    /// Of `task.return`: it takes the result of a function that was lifted with `async`.
    TaskReturn(Option<ComponentValType>),
}

/// Which way calls of a function go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// Into core code: it is lifted.
    Export,
    /// Out of core code: it is lowered.
    Import,
}

/// How strings are encoded in a core memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StringEncoding {
    /// UTF-8.
    Utf8,
    /// UTF-16, little endian.
    Utf16,
    /// Latin-1 or UTF-16, as the highest bit of the length says.
    CompactUtf16,
}
