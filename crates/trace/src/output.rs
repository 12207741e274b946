//! Text into the bytes that a writer hands on.

use std::fmt::Display;
use std::io::Write;

pub(crate) fn put(out: &mut Vec<u8>, text: impl Display) {
    // A vector takes all bytes.
    let _ = write!(out, "{text}");
}
