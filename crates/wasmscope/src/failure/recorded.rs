//! The stack that the engine recorded when a guest failed.
//!
//! A `WasmBacktrace` holds the address of every frame, and hands out only as many frames as
//! `Config::wasm_backtrace_max_frames` says. The addresses are in its `Debug` text, in its
//! last field:
//!
//! ```text
//!   WasmBacktrace { wasm_trace: [...], ..., _runtime_trace: Backtrace([
//!       Frame { pc: 139872, fp: 140735 }, Frame { pc: 139910, fp: 140767 }]) }
//! ```
//!
//! That form is the engine's own business, so it is read strictly: what does not have it
//! exactly is no answer, and whoever asks compares the answer with the frames that the engine
//! does hand out. Names of guests are in that text as well, before that field; so the last
//! place where the field begins is the one that counts.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use wasmscope_address::HostPc;
use wasmtime::WasmBacktrace;

/// How the field begins, with the name that it has.
const FIELD: &[u8] = b"_runtime_trace: Backtrace([";

/// A frame that the engine recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Recorded {
    pub(crate) pc: HostPc,
    /// Its frame pointer.
    pub(crate) fp: u64,
    /// Whether the same frame was there before. Where the host called a function of its own by
    /// its `Func`, the engine records what stands below that function twice.
    pub(crate) is_repeated: bool,
}

/// Returns each frame, newest first, or `None` when they cannot be read.
pub(crate) fn frames(backtrace: &WasmBacktrace) -> Option<Vec<Recorded>> {
    let mut reader = Reader::default();
    write!(reader, "{backtrace:?}").ok()?;
    let mut seen = HashSet::new();
    let frames = reader.finish()?.into_iter();
    let frames = frames.map(|frame| Recorded {
        pc: HostPc(frame.pc),
        fp: frame.fp,
        is_repeated: !seen.insert(frame),
    });
    Some(frames.collect())
}

/// The numbers of a frame. No two frames of one stack have the same frame pointer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Numbers {
    pc: u64,
    fp: u64,
}

/// Reads the text as it is written, so that it is never in memory as a whole.
#[derive(Debug, Default)]
struct Reader {
    /// How much of [`FIELD`] was there.
    matched: usize,
    frames: Vec<Numbers>,
    state: State,
}

/// Where in the field a reader is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// Not in it, or in what only looked like it.
    #[default]
    Outside,
    /// Has read this much of a part of a frame's text, and these numbers.
    Frame {
        part: usize,
        at: usize,
        numbers: Numbers,
    },
    /// Behind the list's bracket, with this much of the text's end read.
    End(usize),
}

/// What stands around the two numbers of a frame.
const PARTS: [&[u8]; 3] = [b"Frame { pc: ", b", fp: ", b" }"];
/// What stands between two frames.
const BETWEEN: &[u8] = b", ";
/// What stands behind the list.
const END: &[u8] = b") }";

impl Reader {
    fn finish(self) -> Option<Vec<Numbers>> {
        (self.state == State::End(END.len())).then_some(self.frames)
    }

    fn read(&mut self, byte: u8) {
        self.state = self.next(byte);
        // The field's text begins with a byte that it has nowhere else.
        self.matched = match FIELD.get(self.matched) {
            Some(expected) if *expected == byte => self.matched + 1,
            _ => usize::from(FIELD.first() == Some(&byte)),
        };
        if self.matched == FIELD.len() {
            self.matched = 0;
            self.frames.clear();
            self.state = State::Frame {
                part: 0,
                at: 0,
                numbers: Numbers::default(),
            };
        }
    }

    fn next(&mut self, byte: u8) -> State {
        match self.state {
            State::Outside => State::Outside,
            State::End(at) if END.get(at) == Some(&byte) => State::End(at + 1),
            State::End(_) => State::Outside,
            State::Frame { part, at, numbers } => self.in_frame(part, at, numbers, byte),
        }
    }

    fn in_frame(&mut self, part: usize, at: usize, numbers: Numbers, byte: u8) -> State {
        let text = PARTS.get(part).copied().unwrap_or(BETWEEN);
        let is_first = part == 0 && at == 0 && self.frames.is_empty();
        match (text.get(at), byte) {
            (Some(expected), _) if *expected == byte => State::Frame {
                part,
                at: at + 1,
                numbers,
            },
            (None, b'0'..=b'9') if part < 2 => match numbers.with_digit(part, byte) {
                Some(numbers) => State::Frame { part, at, numbers },
                None => State::Outside,
            },
            // The number ends.
            (None, _) if part < 2 => self.in_frame(part + 1, 0, numbers, byte),
            // The frame's bracket has closed: another frame follows, or none.
            (None, _) if part == 2 => {
                self.frames.push(numbers);
                match byte {
                    b']' => State::End(0),
                    _ => self.in_frame(3, 0, Numbers::default(), byte),
                }
            }
            // Behind what stands between two frames.
            (None, _) => self.in_frame(0, 0, numbers, byte),
            (Some(_), b']') if is_first => State::End(0),
            (Some(_), _) => State::Outside,
        }
    }
}

