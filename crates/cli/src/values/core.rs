//! Arguments and results of core functions.

use super::{check_count, integer};
use anyhow::{Result, anyhow, bail};
use std::fmt::Write as _;
use wasmtime::{Val, ValType};

/// Reads the arguments of a core function.
///
/// # Errors
///
/// Says which argument is wrong and what it must be, or how many there must be.
pub(crate) fn core_arguments(types: &[ValType], texts: &[String]) -> Result<Vec<Val>> {
    let names = || types.iter().map(ToString::to_string).collect();
    check_count(types.len(), names, texts.len())?;
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
}
