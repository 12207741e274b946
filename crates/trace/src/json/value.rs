//! Values as JSON, of core and of component functions.

use crate::datum::{Datum, comma, json_string};
use crate::output::put;
use crate::text::shown;
use wasmscope_listen::component::Value as Typed;
use wasmscope_listen::{Reference, Value};

/// Writes a value so that every reader of JSON gets all its bits.
pub(crate) fn write_value(value: Value, out: &mut Vec<u8>) {
    match value {
        Value::I32(number) => put(out, number),
        Value::F32(number) if number.is_finite() => put(out, format_args!("{number:?}")),
        Value::F64(number) if number.is_finite() => put(out, format_args!("{number:?}")),
        Value::Ref(Reference { is_null: true, .. }) => put(out, "null"),
        value => put(out, format_args!("\"{}\"", shown(value))),
    }
}

/// Writes a value as JSON, as [`crate::Format::Json`] says.
pub(crate) fn write_typed(value: &Typed, out: &mut Vec<u8>) {
    match value {
        Typed::Bool(value) => put(out, value),
        Typed::S8(value) => put(out, value),
        Typed::U8(value) => put(out, value),
        Typed::S16(value) => put(out, value),
        Typed::U16(value) => put(out, value),
        Typed::S32(value) => put(out, value),
        Typed::U32(value) => put(out, value),
        Typed::F32(value) if value.is_finite() => put(out, format_args!("{value:?}")),
        Typed::F64(value) if value.is_finite() => put(out, format_args!("{value:?}")),
        Typed::Char(value) => string(value.encode_utf8(&mut [0; 4]), out),
        Typed::Enum(name) => string(name, out),
        Typed::String { text, more: 0 } => string(text, out),
        Typed::String { text, more } => {
            put(out, "{\"text\":");
            string(text, out);
            put(out, format_args!(",\"more\":{more}}}"));
        }
        Typed::Bytes { bytes, more } => {
            let datum = Datum::Bytes {
                bytes: bytes.clone(),
                total: bytes.len() as u64 + more,
            };
            // A vector takes all bytes.
            let _ = datum.write_json(out);
        }
        Typed::List { values, more } => {
            let total = values.len() as u64 + more;
            write_list(
                values
                    .iter()
                    .map(|value| move |out: &mut _| write_typed(value, out)),
                total,
                out,
            );
        }
        Typed::Map { entries, more } => {
            let total = entries.len() as u64 + more;
            let pairs = entries
                .iter()
                .map(|(key, value)| move |out: &mut _| write_array([key, value], out));
            write_list(pairs, total, out);
        }
        Typed::Tuple(values) => write_array(values, out),
        Typed::Record(fields) => {
            out.push(b'{');
            for (at, (name, value)) in fields.iter().enumerate() {
                comma(at, out);
                write_member(name, Some(value), out);
            }
            out.push(b'}');
        }
        Typed::Flags(names) => {
            out.push(b'[');
            for (at, name) in names.iter().enumerate() {
                comma(at, out);
                string(name, out);
            }
            out.push(b']');
        }
        Typed::Variant(name, value) => write_case(name, value.as_deref(), out),
        Typed::Result(Ok(value)) => write_case("ok", value.as_deref(), out),
        Typed::Result(Err(value)) => write_case("err", value.as_deref(), out),
        Typed::Option(None) => put(out, "null"),
        // An option within an option would else be lost.
        Typed::Option(Some(value)) if matches!(**value, Typed::Option(_)) => {
            write_case("some", Some(value), out);
        }
        Typed::Option(Some(value)) => write_typed(value, out),
        // Wide numbers, numbers that JSON has not, handles: as text.
        value => string(&value.to_string(), out),
    }
}

fn write_case(name: &str, value: Option<&Typed>, out: &mut Vec<u8>) {
    out.push(b'{');
    write_member(name, value, out);
    out.push(b'}');
}

fn write_member(name: &str, value: Option<&Typed>, out: &mut Vec<u8>) {
    string(name, out);
    out.push(b':');
    match value {
        Some(value) => write_typed(value, out),
        None => put(out, "null"),
    }
}

fn write_array<'v>(values: impl IntoIterator<Item = &'v Typed>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, value) in values.into_iter().enumerate() {
        comma(at, out);
        write_typed(value, out);
    }
    out.push(b']');
}

/// Writes a list of which there are `total`.
fn write_list<W: FnOnce(&mut Vec<u8>)>(
    items: impl ExactSizeIterator<Item = W>,
    total: u64,
    out: &mut Vec<u8>,
) {
    let is_whole = items.len() as u64 == total;
    put(out, if is_whole { "[" } else { "{\"items\":[" });
    for (at, write) in items.enumerate() {
        comma(at, out);
        write(out);
    }
    match is_whole {
        true => put(out, "]"),
        false => put(out, format_args!("],\"length\":{total}}}")),
    }
}

/// Writes text in quotes.
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    // A vector takes all bytes.
    let _ = json_string(text, out);
}
