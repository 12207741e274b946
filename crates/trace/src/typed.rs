//! The values of a component function, and how they are written as JSON.

use crate::datum::{Datum, comma};
use crate::json::{put, string};
use crate::wasi;
use wasmscope_listen::Values;
use wasmscope_listen::component::{LiftError, Limits, Value};
use wasmscope_listen::{Call, Definition};

/// What is known of the parameters or results of a component function.
#[derive(Clone, Debug)]
pub(crate) enum Typed {
    /// Its values.
    Values(Vec<Value>),
    /// The call is over, and its results come later: it is an `async` one.
    Later,
    /// The guest's memory holds no values of the type.
    Damaged(LiftError),
}

impl Typed {
    /// Lifts the parameters of a call; none when it is of no component function.
    pub(crate) fn params(call: &Call<'_>, limits: &wasi::Limits) -> Option<Self> {
        call.component_params(&within(limits)).map(Self::from)
    }

    /// Lifts the results of a call; none when it is of no component function.
    pub(crate) fn results(
        call: &Call<'_>,
        results: Values<'_>,
        limits: &wasi::Limits,
    ) -> Option<Self> {
        call.definition().component.as_ref()?;
        let lifted = call.component_results(results, &within(limits));
        Some(lifted.map_or(Self::Later, Self::from))
    }
}

impl From<Result<Vec<Value>, LiftError>> for Typed {
    fn from(lifted: Result<Vec<Value>, LiftError>) -> Self {
        match lifted {
            Ok(values) => Self::Values(values),
            Err(error) => Self::Damaged(error),
        }
    }
}

/// Returns the limits for what is lifted, so that as much is shown as of WASI's data.
fn within(limits: &wasi::Limits) -> Limits {
    Limits {
        text: limits.bytes,
        elements: limits.items,
        ..LINE
    }
}

/// What a line holds at most, however its values are nested.
const LINE: Limits = Limits {
    values: 1000,
    bytes: 1 << 16,
    ..Limits::SHORT
};

/// Returns the names and types of a component function's parameters or results, as WIT
/// writes them.
pub(crate) fn signature(definition: &Definition) -> Option<Signature> {
    let ty = &definition.component.as_ref()?.ty;
    let params = ty.params().iter();
    Some(Signature {
        params: params
            .map(|(name, ty)| (name.to_string(), ty.to_string()))
            .collect(),
        result: ty.result().map(ToString::to_string),
    })
}

/// The type of a component function, as text.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    /// The parameters' names and types.
    pub(crate) params: Vec<(String, String)>,
    /// The result's type.
    pub(crate) result: Option<String>,
}

/// Writes a value as JSON, as [`crate::Format::Json`] says.
pub(crate) fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Bool(value) => put(out, value),
        Value::S8(value) => put(out, value),
        Value::U8(value) => put(out, value),
        Value::S16(value) => put(out, value),
        Value::U16(value) => put(out, value),
        Value::S32(value) => put(out, value),
        Value::U32(value) => put(out, value),
        Value::F32(value) if value.is_finite() => put(out, format_args!("{value:?}")),
        Value::F64(value) if value.is_finite() => put(out, format_args!("{value:?}")),
        Value::Char(value) => string(value.encode_utf8(&mut [0; 4]), out),
        Value::Enum(name) => string(name, out),
        Value::String { text, more: 0 } => string(text, out),
        Value::String { text, more } => {
            put(out, "{\"text\":");
            string(text, out);
            put(out, format_args!(",\"more\":{more}}}"));
        }
        Value::Bytes { bytes, more } => {
            let datum = Datum::Bytes {
                bytes: bytes.clone(),
                total: bytes.len() as u64 + more,
            };
            // A vector takes all bytes.
            let _ = datum.write_json(out);
        }
        Value::List { values, more } => {
            let total = values.len() as u64 + more;
            write_list(
                values
                    .iter()
                    .map(|value| move |out: &mut _| write_value(value, out)),
                total,
                out,
            );
        }
        Value::Map { entries, more } => {
            let total = entries.len() as u64 + more;
            let pairs = entries
                .iter()
                .map(|(key, value)| move |out: &mut _| write_array([key, value], out));
            write_list(pairs, total, out);
        }
        Value::Tuple(values) => write_array(values, out),
        Value::Record(fields) => {
            out.push(b'{');
            for (at, (name, value)) in fields.iter().enumerate() {
                comma(at, out);
                write_member(name, Some(value), out);
            }
            out.push(b'}');
        }
        Value::Flags(names) => {
            out.push(b'[');
            for (at, name) in names.iter().enumerate() {
                comma(at, out);
                string(name, out);
            }
            out.push(b']');
        }
        Value::Variant(name, value) => write_case(name, value.as_deref(), out),
        Value::Result(Ok(value)) => write_case("ok", value.as_deref(), out),
        Value::Result(Err(value)) => write_case("err", value.as_deref(), out),
        Value::Option(None) => put(out, "null"),
        // An option within an option would else be lost.
        Value::Option(Some(value)) if matches!(**value, Value::Option(_)) => {
            write_case("some", Some(value), out);
        }
        Value::Option(Some(value)) => write_value(value, out),
        // Wide numbers, numbers that JSON has not, handles: as text.
        value => string(&value.to_string(), out),
    }
}

fn write_case(name: &str, value: Option<&Value>, out: &mut Vec<u8>) {
    out.push(b'{');
    write_member(name, value, out);
    out.push(b'}');
}

fn write_member(name: &str, value: Option<&Value>, out: &mut Vec<u8>) {
    string(name, out);
    out.push(b':');
    match value {
        Some(value) => write_value(value, out),
        None => put(out, "null"),
    }
}

fn write_array<'v>(values: impl IntoIterator<Item = &'v Value>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, value) in values.into_iter().enumerate() {
        comma(at, out);
        write_value(value, out);
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
