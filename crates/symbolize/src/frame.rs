//! What a question about a name or an address is answered with.

use std::sync::Arc;

use wasmscope_address::FuncIndex;

use crate::demangle::demangle;

/// A function's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FunctionName {
    /// The name as the name section has it, often mangled. `None` where it has
    /// none.
    pub raw: Option<Arc<str>>,
    /// The name to show: demangled if it is a Rust or C++ symbol (without
    /// Rust's hash), and `<wasm function 12>`, as wasmtime prints it, if there
    /// is none. The number counts imports, as in the module's function index
    /// space.
    pub display: Arc<str>,
}

impl FunctionName {
    /// Makes the name of the function `func` whose name in the name section is
    /// `raw`.
    #[must_use]
    pub fn new(raw: Option<&str>, func: FuncIndex) -> Self {
        Self {
            raw: raw.map(Arc::from),
            display: match raw {
                Some(raw) => demangle(raw).map_or_else(|| Arc::from(raw), Arc::from),
                None => format!("<wasm function {func}>").into(),
            },
        }
    }
}

/// One source-level frame of an instruction.
///
/// An instruction in code that was inlined has several: the inlined functions
/// and, last, the function that exists in the binary.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceFrame {
    /// The function's name, to show.
    pub function: Arc<str>,
    /// The function's name before demangling, if it has any.
    pub raw: Option<Arc<str>>,
    /// The source file, as the compiler wrote it: absolute if it recorded the
    /// directory that it ran in.
    pub file: Option<Arc<str>>,
    /// The line, counted from 1.
    pub line: Option<u32>,
    /// The column, counted from 1; `None` also where the compiler meant the
    /// whole line.
    pub column: Option<u32>,
    /// The line on which the function is declared, counted from 1.
    pub declared_line: Option<u32>,
    /// Whether this function was inlined into the next frame's.
    pub inlined: bool,
}
