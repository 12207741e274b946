//! The trace as text: a call a line, nested calls indented.
//!
//! ```text
//! main(0, 0)
//!   fib(2)
//!     fib(1) = 1
//!     fib(0) = 0
//!   fib = 1
//!   wasi.fd_write(1, ["hello\n"]) = 6 (errno success)
//!   check(1) => tail call
//!   wasi:cli/environment@0.2.0#get-arguments() = ["guest", "--fast"]
//!   fail(1) ! trap: wasm `unreachable` instruction executed
//! main ! trap: wasm `unreachable` instruction executed
//! ```

use crate::datum::Plain;
use crate::event::{Arguments, End, Event, Writer, explain};
use crate::output::put;
use crate::typed::Typed;
use crate::wasi::Outcome;
use std::fmt::{self, Display};
use wasmscope_listen::Value;
use wasmscope_listen::component::{self, LiftError};

/// Deeper calls are not indented further, so that a deep recursion does not become a
/// file of blanks; their depth is written before them.
const DEEPEST: u32 = 40;

/// Writes text.
#[derive(Debug)]
pub(crate) struct Text {
    is_coloured: bool,
    /// The call whose line is not ended yet.
    unended: Option<u64>,
}

/// Colours, as terminals number them.
const CYAN: u8 = 36;
const RED: u8 = 31;
const YELLOW: u8 = 33;

impl Text {
    pub(crate) fn new(is_coloured: bool) -> Self {
        Self {
            is_coloured,
            unended: None,
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        if self.unended.take().is_some() {
            out.push(b'\n');
        }
    }

    /// Begins a line with a function's name.
    fn begin_line(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        self.end_line(out);
        if event.stack > 1 {
            put(out, format_args!("#{} ", event.stack));
        }
        let indent = event.depth.min(DEEPEST) as usize * 2;
        out.resize(out.len() + indent, b' ');
        if event.depth > DEEPEST {
            put(out, format_args!("[{}] ", event.depth));
        }
        let label = Plain(&event.subject.label);
        match event.subject.is_host {
            true => self.paint(CYAN, &label, out),
            false => put(out, label),
        }
    }

    fn paint(&self, colour: u8, text: &dyn Display, out: &mut Vec<u8>) {
        match self.is_coloured {
            true => put(out, format_args!("\x1b[{colour}m{text}\x1b[0m")),
            false => put(out, text),
        }
    }

    fn damage(&self, error: &LiftError, out: &mut Vec<u8>) {
        out.push(b' ');
        self.paint(
            YELLOW,
            &format_args!("({})", Plain(&error.to_string())),
            out,
        );
    }

    fn outcome(&self, outcome: &Outcome, out: &mut Vec<u8>) {
        let Some(errno) = &outcome.errno else {
            return put(out, " = ()");
        };
        let is_success = errno.to_string() == "success";
        put(out, " = ");
        match outcome.outputs.as_slice() {
            [] if is_success => return put(out, format_args!("errno {errno}")),
            [] => return self.paint(YELLOW, &format_args!("errno {errno}"), out),
            [(_, only)] => put(out, only),
            several => {
                for (at, (name, datum)) in several.iter().enumerate() {
                    separate(at, out);
                    put(out, format_args!("{name}={datum}"));
                }
            }
        }
        put(out, format_args!(" (errno {errno})"));
    }
}

impl Writer for Text {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn open(&mut self, event: &Event<'_>, arguments: &Arguments<'_>, out: &mut Vec<u8>) {
        self.begin_line(event, out);
        out.push(b'(');
        match (arguments.decoded, arguments.typed) {
            (Some(decoded), _) => list(decoded.iter().map(|(_, datum)| datum), out),
            (None, Some(Typed::Values(values))) => list(values.iter().map(Readable), out),
            (None, _) => list(arguments.values.iter().map(shown), out),
        }
        out.push(b')');
        if let Some(Typed::Damaged(error)) = arguments.typed {
            self.damage(error, out);
        }
        if arguments.is_deferred {
            put(out, " (told later)");
        }
        self.unended = Some(event.id);
    }

    fn close(&mut self, event: &Event<'_>, end: &End<'_>, out: &mut Vec<u8>) {
        if self.unended != Some(event.id) {
            self.begin_line(event, out);
        }
        self.unended = Some(event.id);
        match end {
            End::Return {
                decoded: Some(outcome),
                ..
            } => self.outcome(outcome, out),
            End::Return {
                typed: Some(Typed::Values(values)),
                ..
            } => returned(values.iter().map(Readable), out),
            End::Return {
                typed: Some(Typed::Later),
                ..
            } => put(out, " = (later)"),
            End::Return { values, typed, .. } => {
                returned(values.iter().map(shown), out);
                if let Some(Typed::Damaged(error)) = typed {
                    self.damage(error, out);
                }
            }
            End::TailCall => put(out, " => tail call"),
            End::Abort(cause) => {
                put(out, " ! ");
                let text = match explain(cause) {
                    (kind, None) => kind.to_owned(),
                    ("exit", Some(status)) => format!("exit {status}"),
                    (kind, Some(message)) => format!("{kind}: {message}"),
                };
                self.paint(RED, &Plain(&text), out);
            }
        }
        self.end_line(out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.end_line(out);
    }
}

fn separate(at: usize, out: &mut Vec<u8>) {
    if at > 0 {
        out.extend_from_slice(b", ");
    }
}

fn list(values: impl Iterator<Item = impl Display>, out: &mut Vec<u8>) {
    for (at, value) in values.enumerate() {
        separate(at, out);
        put(out, value);
    }
}

/// Writes results: one as it is, others in brackets.
fn returned(values: impl Iterator<Item = impl Display>, out: &mut Vec<u8>) {
    put(out, " = ");
    let mut values = values.peekable();
    let first = values.next();
    match (first, values.peek()) {
        (Some(only), None) => put(out, only),
        (first, _) => {
            out.push(b'(');
            list(first.into_iter().chain(values), out);
            out.push(b')');
        }
    }
}

/// A component's value in its alternate form: bytes as text.
struct Readable<'v>(&'v component::Value);

impl Display for Readable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

/// Writes a value so that its bits can be told: a NaN with its payload, as the text
/// format of WebAssembly has it.
pub(crate) fn shown(value: Value) -> String {
    match value {
        Value::F32(number) if number.is_nan() => nan(
            number.is_sign_negative(),
            u64::from(number.to_bits() & 0x7f_ffff),
        ),
        Value::F64(number) if number.is_nan() => nan(
            number.is_sign_negative(),
            number.to_bits() & 0xf_ffff_ffff_ffff,
        ),
        value => value.to_string(),
    }
}

fn nan(is_negative: bool, payload: u64) -> String {
    let sign = if is_negative { "-" } else { "" };
    format!("{sign}nan:{payload:#x}")
}
