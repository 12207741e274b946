//! Folded stacks: a line of text for each stack, as `flamegraph.pl`, inferno and
//! speedscope read it.
//!
//! ```text
//! main;render;blit 41000000
//! ```
//!
//! The frames, outermost first and inlined functions as frames of their own, then
//! the value: by default the nanoseconds of the sampled clock, because samples may
//! weigh differently. Lines are sorted by their frames. A `;`, a line feed or a
//! carriage return within a name is written `%3B`, `%0A`, `%0D`, and a `%` that
//! would read as one of these `%25`; the reader here undoes it. Samples without a
//! frame are the line `[no stack]`.
//!
//! The format has no place for threads, times, source lines, labels, categories,
//! markers and counters.

use std::io::Write;
use std::time::Duration;

use crate::call_tree::{CallTree, Step};
use crate::category::Category;
use crate::error::{Error, Result};
use crate::function::Function;
use crate::labels::LabelsHandle;
use crate::location::{Line, Location};
use crate::meta::Meta;
use crate::profile::Profile;
use crate::sample::{Sample, nanos};
use crate::thread::Thread;
use crate::totals::Total;

const FORMAT: &str = "folded";
const NO_STACK: &str = "[no stack]";

/// What the number at the end of a line counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Nanoseconds of the sampled clock: the samples' weights.
    Nanoseconds,
    /// Samples.
    Samples,
}

impl Unit {
    fn of(self, total: Total) -> u64 {
        match self {
            Self::Nanoseconds => nanos(total.weight),
            Self::Samples => total.count,
        }
    }
}

/// Writes a profile as folded stacks.
///
/// # Errors
///
/// [`Error::Write`] when the stream refuses the bytes.
pub fn write(profile: &Profile, unit: Unit, out: &mut dyn Write) -> Result<()> {
    let tree = CallTree::new(profile);
    write_tree(&tree, unit, out).map_err(|source| Error::Write {
        format: FORMAT,
        source,
    })
}

fn write_tree(tree: &CallTree<'_>, unit: Unit, out: &mut dyn Write) -> std::io::Result<()> {
    if tree.no_stack != Total::default() {
        writeln!(out, "{NO_STACK} {}", unit.of(tree.no_stack))?;
    }
    let mut line = String::new();
    // How long the line was before each frame on it.
    let mut lengths = Vec::new();
    for step in tree.walk() {
        match step {
            Step::Enter(frame) => {
                lengths.push(line.len());
                if lengths.len() > 1 {
                    line.push(';');
                }
                escape(frame.name, &mut line);
                if frame.own != Total::default() {
                    writeln!(out, "{line} {}", unit.of(frame.own))?;
                }
            }
            Step::Leave => line.truncate(lengths.pop().unwrap_or(0)),
        }
    }
    Ok(())
}

/// The characters that end a name or a line, and what stands for them.
const ESCAPES: [(char, &str); 4] = [(';', "%3B"), ('\n', "%0A"), ('\r', "%0D"), ('%', "%25")];

fn escape(name: &str, out: &mut String) {
    for (at, char) in name.char_indices() {
        let escaped = ESCAPES.iter().find(|(plain, _)| *plain == char);
        match escaped {
            // A `%` is only in the way where it would read as an escape.
            Some(_) if char == '%' && unescape_at(&name[at..]).is_none() => out.push('%'),
            Some((_, escaped)) => out.push_str(escaped),
            None => out.push(char),
        }
    }
}

fn unescape_at(text: &str) -> Option<char> {
    let escape = ESCAPES.iter().find(|(_, escape)| text.starts_with(escape));
    escape.map(|(plain, _)| *plain)
}

fn unescape(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        name.push_str(&rest[..at]);
        rest = &rest[at..];
        match unescape_at(rest) {
            Some(plain) => {
                name.push(plain);
                rest = &rest[3..];
            }
            None => {
                name.push('%');
                rest = &rest[1..];
            }
        }
    }
    name.push_str(rest);
    name
}

/// Reads folded stacks. All samples are on one thread and at time zero.
///
/// With [`Unit::Nanoseconds`] the value is the samples' weight, and each line
/// counts as one sample. With [`Unit::Samples`] it is their number, and each weighs
/// `meta.interval`. Empty lines are skipped.
///
/// # Errors
///
/// [`Error::Damaged`] with the offset of the first line that does not end in a space
/// and a whole number, or is not UTF-8.
pub fn read(bytes: &[u8], unit: Unit, meta: Meta) -> Result<Profile> {
    let interval = meta.interval;
    let mut profile = Profile::new(meta);
    let thread = profile.add_thread(Thread::default());
    let mut offset = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let start = offset;
        offset += line.len();
        let damaged = |reason: &str, at: usize| Error::Damaged {
            format: FORMAT,
            reason: reason.to_owned(),
            offset: (start + at) as u64,
        };
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line)
            .map_err(|error| damaged("a name is not UTF-8", error.valid_up_to()))?;
        if line.trim().is_empty() {
            continue;
        }
        let (frames, value) = line
            .rsplit_once(' ')
            .ok_or_else(|| damaged("a line has no value", 0))?;
        let value: u64 = value
            .parse()
            .map_err(|_| damaged("a value is not a whole number", frames.len() + 1))?;
        let (count, weight) = match unit {
            Unit::Nanoseconds => (1, Duration::from_nanos(value)),
            Unit::Samples => {
                let weight = nanos(interval).saturating_mul(value);
                (value, Duration::from_nanos(weight))
            }
        };
        let mut stack = None;
        let named = if frames == NO_STACK {
            None
        } else {
            Some(frames)
        };
        for name in named.iter().flat_map(|frames| frames.split(';')) {
            let function = profile.add_function(Function {
                name: unescape(name),
                category: Category::Guest,
                ..Function::default()
            });
            let location = profile.add_location(Location {
                mapping: None,
                address: None,
                lines: vec![Line {
                    function,
                    line: None,
                    column: None,
                }],
            });
            stack = Some(profile.add_stack(stack, location));
        }
        profile.add_sample(Sample {
            thread,
            time: Duration::ZERO,
            stack,
            count,
            weight,
            cpu: None,
            labels: LabelsHandle::EMPTY,
        });
    }
    Ok(profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_escaping() {
        for name in [
            "", ";", "a;b\r\n", "%3B", "%253B", "%", "100%", "%%3B", "%2", "é;ü%0A", "[u8; 4]",
        ] {
            let mut escaped = String::new();
            escape(name, &mut escaped);
            assert!(!escaped.contains([';', '\n', '\r']), "{escaped:?}");
            assert_eq!(unescape(&escaped), name, "{escaped:?}");
        }
    }
}
