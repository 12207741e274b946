//! What was found behind an argument or a result: a number, a name, text, or a tree
//! of these. How it is written is here as well, as text and as JSON.

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};

/// A decoded piece of data.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Datum {
    /// A number.
    Number {
        /// Its value.
        value: i128,
        /// Whether its type has 64 bits, more than a number of JSON is sure to keep.
        is_wide: bool,
    },
    /// An address, where what it points to could not be read.
    Address(u64),
    /// The name of one of several values.
    Name(&'static str),
    /// A set of flags.
    Flags {
        /// The names of those that are set.
        set: Vec<&'static str>,
        /// The names of those that are not.
        clear: Vec<&'static str>,
        /// Bits that have no name.
        rest: u64,
    },
    /// Bytes, most often text.
    Bytes {
        /// The first of them.
        bytes: Vec<u8>,
        /// How many there are.
        total: u64,
    },
    /// Several of a kind.
    List {
        /// The first of them.
        items: Vec<Datum>,
        /// How many there are; none where that was not counted, but they are more.
        total: Option<u64>,
    },
    /// Several with names.
    Record(Vec<(&'static str, Datum)>),
}

impl Datum {
    /// Makes a number of at most 32 bits.
    pub(crate) fn small(value: impl Into<i128>) -> Self {
        let value = value.into();
        let is_wide = false;
        Self::Number { value, is_wide }
    }

    /// Writes it as JSON. Numbers of 64-bit types are strings, as in the JSON of
    /// Protocol Buffers; bytes that are not UTF-8 are hexadecimal.
    ///
    /// # Errors
    ///
    /// When the stream refuses the bytes.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Number { value, is_wide } => match is_wide {
                true => write!(out, "\"{value}\""),
                false => write!(out, "{value}"),
            },
            Self::Address(address) => write!(out, "{{\"address\":\"{address:#x}\"}}"),
            Self::Name(name) => json_string(name, out),
            Self::Flags { set, rest, .. } => {
                out.push(b'[');
                for (at, name) in set.iter().enumerate() {
                    comma(at, out);
                    json_string(name, out)?;
                }
                if *rest != 0 {
                    comma(set.len(), out);
                    write!(out, "\"{rest:#x}\"")?;
                }
                out.push(b']');
                Ok(())
            }
            Self::Bytes { bytes, total } => {
                let is_whole = bytes.len() as u64 == *total;
                let text = std::str::from_utf8(bytes);
                if let (Ok(text), true) = (text, is_whole) {
                    return json_string(text, out);
                }
                match text {
                    Ok(text) => {
                        out.extend_from_slice(b"{\"text\":");
                        json_string(text, out)?;
                    }
                    Err(_) => {
                        out.extend_from_slice(b"{\"hex\":\"");
                        for byte in bytes {
                            write!(out, "{byte:02x}")?;
                        }
                        out.push(b'"');
                    }
                }
                write!(out, ",\"length\":{total}}}")
            }
            Self::List { items, total } => {
                let is_whole = *total == Some(items.len() as u64);
                if !is_whole {
                    out.extend_from_slice(b"{\"items\":");
                }
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    comma(at, out);
                    item.write_json(out)?;
                }
                out.push(b']');
                match (is_whole, total) {
                    (true, _) => Ok(()),
                    (false, Some(total)) => write!(out, ",\"length\":{total}}}"),
                    (false, None) => out.write_all(b",\"length\":null}"),
                }
            }
            Self::Record(fields) => write_json_record(fields, out),
        }
    }
}

/// Writes fields as an object of JSON.
pub(crate) fn write_json_record(
    fields: &[(&'static str, Datum)],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    out.push(b'{');
    for (at, (name, datum)) in fields.iter().enumerate() {
        comma(at, out);
        json_string(name, out)?;
        out.push(b':');
        datum.write_json(out)?;
    }
    out.push(b'}');
    Ok(())
}

/// Writes a string of JSON.
pub(crate) fn json_string(text: &str, out: &mut Vec<u8>) -> io::Result<()> {
    serde_json::to_writer(out, text).map_err(io::Error::from)
}

/// Writes the comma before all but the first.
pub(crate) fn comma(at: usize, out: &mut Vec<u8>) {
    if at > 0 {
        out.push(b',');
    }
}

/// As text, in the way of `strace`: bytes in quotes with escapes, `...` where
/// something was cut, flags with bars, `~` before the flags that are not set where
/// most are.
impl Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { value, .. } => write!(f, "{value}"),
            Self::Address(address) => write!(f, "{address:#x}"),
            Self::Name(name) => f.write_str(name),
            Self::Flags { set, clear, rest } => flags(f, set, clear, *rest),
            Self::Bytes { bytes, total } => {
                write!(f, "{}", Quoted(bytes))?;
                cut(f, bytes.len() as u64 == *total)
            }
            Self::List { items, total } => {
                f.write_char('[')?;
                for (at, item) in items.iter().enumerate() {
                    separate(f, at)?;
                    write!(f, "{item}")?;
                }
                let is_whole = *total == Some(items.len() as u64);
                if !is_whole && !items.is_empty() {
                    f.write_str(", ")?;
                }
                cut(f, is_whole)?;
                f.write_char(']')
            }
            Self::Record(fields) => {
                f.write_char('{')?;
                for (at, (name, datum)) in fields.iter().enumerate() {
                    separate(f, at)?;
                    write!(f, "{name}={datum}")?;
                }
                f.write_char('}')
            }
        }
    }
}

