//! Names as people write them, from names as linkers know them.
//!
//! Bounded: a mangled name can ask for text of exponential length, or for
//! recursion; one that asks for too much is shown as it is.

use std::fmt::{self, Write};

/// Longer mangled names are shown as they are.
const MAX_MANGLED: usize = 32 << 10;
/// Names that demangle to more bytes than this are shown as they are.
const MAX_DEMANGLED: usize = 64 << 10;

/// Demangles a Rust (legacy and v0) or C++ symbol. Rust's hash is left out.
/// Returns `None` for every other name.
pub(crate) fn demangle(raw: &str) -> Option<String> {
    // Everything that is mangled starts so; linkers for other systems add or
    // drop an underscore.
    if raw.len() > MAX_MANGLED
        || !["_Z", "__Z", "_R", "R", "ZN"]
            .iter()
            .any(|p| raw.starts_with(p))
    {
        return None;
    }
    let mut out = Bounded(String::new());
    if let Ok(name) = rustc_demangle::try_demangle(raw) {
        return write!(out, "{name:#}").ok().map(|()| out.0);
    }
    let symbol = cpp_demangle::Symbol::new(raw).ok()?;
    let options = cpp_demangle::DemangleOptions::new();
    symbol.structured_demangle(&mut out, &options).ok()?;
    Some(out.0)
}

/// A string that refuses to grow past the limit.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_DEMANGLED {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme() {
        let cases = [
            (
                "_ZN4core3fmt9Formatter3pad17h0123456789abcdefE",
                "core::fmt::Formatter::pad",
            ),
            ("_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar"),
            ("_Z3fooi", "foo(int)"),
            ("_ZN2ns5ThingC2ERKS0_", "ns::Thing::Thing(ns::Thing const&)"),
        ];
        for (raw, expected) in cases {
            assert_eq!(demangle(raw).as_deref(), Some(expected), "{raw}");
        }
    }

    #[test]
    fn plain_names_stay() {
        for raw in [
            "",
            "main",
            "runtime.mallocgc",
            "Rust",
            "R",
            "_Z",
            "ZNope",
            "foo(int)",
        ] {
            assert_eq!(demangle(raw), None, "{raw}");
        }
    }

    #[test]
    fn a_name_that_doubles_at_each_step_is_left_alone() {
        // f(P<T,T>, P<that,that>, ...): each argument doubles the one before.
        let mut raw = String::from("_Z1fI1TE");
        raw.push_str("v1PIS_S_E");
        for seq in [
            "S0_", "S1_", "S2_", "S3_", "S4_", "S5_", "S6_", "S7_", "S8_", "S9_",
        ] {
            raw.push_str(&format!("1QI{seq}{seq}{seq}{seq}{seq}{seq}E"));
        }
        if let Some(text) = demangle(&raw) {
            assert!(text.len() <= MAX_DEMANGLED);
        }
    }
}
