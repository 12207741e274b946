//! Arguments of `--invoke`, read by the types of the function's parameters, and its
//! results, written as `wasmtime run` writes them.

mod component;
mod core;

pub(crate) use self::component::{component_arguments, component_call, show_component};
pub(crate) use self::core::{core_arguments, show_core};

use anyhow::{Result, bail};

/// Checks that there are as many arguments as parameters.
fn check_count(wanted: usize, types: impl Fn() -> Vec<String>, given: usize) -> Result<()> {
    if wanted == given {
        return Ok(());
    }
    bail!(
        "the function takes {} ({}), and {} given",
        counted(wanted),
        types().join(", "),
        match given {
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
