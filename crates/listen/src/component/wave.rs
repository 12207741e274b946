//! Values as text: the WebAssembly Value Encoding, `wasm-wave`.
//!
//! What it has no form for is written in the spirit of it: `...` where a string or list
//! was cut, a map as a list of pairs, a handle as its kind and number. The alternate form,
//! `{:#}`, shows a `list<u8>` as text, since that is what it most often is: `b"hello\n"`.

use std::fmt::{self, Display, Write};

use super::value::{HandleKind, Value};

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::S8(value) => write!(f, "{value}"),
            Self::U8(value) => write!(f, "{value}"),
            Self::S16(value) => write!(f, "{value}"),
            Self::U16(value) => write!(f, "{value}"),
            Self::S32(value) => write!(f, "{value}"),
            Self::U32(value) => write!(f, "{value}"),
            Self::S64(value) => write!(f, "{value}"),
            Self::U64(value) => write!(f, "{value}"),
            Self::F32(value) if value.is_nan() => f.write_str("nan"),
            Self::F64(value) if value.is_nan() => f.write_str("nan"),
            Self::F32(value) => write!(f, "{value}"),
            Self::F64(value) => write!(f, "{value}"),
            Self::Char(value) => {
                f.write_char('\'')?;
                escape(f, *value)?;
                f.write_char('\'')
            }
            Self::String { text, more } => {
                f.write_char('"')?;
                text.chars().try_for_each(|value| escape(f, value))?;
                f.write_char('"')?;
                f.write_str(if *more == 0 { "" } else { "..." })
            }
            Self::Bytes { bytes, more } if f.alternate() => quoted(f, bytes, *more),
            Self::Bytes { bytes, more } => list(f, '[', bytes, *more, ']'),
            Self::List { values, more } => list(f, '[', values, *more, ']'),
            Self::Map { entries, more } => {
                let pairs: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| Pair(key, value))
                    .collect();
                list(f, '[', &pairs, *more, ']')
            }
            Self::Record(fields) => {
                f.write_char('{')?;
                // A field that is `none` is left out, and none at all are a colon.
                let told = fields
                    .iter()
                    .filter(|(_, value)| !matches!(value, Self::Option(None)));
                let mut comma = "";
                for (name, value) in told {
                    write!(f, "{comma}{name}: ")?;
                    Display::fmt(value, f)?;
                    comma = ", ";
                }
                f.write_str(if comma.is_empty() { ":}" } else { "}" })
            }
            Self::Tuple(values) => list(f, '(', values, 0, ')'),
            Self::Variant(name, value) => {
                label(f, name)?;
                payload(f, value.as_deref())
            }
            Self::Enum(name) => label(f, name),
            Self::Flags(names) => list(f, '{', names, 0, '}'),
            Self::Option(None) => f.write_str("none"),
            Self::Option(Some(value)) => {
                f.write_str("some")?;
                payload(f, Some(value))
            }
            Self::Result(result) => {
                let (name, value) = match result {
                    Ok(value) => ("ok", value),
                    Err(value) => ("err", value),
                };
                f.write_str(name)?;
                payload(f, value.as_deref())
            }
            Self::Handle {
                kind,
                resource,
                index,
            } => {
                let name = match kind {
                    HandleKind::Own | HandleKind::Borrow => {
                        resource.as_deref().unwrap_or("resource")
                    }
                    HandleKind::Future => "future",
                    HandleKind::Stream => "stream",
                    HandleKind::ErrorContext => "error-context",
                };
                write!(f, "{name} #{index}")
            }
        }
    }
}

/// A key and its value, as a tuple.
struct Pair<'a>(&'a Value, &'a Value);

impl Display for Pair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('(')?;
        Display::fmt(self.0, f)?;
        f.write_str(", ")?;
        Display::fmt(self.1, f)?;
        f.write_char(')')
    }
}

fn list(
    f: &mut fmt::Formatter<'_>,
    open: char,
    values: &[impl Display],
    more: u64,
    close: char,
) -> fmt::Result {
    f.write_char(open)?;
    let mut comma = "";
    for value in values {
        f.write_str(comma)?;
        Display::fmt(value, f)?;
        comma = ", ";
    }
    if more > 0 {
        write!(f, "{comma}...")?;
    }
    f.write_char(close)
}

/// Writes a case's name, marked where it would be read as a word of the language.
fn label(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let is_keyword = matches!(
        name,
        "true" | "false" | "some" | "none" | "ok" | "err" | "inf" | "nan"
    );
    write!(f, "{}{name}", if is_keyword { "%" } else { "" })
}

fn payload(f: &mut fmt::Formatter<'_>, value: Option<&Value>) -> fmt::Result {
    match value {
        Some(value) => {
            f.write_char('(')?;
            Display::fmt(value, f)?;
            f.write_char(')')
        }
        None => Ok(()),
    }
}

/// Writes bytes as text, and those that are none in hexadecimal.
fn quoted(f: &mut fmt::Formatter<'_>, bytes: &[u8], more: u64) -> fmt::Result {
    f.write_str("b\"")?;
    for chunk in bytes.utf8_chunks() {
        chunk
            .valid()
            .chars()
            .try_for_each(|value| escape(f, value))?;
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    f.write_char('"')?;
    f.write_str(if more == 0 { "" } else { "..." })
}

/// Writes a character so that it is read back the same and does nothing to a terminal.
fn escape(f: &mut fmt::Formatter<'_>, character: char) -> fmt::Result {
    match character {
        '\\' | '"' | '\'' | '\t' | '\r' | '\n' => write!(f, "{}", character.escape_default()),
        character if character.is_control() => write!(f, "{}", character.escape_unicode()),
        character => write!(f, "{}", character.escape_debug()),
    }
}