fn separate(f: &mut fmt::Formatter<'_>, at: usize) -> fmt::Result {
    match at {
        0 => Ok(()),
        _ => f.write_str(", "),
    }
}

fn cut(f: &mut fmt::Formatter<'_>, is_whole: bool) -> fmt::Result {
    match is_whole {
        true => Ok(()),
        false => f.write_str("..."),
    }
}

fn flags(f: &mut fmt::Formatter<'_>, set: &[&str], clear: &[&str], rest: u64) -> fmt::Result {
    // Short lists of few flags are read faster than what is not in them.
    let is_most = set.len() > 8 && set.len() > clear.len();
    match (set, rest) {
        ([], 0) => f.write_char('0'),
        ([], rest) => write!(f, "{rest:#x}"),
        _ => {
            match is_most {
                true if clear.is_empty() => f.write_str("all")?,
                true => write!(f, "~({})", clear.join("|"))?,
                false => f.write_str(&set.join("|"))?,
            }
            match rest {
                0 => Ok(()),
                rest => write!(f, "|{rest:#x}"),
            }
        }
    }
}

/// Bytes in quotes: text as it is, but for quotes, backslashes and what would do
/// something to a terminal; what is not UTF-8 as `\xNN`.
pub(crate) struct Quoted<'a>(pub(crate) &'a [u8]);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '"' => f.write_str("\\\"")?,
                    '\\' => f.write_str("\\\\")?,
                    character => escaped(f, character)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_char('"')
    }
}

/// A name without anything that would do something to a terminal or end a line.
pub(crate) struct Plain<'a>(pub(crate) &'a str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|character| escaped(f, character))
    }
}

fn escaped(f: &mut fmt::Formatter<'_>, character: char) -> fmt::Result {
    match character {
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        character if character.is_ascii_control() => {
            write!(f, "\\x{:02x}", u32::from(character))
        }
        // Controls, and marks that turn the direction of what follows.
        character if character.is_control() || is_direction(character) => {
            write!(f, "\\u{{{:x}}}", u32::from(character))
        }
        character => f.write_char(character),
    }
}

fn is_direction(character: char) -> bool {
    matches!(
        character,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &[u8], total: u64) -> Datum {
        Datum::Bytes {
            bytes: text.to_vec(),
            total,
        }
    }

    fn json(datum: &Datum) -> String {
        let mut out = Vec::new();
        datum.write_json(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn bytes_are_quoted_so_that_no_terminal_obeys_them() {
        for (given, text, as_json) in [
            (&b"hello\n"[..], r#""hello\n""#, r#""hello\n""#),
            (b"a\"b\\c\td\r", r#""a\"b\\c\td\r""#, r#""a\"b\\c\td\r""#),
            (b"\x1b[31m\0", r#""\x1b[31m\x00""#, r#""\u001b[31m\u0000""#),
            ("gr\u{fc}n".as_bytes(), "\"gr\u{fc}n\"", "\"gr\u{fc}n\""),
            (b"\xff1", r#""\xff1""#, r#"{"hex":"ff31","length":2}"#),
            ("\u{202e}x".as_bytes(), r#""\u{202e}x""#, "\"\u{202e}x\""),
        ] {
            let datum = bytes(given, given.len() as u64);
            assert_eq!(datum.to_string(), text);
            assert_eq!(json(&datum), as_json);
        }
        assert_eq!(bytes(b"ab", 3).to_string(), r#""ab"..."#);
        assert_eq!(json(&bytes(b"ab", 3)), r#"{"text":"ab","length":3}"#);
    }

    #[test]
    fn flags_are_named_and_bits_without_a_name_are_kept() {
        let flags = |set: &[&'static str], clear: &[&'static str], rest| Datum::Flags {
            set: set.to_vec(),
            clear: clear.to_vec(),
            rest,
        };
        assert_eq!(flags(&[], &["a"], 0).to_string(), "0");
        assert_eq!(flags(&["a", "b"], &[], 0).to_string(), "a|b");
        assert_eq!(flags(&["a"], &["b"], 0x80).to_string(), "a|0x80");
        assert_eq!(flags(&[], &[], 0x80).to_string(), "0x80");
        let nine = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        assert_eq!(flags(&nine, &["j"], 0).to_string(), "~(j)");
        assert_eq!(flags(&nine, &[], 0x400).to_string(), "all|0x400");
        assert_eq!(json(&flags(&["a"], &["b"], 0x80)), r#"["a","0x80"]"#);
    }

    #[test]
    fn lists_and_records_say_where_they_were_cut() {
        let one = Datum::small(1);
        let list = |items: Vec<Datum>, total| Datum::List {
            items,
            total: Some(total),
        };
        assert_eq!(list(vec![one.clone()], 1).to_string(), "[1]");
        assert_eq!(list(vec![one.clone()], 9).to_string(), "[1, ...]");
        assert_eq!(list(vec![], 9).to_string(), "[...]");
        assert_eq!(
            json(&list(vec![one.clone()], 9)),
            r#"{"items":[1],"length":9}"#
        );
        let wide = Datum::Number {
            value: 1 << 60,
            is_wide: true,
        };
        let record = Datum::Record(vec![("a", one), ("b", wide), ("c", Datum::Address(16))]);
        assert_eq!(record.to_string(), "{a=1, b=1152921504606846976, c=0x10}");
        assert_eq!(
            json(&record),
            r#"{"a":1,"b":"1152921504606846976","c":{"address":"0x10"}}"#
        );
    }
}