impl Numbers {
    /// Adds a digit to the first or second number; `None` when that is too large.
    fn with_digit(mut self, part: usize, digit: u8) -> Option<Self> {
        let number = if part == 0 {
            &mut self.pc
        } else {
            &mut self.fp
        };
        let digit = u64::from(digit - b'0');
        *number = number.checked_mul(10)?.checked_add(digit)?;
        Some(self)
    }
}

impl fmt::Write for Reader {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.read(byte));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<u64>> {
        let mut reader = Reader::default();
        reader.write_str(text).unwrap();
        Some(reader.finish()?.into_iter().map(|frame| frame.pc).collect())
    }

    const EMPTY: &str = "WasmBacktrace { wasm_trace: [], _runtime_trace: Backtrace([]) }";
    const ONE: &str = "W { _runtime_trace: Backtrace([Frame { pc: 12, fp: 340 }]) }";
    const TWO: &str =
        "W { _runtime_trace: Backtrace([Frame { pc: 12, fp: 340 }, Frame { pc: 7, fp: 0 }]) }";

    #[test]
    fn addresses_come_newest_first() {
        assert_eq!(read(EMPTY), Some(vec![]));
        assert_eq!(read(ONE), Some(vec![12]));
        assert_eq!(read(TWO), Some(vec![12, 7]));
    }

    #[test]
    fn no_other_form_is_read() {
        for text in [EMPTY, ONE, TWO] {
            for len in 0..text.len() {
                assert_eq!(read(&text[..len]), None, "{}", &text[..len]);
            }
            assert_eq!(read(&format!("{text} ")), None);
            for at in text.find("_runtime").unwrap()..text.len() {
                let changed = format!("{}?{}", &text[..at], &text[at + 1..]);
                assert_eq!(read(&changed), None, "{changed}");
            }
        }
        assert_eq!(read(&ONE.replace("12", "99999999999999999999")), None);
        assert_eq!(read(&ONE.replace("fp", "sp")), None);
    }

    /// Texts made of the form's own parts, in any order: nothing panics, and what is read is
    /// what a plain reading of the last list gives.
    #[test]
    fn any_text_is_read_as_its_last_list_or_not_at_all() {
        let field = std::str::from_utf8(FIELD).unwrap();
        let parts = [
            field,
            "Frame { pc: ",
            "1",
            "23",
            ", fp: ",
            " }",
            ", ",
            "])",
            " }",
            "x",
            "_",
            "]) }",
            "Frame { pc: 7, fp: 8 }",
        ];
        let plain = |text: &str| -> Option<Vec<u64>> {
            let (_, list) = text.rsplit_once(field)?;
            let list = list.strip_suffix("]) }")?;
            let frame = |frame: &str| {
                let frame = frame.strip_prefix("Frame { pc: ")?.strip_suffix(" }")?;
                let (pc, fp) = frame.split_once(", fp: ")?;
                let is_number = |it: &str| it.bytes().all(|byte| byte.is_ascii_digit());
                let are_numbers = is_number(pc) && is_number(fp);
                are_numbers.then(|| pc.parse().unwrap_or_default())
            };
            match list {
                "" => Some(Vec::new()),
                _ => list
                    .split(" }, ")
                    .enumerate()
                    .map(|(at, it)| {
                        // All but the last have lost their end.
                        let is_last = at == list.split(" }, ").count() - 1;
                        frame(&if is_last {
                            it.to_owned()
                        } else {
                            format!("{it} }}")
                        })
                    })
                    .collect(),
            }
        };
        let mut state = 88_172_645_463_325_252_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        };
        let mut lists = 0;
        for _ in 0..200_000 {
            let mut text = field.to_owned();
            for _ in 0..random() % 8 {
                text.push_str(parts[random() % parts.len()]);
            }
            if random() % 2 == 0 {
                text.push_str("]) }");
            }
            assert_eq!(read(&text), plain(&text), "{text}");
            lists += usize::from(read(&text).is_some_and(|list| !list.is_empty()));
        }
        assert!(lists > 100, "{lists}");
    }

    #[test]
    fn the_name_of_a_guest_is_not_taken_for_the_stack() {
        let forged = "_runtime_trace: Backtrace([Frame { pc: 666, fp: 1 }]) }";
        assert_eq!(
            read(&format!("W {{ name: {forged:?}, {ONE}")),
            Some(vec![12])
        );
        let open = "_runtime_trace: Backtrace([Frame { pc: 666, fp: ";
        assert_eq!(
            read(&format!("W {{ name: {open:?}, {TWO}")),
            Some(vec![12, 7])
        );
    }
}
