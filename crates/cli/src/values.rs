//! Arguments of `--invoke`, read by the types of the function's parameters, and its
//! results, written as `wasmtime run` writes them.

use anyhow::{Result, anyhow, bail};
use std::fmt::Write as _;
use wasmtime::component::{Type, Val as ComponentVal};
use wasmtime::{Val, ValType};

/// Reads the arguments of a core function.
///
/// # Errors
///
/// Says which argument is wrong and what it must be, or how many there must be.
pub(crate) fn core_arguments(types: &[ValType], texts: &[String]) -> Result<Vec<Val>> {
    check_count(types.iter().map(ToString::to_string), texts)?;
    types
        .iter()
        .zip(texts)
        .map(|(ty, text)| core_argument(ty, text))
        .collect()
}

fn core_argument(ty: &ValType, text: &str) -> Result<Val> {
    let value = match ty {
        ValType::I32 => integer(text)
            .and_then(|n| {
                i32::try_from(n)
                    .ok()
                    .or(u32::try_from(n).ok().map(u32::cast_signed))
            })
            .map(Val::I32),
        ValType::I64 => integer(text)
            .and_then(|n| {
                i64::try_from(n)
                    .ok()
                    .or(u64::try_from(n).ok().map(u64::cast_signed))
            })
            .map(Val::I64),
        ValType::F32 => text.parse::<f32>().ok().map(|x| Val::F32(x.to_bits())),
        ValType::F64 => text.parse::<f64>().ok().map(|x| Val::F64(x.to_bits())),
        ValType::V128 => integer(text).map(|n| Val::V128(n.cast_unsigned().into())),
        ValType::Ref(_) => bail!("a parameter of type {ty} cannot be given on the command line"),
    };
    value.ok_or_else(|| anyhow!("{text:?} is not an {ty}"))
}

/// Writes the results of a core function, a line each.
pub(crate) fn show_core(results: &[Val]) -> String {
    results.iter().fold(String::new(), |mut text, result| {
        let _ = match result {
            Val::I32(n) => writeln!(text, "{n}"),
            Val::I64(n) => writeln!(text, "{n}"),
            Val::F32(bits) => writeln!(text, "{}", f32::from_bits(*bits)),
            Val::F64(bits) => writeln!(text, "{}", f64::from_bits(*bits)),
            Val::V128(bits) => writeln!(text, "{}", bits.as_u128()),
            Val::ExternRef(None) => writeln!(text, "<null externref>"),
            Val::ExternRef(Some(_)) => writeln!(text, "<externref>"),
            Val::FuncRef(None) => writeln!(text, "<null funcref>"),
            Val::FuncRef(Some(_)) => writeln!(text, "<funcref>"),
            Val::AnyRef(None) => writeln!(text, "<null anyref>"),
            Val::AnyRef(Some(_)) => writeln!(text, "<anyref>"),
            Val::ExnRef(None) => writeln!(text, "<null exnref>"),
            Val::ExnRef(Some(_)) => writeln!(text, "<exnref>"),
            Val::ContRef(None) => writeln!(text, "<null contref>"),
            Val::ContRef(Some(_)) => writeln!(text, "<contref>"),
        };
        text
    })
}

/// Splits `add(2, 3)`, as `wasmtime run` wants components to be invoked, into the
/// name and its arguments; a name alone takes them from the command line.
///
/// # Errors
///
/// When there are arguments in both places, or a bracket is missing.
pub(crate) fn component_call(invoke: &str, texts: &[String]) -> Result<(String, Vec<String>)> {
    let Some((name, rest)) = invoke.split_once('(') else {
        return Ok((invoke.to_owned(), texts.to_vec()));
    };
    let Some(inside) = rest.trim_end().strip_suffix(')') else {
        bail!("--invoke {invoke}: there is no closing bracket");
    };
    if !texts.is_empty() {
        bail!(
            "--invoke {invoke}: there are arguments in brackets and after the guest; use one way"
        );
    }
    Ok((name.trim().to_owned(), split_arguments(inside)))
}

