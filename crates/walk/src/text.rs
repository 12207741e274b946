//! Compiled texts: which addresses are guest code, and their windows.
//!
//! The walk asks for the text of an address and gets a borrowed view. How texts
//! are kept, added and removed while handlers run is left to the caller.

use crate::{Architecture, Window};
use wasmscope_address::{HostPc, TextRange};

/// One compiled text, as the walk sees it.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a, A: Architecture> {
    /// Where the text is mapped.
    pub range: TextRange,
    /// The text's windows, sorted.
    pub windows: &'a [Window<A>],
}

impl<A: Architecture> Text<'_, A> {
    /// Returns the rule at `pc`, or `None` where the body rule holds.
    ///
    /// # Signal safety
    ///
    /// Safe in a signal handler: it only reads the windows.
    #[inline]
    #[must_use]
    pub fn rule_at(&self, pc: HostPc) -> Option<A::Rule> {
        crate::window::rule_at(self.windows, self.range.offset_of(pc)?)
    }
}

/// All texts that the walk may meet.
///
/// The texts do not overlap. An address in none of them is host code.
///
/// # Signal safety
///
/// A walk in a signal handler is as safe there as the texts that it is given.
pub trait Texts<A: Architecture> {
    /// Returns the text that holds `pc`.
    fn find(&self, pc: HostPc) -> Option<Text<'_, A>>;
}

/// A few texts, searched one after another.
impl<A: Architecture> Texts<A> for [Text<'_, A>] {
    #[inline]
    fn find(&self, pc: HostPc) -> Option<Text<'_, A>> {
        self.iter().find(|text| text.range.contains(pc)).copied()
    }
}

impl<A: Architecture, const N: usize> Texts<A> for [Text<'_, A>; N] {
    #[inline]
    fn find(&self, pc: HostPc) -> Option<Text<'_, A>> {
        self.as_slice().find(pc)
    }
}

impl<A: Architecture> Texts<A> for Text<'_, A> {
    #[inline]
    fn find(&self, pc: HostPc) -> Option<Text<'_, A>> {
        self.range.contains(pc).then_some(*self)
    }
}
