//! A window: a stretch of code in which a frame is not where the body rule says.
//!
//! In the body of every function the frame pointer points at the pair of the
//! caller's frame pointer and the return address. At its start, at its returns and
//! in its tail calls it does not, for a few instructions. Those are the windows.

use crate::Architecture;
use wasmscope_address::TextOffset;

/// A half-open stretch of one text, and where the frame is found there.
///
/// The windows of a text are sorted by address and do not overlap; `classify`
/// makes them so. Between them the architecture's body rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window<A: Architecture> {
    /// First byte of the first instruction before which the rule holds.
    pub start: TextOffset,
    /// First byte after the window.
    pub end: TextOffset,
    /// Where the return address and the caller's frame pointer are.
    pub rule: A::Rule,
}

/// Finds the rule for `offset`, or `None` where the body rule holds.
///
/// # Signal safety
///
/// Safe in a signal handler: it only reads `windows`.
#[inline]
pub(crate) fn rule_at<A: Architecture>(
    windows: &[Window<A>],
    offset: TextOffset,
) -> Option<A::Rule> {
    let after = windows.partition_point(|window| window.start <= offset);
    let window = windows.get(after.checked_sub(1)?)?;
    (offset < window.end).then_some(window.rule)
}