fn split_arguments(text: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut current = String::new();
    let mut quote = None;
    let mut is_escaped = false;
    for c in text.chars() {
        match (quote, c) {
            (None, ',') => {
                arguments.push(std::mem::take(&mut current));
                continue;
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if c == open && !is_escaped => quote = None,
            _ => {}
        }
        is_escaped = c == '\\' && !is_escaped;
        current.push(c);
    }
    if !current.trim().is_empty() {
        arguments.push(current);
    }
    arguments
        .iter()
        .map(|text| text.trim().to_owned())
        .collect()
}

/// Reads the arguments of a component's function.
///
/// # Errors
///
/// Says which argument is wrong and what it must be, or how many there must be.
pub(crate) fn component_arguments(
    types: &[(String, Type)],
    texts: &[String],
) -> Result<Vec<ComponentVal>> {
    check_count(
        types
            .iter()
            .map(|(name, ty)| format!("{name}: {}", type_name(ty))),
        texts,
    )?;
    types
        .iter()
        .zip(texts)
        .map(|((name, ty), text)| {
            component_argument(ty, text).ok_or_else(|| match type_name(ty) {
                "compound" => anyhow!(
                    "parameter {name}: only numbers, booleans, characters and strings can be given \
                     on the command line"
                ),
                ty => anyhow!("parameter {name}: {text:?} is not a {ty}"),
            })
        })
        .collect()
}

fn component_argument(ty: &Type, text: &str) -> Option<ComponentVal> {
    fn int<N: TryFrom<i128>>(text: &str) -> Option<N> {
        integer(text).and_then(|n| N::try_from(n).ok())
    }
    Some(match ty {
        Type::Bool => ComponentVal::Bool(text.parse().ok()?),
        Type::S8 => ComponentVal::S8(int(text)?),
        Type::U8 => ComponentVal::U8(int(text)?),
        Type::S16 => ComponentVal::S16(int(text)?),
        Type::U16 => ComponentVal::U16(int(text)?),
        Type::S32 => ComponentVal::S32(int(text)?),
        Type::U32 => ComponentVal::U32(int(text)?),
        Type::S64 => ComponentVal::S64(int(text)?),
        Type::U64 => ComponentVal::U64(int(text)?),
        Type::Float32 => ComponentVal::Float32(text.parse().ok()?),
        Type::Float64 => ComponentVal::Float64(text.parse().ok()?),
        Type::Char => ComponentVal::Char(unquote(text, '\'').parse().ok()?),
        Type::String => ComponentVal::String(unquote(text, '"')),
        _ => return None,
    })
}

/// Takes quotes and the backslashes between them away, if there are quotes.
fn unquote(text: &str, quote: char) -> String {
    let inside = text
        .strip_prefix(quote)
        .and_then(|text| text.strip_suffix(quote));
    let Some(inside) = inside else {
        return text.to_owned();
    };
    let mut plain = String::new();
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(other) => other,
                None => '\\',
            },
            c => c,
        });
    }
    plain
}

fn type_name(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::S8 => "s8",
        Type::U8 => "u8",
        Type::S16 => "s16",
        Type::U16 => "u16",
        Type::S32 => "s32",
        Type::U32 => "u32",
        Type::S64 => "s64",
        Type::U64 => "u64",
        Type::Float32 => "f32",
        Type::Float64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        _ => "compound",
    }
}

/// Writes the results of a component's function as WAVE does.
pub(crate) fn show_component(results: &[ComponentVal]) -> String {
    let texts: Vec<String> = results.iter().map(wave).collect();
    match texts.len() {
        1 => format!("{}\n", texts.concat()),
        _ => format!("({})\n", texts.join(", ")),
    }
}

