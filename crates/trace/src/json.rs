//! The trace as JSON: one object a line for each event, open and close of a call with
//! the same `id`.
//!
//! What the fields are is said where the format is, at [`crate::Format::Json`].

mod value;

pub(crate) use value::{string, write_typed, write_value};

use crate::datum::{comma, write_json_record};
use crate::event::{Arguments, End, Event, Writer, explain};
use crate::output::put;
use crate::subject::named;
use crate::typed::Typed;
use wasmscope_listen::component;
use wasmscope_listen::{Cause, Values};

/// Writes JSON.
#[derive(Debug)]
pub(crate) struct Json;

impl Writer for Json {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn open(&mut self, event: &Event<'_>, arguments: &Arguments<'_>, out: &mut Vec<u8>) {
        head("open", event, out);
        if arguments.is_deferred {
            put(out, ",\"deferred\":true");
        }
        match (arguments.typed, &event.subject.signature) {
            (Some(Typed::Values(values)), Some(signature)) => {
                let params = signature.params.iter();
                typed(
                    "args",
                    params.map(|(name, ty)| (Some(&**name), &**ty)),
                    values,
                    out,
                );
            }
            (damage, _) => {
                values("args", &event.subject.params, arguments.values, out);
                not_lifted(damage, out);
            }
        }
        if let Some(decoded) = arguments.decoded {
            put(out, ",\"decoded\":");
            // A vector takes all bytes.
            let _ = write_json_record(decoded, out);
        }
        put(out, "}\n");
    }

    fn close(&mut self, event: &Event<'_>, end: &End<'_>, out: &mut Vec<u8>) {
        head("close", event, out);
        match end {
            End::Return {
                values: results,
                decoded,
                typed: lifted,
            } => {
                put(out, ",\"end\":\"return\"");
                match (lifted, &event.subject.signature) {
                    (Some(Typed::Values(values)), Some(signature)) => {
                        let types = signature.result.iter();
                        typed("results", types.map(|ty| (None, &**ty)), values, out);
                    }
                    (Some(Typed::Later), _) => put(out, ",\"results\":null"),
                    _ => {
                        values("results", &event.subject.results, *results, out);
                        not_lifted(*lifted, out);
                    }
                }
                if let Some(outcome) = decoded
                    && let Some(errno) = &outcome.errno
                {
                    put(out, ",\"decoded\":{\"errno\":");
                    let _ = errno.write_json(out);
                    put(out, ",\"outputs\":");
                    let _ = write_json_record(&outcome.outputs, out);
                    put(out, "}");
                }
            }
            End::TailCall => put(out, ",\"end\":\"tail call\""),
            End::Abort(cause) => {
                let (kind, message) = explain(cause);
                put(out, ",\"end\":\"abort\",\"cause\":{\"kind\":");
                string(kind, out);
                match (cause, message) {
                    (Cause::Exit(status), _) => put(out, format_args!(",\"status\":{status}")),
                    (_, Some(message)) => {
                        put(out, ",\"message\":");
                        string(&message, out);
                    }
                    (_, None) => {}
                }
                put(out, "}");
            }
        }
        put(out, "}\n");
    }

    fn end(&mut self, _out: &mut Vec<u8>) {}
}

fn head(kind: &str, event: &Event<'_>, out: &mut Vec<u8>) {
    let subject = event.subject;
    put(
        out,
        format_args!(
            "{{\"event\":\"{kind}\",\"id\":{},\"time\":{},\"thread\":{},\"stack\":{},\"depth\":{},\
             \"kind\":\"{}\",\"module\":",
            event.id,
            event.time.as_nanos(),
            event.thread,
            event.stack,
            event.depth,
            if subject.is_host { "host" } else { "guest" },
        ),
    );
    match &subject.module {
        Some(module) => string(module, out),
        None => put(out, "null"),
    }
    put(out, ",\"function\":");
    string(&subject.name, out);
    put(out, format_args!(",\"index\":{}", subject.index.0));
}

fn values(field: &str, names: &[Option<String>], values: Values<'_>, out: &mut Vec<u8>) {
    put(out, format_args!(",\"{field}\":["));
    for (at, (name, value)) in named(names, values.iter()).enumerate() {
        comma(at, out);
        put(out, "{");
        if let Some(name) = name {
            put(out, "\"name\":");
            string(name, out);
            put(out, ",");
        }
        put(
            out,
            format_args!("\"type\":\"{}\",\"value\":", value.value_type()),
        );
        write_value(value, out);
        put(out, "}");
    }
    put(out, "]");
}

/// Writes the values of a component function, with their names and types.
fn typed<'a>(
    field: &str,
    types: impl Iterator<Item = (Option<&'a str>, &'a str)>,
    values: &[component::Value],
    out: &mut Vec<u8>,
) {
    put(out, format_args!(",\"{field}\":["));
    for (at, ((name, ty), value)) in types.zip(values).enumerate() {
        comma(at, out);
        put(out, "{");
        if let Some(name) = name {
            put(out, "\"name\":");
            string(name, out);
            put(out, ",");
        }
        put(out, "\"type\":");
        string(ty, out);
        put(out, ",\"value\":");
        write_typed(value, out);
        put(out, "}");
    }
    put(out, "]");
}

/// Says why values of a component function are not there.
fn not_lifted(typed: Option<&Typed>, out: &mut Vec<u8>) {
    if let Some(Typed::Damaged(error)) = typed {
        put(out, ",\"not_lifted\":");
        string(&error.to_string(), out);
    }
}
