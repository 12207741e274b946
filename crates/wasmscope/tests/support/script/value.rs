//! The values of a script: those it gives to calls, those it accepts from them, and
//! how they are written down.
//!
//! Leaves all else that a script says to `script.rs`.

use json_from_wast::{AnyRef, CoreConst, ExnRef, ExternRef, FloatConst, FuncRef, V128};
use wasmtime::{Result, Store, Val, bail};

/// Makes a value that a script gives to a call.
pub(crate) fn make<T: 'static>(store: &mut Store<T>, value: &CoreConst) -> Result<Val> {
    Ok(match value {
        CoreConst::I32 { value } => Val::I32(value.0),
        CoreConst::I64 { value } => Val::I64(value.0),
        CoreConst::F32 { value } => Val::F32(value.to_bits()),
        CoreConst::F64 { value } => Val::F64(value.to_bits()),
        CoreConst::V128(value) => Val::V128(value.to_u128().into()),
        CoreConst::FuncRef {
            value: None | Some(FuncRef::Null),
        } => Val::FuncRef(None),
        CoreConst::ExternRef {
            value: None | Some(ExternRef::Null),
        } => Val::ExternRef(None),
        CoreConst::ExternRef {
            value: Some(ExternRef::Host(number)),
        } => Val::ExternRef(Some(wasmtime::ExternRef::new(&mut *store, number.0)?)),
        CoreConst::AnyRef {
            value: Some(AnyRef::Host(number)),
        } => {
            let inner = wasmtime::ExternRef::new(&mut *store, number.0)?;
            Val::AnyRef(Some(wasmtime::AnyRef::convert_extern(&mut *store, inner)?))
        }
        CoreConst::AnyRef { .. } | CoreConst::NullRef => Val::AnyRef(None),
        CoreConst::ExnRef { .. } | CoreConst::NullExnRef => Val::ExnRef(None),
        other => bail!("no value is made of {other:?}"),
    })
}

/// Whether a value is one that a script accepts.
pub(crate) fn matches<T: 'static>(
    store: &mut Store<T>,
    value: &Val,
    expected: &CoreConst,
) -> Result<bool> {
    Ok(match (value, expected) {
        (_, CoreConst::Either { values }) => {
            for expected in values {
                if matches(store, value, expected)? {
                    return Ok(true);
                }
            }
            false
        }
        (Val::I32(value), CoreConst::I32 { value: expected }) => *value == expected.0,
        (Val::I64(value), CoreConst::I64 { value: expected }) => *value == expected.0,
        (Val::F32(bits), CoreConst::F32 { value: expected }) => single(*bits, expected),
        (Val::F64(bits), CoreConst::F64 { value: expected }) => double(*bits, expected),
        (Val::V128(value), CoreConst::V128(expected)) => vector(value.as_u128(), expected),
        (value, CoreConst::RefNull) => is_null(value),
        (Val::FuncRef(func), CoreConst::NullFuncRef) => func.is_none(),
        // The engine does not say which index a function has.
        (Val::FuncRef(func), CoreConst::FuncRef { value: expected }) => match expected {
            Some(FuncRef::Null) => func.is_none(),
            Some(FuncRef::Index(_)) => func.is_some(),
            None => true,
        },
        (Val::ExternRef(None), CoreConst::NullExternRef) => true,
        (Val::ExternRef(value), CoreConst::ExternRef { value: expected }) => match expected {
            Some(ExternRef::Null) => value.is_none(),
            Some(ExternRef::Host(_)) => show(store, &[Val::ExternRef(*value)])? == host(expected),
            None => true,
        },
        (Val::ExnRef(None), CoreConst::NullExnRef) => true,
        (Val::ExnRef(value), CoreConst::ExnRef { value: expected }) => match expected {
            Some(ExnRef::Null) => value.is_none(),
            None => true,
        },
        (Val::AnyRef(None), CoreConst::NullRef) => true,
        (Val::AnyRef(value), CoreConst::AnyRef { value: expected }) => match expected {
            Some(AnyRef::Null) => value.is_none(),
            Some(AnyRef::Host(number)) => {
                show(store, &[Val::AnyRef(*value)])? == format!("any(extern {})", number.0)
            }
            None => true,
        },
        (Val::AnyRef(Some(value)), CoreConst::EqRef) => value.is_eqref(&*store)?,
        (Val::AnyRef(Some(value)), CoreConst::I31Ref) => value.is_i31(&*store)?,
        (Val::AnyRef(Some(value)), CoreConst::StructRef) => value.is_struct(&*store)?,
        (Val::AnyRef(Some(value)), CoreConst::ArrayRef) => value.is_array(&*store)?,
        _ => false,
    })
}