fn wave(value: &ComponentVal) -> String {
    let list = |values: &[ComponentVal]| {
        let texts: Vec<String> = values.iter().map(wave).collect();
        texts.join(", ")
    };
    let case = |name: &str, value: &Option<Box<ComponentVal>>| match value {
        Some(value) => format!("{name}({})", wave(value)),
        None => name.to_owned(),
    };
    match value {
        ComponentVal::Bool(value) => value.to_string(),
        ComponentVal::S8(value) => value.to_string(),
        ComponentVal::U8(value) => value.to_string(),
        ComponentVal::S16(value) => value.to_string(),
        ComponentVal::U16(value) => value.to_string(),
        ComponentVal::S32(value) => value.to_string(),
        ComponentVal::U32(value) => value.to_string(),
        ComponentVal::S64(value) => value.to_string(),
        ComponentVal::U64(value) => value.to_string(),
        ComponentVal::Float32(value) => value.to_string(),
        ComponentVal::Float64(value) => value.to_string(),
        ComponentVal::Char(value) => format!("{value:?}"),
        ComponentVal::String(value) => format!("{value:?}"),
        ComponentVal::List(values) => format!("[{}]", list(values)),
        ComponentVal::Tuple(values) => format!("({})", list(values)),
        ComponentVal::Record(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name}: {}", wave(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        ComponentVal::Variant(name, value) => case(name, value),
        ComponentVal::Enum(name) => name.clone(),
        ComponentVal::Option(Some(value)) => format!("some({})", wave(value)),
        ComponentVal::Option(None) => "none".to_owned(),
        ComponentVal::Result(Ok(value)) => case("ok", value),
        ComponentVal::Result(Err(value)) => case("err", value),
        ComponentVal::Flags(names) => format!("{{{}}}", names.join(", ")),
        other => format!("{other:?}"),
    }
}

fn check_count(types: impl ExactSizeIterator<Item = String>, texts: &[String]) -> Result<()> {
    if types.len() == texts.len() {
        return Ok(());
    }
    let types: Vec<String> = types.collect();
    bail!(
        "the function takes {} ({}), and {} given",
        counted(types.len()),
        types.join(", "),
        match texts.len() {
            1 => "1 was".to_owned(),
            n => format!("{n} were"),
        }
    )
}

fn counted(n: usize) -> String {
    match n {
        0 => "no arguments".to_owned(),
        1 => "1 argument".to_owned(),
        n => format!("{n} arguments"),
    }
}

/// Reads a whole number, also with a minus or in hexadecimal.
fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let number = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hex) => i128::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    };
    number.map(|number: i128| sign * number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn core_arguments_are_read_by_type() {
        let types = [ValType::I32, ValType::I32, ValType::I64, ValType::F64];
        let values = core_arguments(&types, &texts(&["-5", "0xffffffff", "7", "1.5"])).unwrap();
        assert_eq!(show_core(&values), "-5\n-1\n7\n1.5\n");
        let error = core_arguments(&[ValType::I32], &texts(&["4294967296"])).unwrap_err();
        assert_eq!(error.to_string(), "\"4294967296\" is not an i32");
        let error = core_arguments(&types, &texts(&["1"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the function takes 4 arguments (i32, i32, i64, f64), and 1 was given"
        );
    }

    #[test]
    fn a_component_is_called_in_either_way() {
        let split = |invoke: &str, given: &[&str]| component_call(invoke, &texts(given));
        assert_eq!(
            split("add", &["2", "3"]).unwrap(),
            ("add".into(), texts(&["2", "3"]))
        );
        assert_eq!(
            split("add(2, 3)", &[]).unwrap(),
            ("add".into(), texts(&["2", "3"]))
        );
        assert_eq!(split("f()", &[]).unwrap(), ("f".into(), texts(&[])));
        let (_, arguments) = split(r#"f("a, \"b", 'c')"#, &[]).unwrap();
        assert_eq!(arguments, [r#""a, \"b""#, "'c'"]);
        assert!(split("f(1", &[]).is_err());
        assert!(split("f(1)", &["2"]).is_err());

        let types = [("s".to_owned(), Type::String), ("c".to_owned(), Type::Char)];
        let values = component_arguments(&types, &arguments).unwrap();
        assert_eq!(show_component(&values), "(\"a, \\\"b\", 'c')\n");
        let error = component_arguments(&types, &texts(&["x", "long"])).unwrap_err();
        assert_eq!(error.to_string(), "parameter c: \"long\" is not a char");
    }
}
