//! The interface between a rewritten module and its host: names, types, flattening.
//!
//! A rewritten module imports hooks from [`MODULE`], passes them numbers only, and
//! exports a few globals and one function. Both sides of that interface are made from this file: the
//! rewriter writes what is described here, the binding serves it.
//!
//! Each value of the guest is flattened to one `i64`, a `v128` to two:
//!
//! | value | as |
//! |---|---|
//! | `i32` | zero-extended |
//! | `i64` | itself |
//! | `f32`, `f64` | its bits, zero-extended |
//! | `v128` | two, the low lane first |
//! | a reference | 0 for null, 1 for any other |
//!
//! A call with more than [`GROUP`] flattened values first stages whole groups (see
//! [`staged`]); the hook that follows carries the rest.

use std::fmt;

use wasmparser::ValType;

/// The module name that all hooks are imported from. Reserved on input, as is every
/// module name that starts with it and a colon.
pub const MODULE: &str = "wasmscope";

/// What each name of an export that the rewriter adds starts with. Reserved on input.
pub const RESERVED_EXPORTS: &str = "wasmscope:";

/// The most flattened values that one hook takes.
pub const GROUP: usize = 4;

/// The instance's number until its host gives it one. Numbers are not negative, and with that
/// of a probe added neither, so the sign tells.
pub const UNATTACHED: i32 = i32::MIN;

/// Probes whose switches share one global.
pub const SWITCHES_PER_GLOBAL: u32 = i32::BITS;

/// The name of the export of the instance's number, a global of type `(mut i32)`. It is
/// [`UNATTACHED`] at first.
#[must_use]
pub fn instance_export(suffix: &str) -> String {
    format!("wasmscope:instance{suffix}")
}

/// The name of the export of the module's key, an immutable `i64` that is
/// [`Options::key`](crate::Options::key).
#[must_use]
pub fn key_export(suffix: &str) -> String {
    format!("wasmscope:key{suffix}")
}

/// The name of the export of one function that the module defines and that has a probe,
/// through which a host finds what the instance belongs to.
#[must_use]
pub fn function_export(suffix: &str) -> String {
    format!("wasmscope:function{suffix}")
}

/// The name of the export of the `n`th global of switches, a `(mut i32)`: bit `p % 32`
/// of global `p / 32` is set while probe `p` is on.
#[must_use]
pub fn switches_export(n: u32, suffix: &str) -> String {
    format!("wasmscope:switches:{n}{suffix}")
}

/// The name of the export that is added for memory `index`.
#[must_use]
pub fn memory_export(index: u32, suffix: &str) -> String {
    format!("wasmscope:memory:{index}{suffix}")
}

/// The name of the export that is added for global `index`.
#[must_use]
pub fn global_export(index: u32, suffix: &str) -> String {
    format!("wasmscope:global:{index}{suffix}")
}

/// The name of the export of what [`Hook::Guard`] calls for guard `n`, a function of type
/// `() -> ()`.
#[must_use]
pub fn inner_export(n: u32, suffix: &str) -> String {
    format!("wasmscope:inner:{n}{suffix}")
}

/// Tells whether guests may not import from a module of this name.
#[must_use]
pub fn is_reserved_module(name: &str) -> bool {
    name.strip_prefix(MODULE)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// Tells whether guests may not export under this name.
#[must_use]
pub fn is_reserved_export(name: &str) -> bool {
    name.starts_with(RESERVED_EXPORTS)
}

/// Returns how many `i64` a value of this type is passed as.
#[must_use]
pub fn flattened_len(ty: ValType) -> usize {
    if ty == ValType::V128 { 2 } else { 1 }
}

/// Returns how many `i64` values of these types are passed as.
#[must_use]
pub fn flattened(types: &[ValType]) -> usize {
    types.iter().copied().map(flattened_len).sum()
}

/// Returns how many groups of [`GROUP`] values are staged before the hook itself is
/// called with the rest, for a call with `values` flattened values.
///
/// ```
/// use wasmscope_instrument::hooks::staged;
///
/// assert_eq!([0, 4, 5, 8, 9].map(staged), [0, 0, 1, 1, 2]);
/// ```
#[must_use]
pub const fn staged(values: usize) -> usize {
    values.saturating_sub(1) / GROUP
}

/// The type of a hook's parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HookType {
    /// `i32`
    I32,
    /// `i64`
    I64,
}

/// A function that a rewritten module may import from [`MODULE`]. None has results.
///
/// The order is that of the imports.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Hook {
    /// A probed function was entered: `(number i32, values i64...)`, with that many values.
    /// The number is the instance's plus that of the probe.
    Before(u8),
    /// A probed function returns: `(values i64...)`, with that many values.
    After(u8),
    /// Values ahead of those that the next hook carries: `(values i64...)`, with
    /// [`GROUP`] values.
    Stage,
    /// A probed function is about to make a tail call: `()`.
    Tail,
    /// An exception passes through a probed function: `()`.
    Unwind,
    /// The buffer of [`events`](crate::events) is full, or holds the instance's first
    /// event: `(instance i32)`.
    Flush,
    /// A guarded export was called: `(instance i32, guard i32)`. The host calls
    /// [`inner_export`], once, right away; what that ends with it ends with too.
    Guard,
}

impl Hook {
    /// Every hook there is, in the order in which they are imported.
    pub const ALL: [Self; 15] = [
        Self::Before(0),
        Self::Before(1),
        Self::Before(2),
        Self::Before(3),
        Self::Before(4),
        Self::After(0),
        Self::After(1),
        Self::After(2),
        Self::After(3),
        Self::After(4),
        Self::Stage,
        Self::Tail,
        Self::Unwind,
        Self::Flush,
        Self::Guard,
    ];

    /// Returns the types of the hook's parameters.
    #[must_use]
    pub fn params(self) -> Vec<HookType> {
        let (head, values) = match self {
            Self::Before(values) => (1, usize::from(values)),
            Self::After(values) => (0, usize::from(values)),
            Self::Stage => (0, GROUP),
            Self::Tail | Self::Unwind => (0, 0),
            Self::Flush => (1, 0),
            Self::Guard => (2, 0),
        };
        let mut params = vec![HookType::I32; head];
        params.resize(head + values, HookType::I64);
        params
    }

    /// Returns the name that the hook is imported by.
    #[must_use]
    pub fn import(self, suffix: &str) -> String {
        format!("{self}{suffix}")
    }
}

/// The hook's name without a suffix.
impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(values) => write!(f, "before{values}"),
            Self::After(values) => write!(f, "after{values}"),
            Self::Stage => write!(f, "stage{GROUP}"),
            Self::Tail => f.write_str("tail"),
            Self::Unwind => f.write_str("unwind"),
            Self::Flush => f.write_str("flush"),
            Self::Guard => f.write_str("guard"),
        }
    }
}
