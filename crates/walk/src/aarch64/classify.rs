//! Finding the windows in aarch64 text.

use super::{Aarch64, Rule};
use crate::Window;
use crate::architecture::Classify;
use alloc::vec::Vec;
use core::ops::Range;

impl Classify for Aarch64 {
    fn classify_function(text: &[u8], function: Range<u32>, windows: &mut Vec<Window<Self>>) {
        let _ = (text, function, windows, Rule::Link { above: 0 });
    }

    fn classify_gap(text: &[u8], gap: Range<u32>, windows: &mut Vec<Window<Self>>) {
        let _ = (text, gap, windows);
    }
}
