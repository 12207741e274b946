//! The trace in the format of Chrome's trace viewer, which Perfetto and
//! `chrome://tracing` open: the array form of the [Trace Event Format], one event a
//! line, `B` where a call begins and `E` where it ends.
//!
//! The format does not ask for the array's end, so a trace that was cut short is as
//! good as its events. A track is an execution stack, since within one calls nest.
//!
//! [Trace Event Format]: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU

use crate::datum::comma;
use crate::event::{Arguments, End, Event, Writer, explain};
use crate::json::{string, write_typed, write_value};
use crate::output::put;
use crate::subject::named;
use crate::typed::Typed;

/// Writes Chrome's format.
#[derive(Debug)]
pub(crate) struct Chrome {
    /// What the viewer calls the process.
    title: String,
}

impl Chrome {
    pub(crate) fn new(title: String) -> Self {
        Self { title }
    }
}

/// Writes what each event begins with. One guest is one process.
fn head(phase: char, event: &Event<'_>, out: &mut Vec<u8>) {
    let nanos = event.time.as_nanos();
    put(
        out,
        format_args!(
            ",\n{{\"ph\":\"{phase}\",\"pid\":1,\"tid\":{},\"ts\":{}.{:03},\"cat\":\"{}\",\"name\":",
            event.stack,
            nanos / 1000,
            nanos % 1000,
            if event.subject.is_host {
                "host"
            } else {
                "guest"
            },
        ),
    );
    string(&event.subject.label, out);
    put(out, ",\"args\":{");
}

impl Writer for Chrome {
    fn begin(&mut self, out: &mut Vec<u8>) {
        put(
            out,
            "[\n{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":",
        );
        string(&self.title, out);
        put(out, "}}");
    }

    fn open(&mut self, event: &Event<'_>, arguments: &Arguments<'_>, out: &mut Vec<u8>) {
        head('B', event, out);
        match (arguments.decoded, arguments.typed) {
            (None, Some(Typed::Values(values))) => {
                let params = event.subject.signature.iter();
                let names = params.flat_map(|signature| &signature.params);
                for (at, ((name, _), value)) in names.zip(values).enumerate() {
                    comma(at, out);
                    string(name, out);
                    put(out, ":");
                    write_typed(value, out);
                }
            }
            (Some(decoded), _) => {
                for (at, (name, datum)) in decoded.iter().enumerate() {
                    comma(at, out);
                    string(name, out);
                    put(out, ":");
                    // A vector takes all bytes.
                    let _ = datum.write_json(out);
                }
            }
            (None, typed) => {
                let values = named(&event.subject.params, arguments.values.iter());
                for (at, (name, value)) in values.enumerate() {
                    comma(at, out);
                    match name {
                        Some(name) => string(name, out),
                        None => put(out, format_args!("\"{at}\"")),
                    }
                    put(out, ":");
                    write_value(value, out);
                }
                if let Some(Typed::Damaged(error)) = typed {
                    comma(arguments.values.len(), out);
                    put(out, "\"not lifted\":");
                    string(&error.to_string(), out);
                }
            }
        }
        put(out, "}}");
    }

    fn close(&mut self, event: &Event<'_>, end: &End<'_>, out: &mut Vec<u8>) {
        head('E', event, out);
        match end {
            End::Return {
                decoded: Some(outcome),
                ..
            } => {
                if let Some(errno) = &outcome.errno {
                    put(out, "\"errno\":");
                    let _ = errno.write_json(out);
                }
                for (name, datum) in &outcome.outputs {
                    put(out, ",");
                    string(name, out);
                    put(out, ":");
                    let _ = datum.write_json(out);
                }
            }
            End::Return {
                typed: Some(Typed::Later),
                ..
            } => put(out, "\"result\":\"later\""),
            End::Return {
                typed: Some(Typed::Values(values)),
                ..
            } => {
                if let Some(value) = values.first() {
                    put(out, "\"result\":");
                    write_typed(value, out);
                }
            }
            End::Return {
                typed: Some(Typed::Damaged(error)),
                ..
            } => {
                put(out, "\"not lifted\":");
                string(&error.to_string(), out);
            }
            End::Return { values, .. } => {
                for (at, (name, value)) in named(&event.subject.results, values.iter()).enumerate()
                {
                    comma(at, out);
                    match name {
                        Some(name) => string(name, out),
                        None if at == 0 => put(out, "\"result\""),
                        None => put(out, format_args!("\"result {at}\"")),
                    }
                    put(out, ":");
                    write_value(value, out);
                }
            }
            End::TailCall => put(out, "\"end\":\"tail call\""),
            End::Abort(cause) => {
                put(out, "\"abort\":");
                match explain(cause) {
                    (kind, None) => string(kind, out),
                    (kind, Some(message)) => string(&format!("{kind}: {message}"), out),
                }
            }
        }
        put(out, "}}");
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        put(out, "\n]\n");
    }
}
