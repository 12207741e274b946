//! Values of locals and operands.

/// The value of a local or an operand.
///
/// Floats are bits, so that a NaN equals itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Value {
    /// Not known: the compiler kept it nowhere, or the engine could not tell.
    Missing,
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// The bits of a 32-bit float.
    F32(u32),
    /// The bits of a 64-bit float.
    F64(u64),
}