/// The host's reference that a script expects, as [`show`] writes it.
fn host(expected: &Option<ExternRef>) -> String {
    match expected {
        Some(ExternRef::Host(number)) => format!("extern {}", number.0),
        Some(ExternRef::Null) | None => String::new(),
    }
}

/// Whether a value is a null reference.
pub(crate) fn is_null(value: &Val) -> bool {
    matches!(
        value,
        Val::FuncRef(None)
            | Val::ExternRef(None)
            | Val::AnyRef(None)
            | Val::ExnRef(None)
            | Val::ContRef(None)
    )
}

/// Writes values down so that two runs can be compared: numbers with all bits, of a
/// reference all that does not change from one run to the next.
pub(crate) fn show<T: 'static>(store: &mut Store<T>, values: &[Val]) -> Result<String> {
    let mut words = Vec::with_capacity(values.len());
    for value in values {
        words.push(match value {
            Val::I32(value) => format!("i32 {value}"),
            Val::I64(value) => format!("i64 {value}"),
            Val::F32(bits) => format!("f32 {bits:#010x}"),
            Val::F64(bits) => format!("f64 {bits:#018x}"),
            Val::V128(value) => format!("v128 {:#034x}", value.as_u128()),
            value if is_null(value) => "null".to_owned(),
            Val::FuncRef(Some(func)) => format!("func {}", func.ty(&*store)),
            Val::ExternRef(Some(value)) => match value.data(&*store)? {
                Some(data) => match data.downcast_ref::<u32>() {
                    Some(number) => format!("extern {number}"),
                    None => "extern of the host".to_owned(),
                },
                None => "extern of the guest".to_owned(),
            },
            Val::AnyRef(Some(value)) => {
                if let Some(number) = value.as_i31(&*store)? {
                    format!("i31 {}", number.get_u32())
                } else if value.is_struct(&*store)? {
                    "struct".to_owned()
                } else if value.is_array(&*store)? {
                    "array".to_owned()
                } else {
                    let inner = wasmtime::ExternRef::convert_any(&mut *store, *value)?;
                    format!("any({})", show(store, &[Val::ExternRef(Some(inner))])?)
                }
            }
            other => format!("{:?}", other.ty(&*store)?),
        });
    }
    Ok(words.join(", "))
}

/// Whether the bits of a 32-bit float are those that a script accepts.
fn single(bits: u32, expected: &FloatConst<f32>) -> bool {
    match expected {
        FloatConst::CanonicalNan => bits & 0x7fff_ffff == 0x7fc0_0000,
        FloatConst::ArithmeticNan => bits & 0x7fc0_0000 == 0x7fc0_0000,
        FloatConst::Value(_) => bits == expected.to_bits(),
    }
}

/// Whether the bits of a 64-bit float are those that a script accepts.
fn double(bits: u64, expected: &FloatConst<f64>) -> bool {
    const QUIET: u64 = 0x7ff8_0000_0000_0000;
    match expected {
        FloatConst::CanonicalNan => bits & (u64::MAX >> 1) == QUIET,
        FloatConst::ArithmeticNan => bits & QUIET == QUIET,
        FloatConst::Value(_) => bits == expected.to_bits(),
    }
}

/// Whether a vector is one that a script accepts: lanes of floats may be any of
/// several NaNs, all else is compared bit by bit.
fn vector(bits: u128, expected: &V128) -> bool {
    match expected {
        V128::F32 { value } => value
            .iter()
            .enumerate()
            .all(|(lane, expected)| single((bits >> (32 * lane)) as u32, expected)),
        V128::F64 { value } => value
            .iter()
            .enumerate()
            .all(|(lane, expected)| double((bits >> (64 * lane)) as u64, expected)),
        _ => bits == expected.to_u128(),
    }
}
