//! Values of component functions, lifted from words and memory by the library and by the
//! engine: equal, for types that nobody wrote.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod guest;
mod handles;
mod shape;

use guest::Heard;
use shape::{Dice, Shape};
use wasmscope::listen::component::{
    Abi, ComponentFunction, Direction, FunctionType, Limits, StringEncoding, Value,
};
use wasmtime::component::Val;
use wasmtime::{Config, Engine};

fn engine() -> Engine {
    let mut config = Config::new();
    config.wasm_component_model_map(true);
    config.wasm_component_model_fixed_length_lists(true);
    config.wasm_component_model_async(true);
    Engine::new(&config).unwrap()
}

/// Tells whether the library's value is the engine's, all bits of floats included.
fn same(ours: &Value, theirs: &Val) -> bool {
    let all =
        |a: &[Value], b: &[Val]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b));
    let maybe = |a: &Option<Box<Value>>, b: &Option<Box<Val>>| match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => same(a, b),
        _ => false,
    };
    match (ours, theirs) {
        (Value::Bool(a), Val::Bool(b)) => a == b,
        (Value::S8(a), Val::S8(b)) => a == b,
        (Value::U8(a), Val::U8(b)) => a == b,
        (Value::S16(a), Val::S16(b)) => a == b,
        (Value::U16(a), Val::U16(b)) => a == b,
        (Value::S32(a), Val::S32(b)) => a == b,
        (Value::U32(a), Val::U32(b)) => a == b,
        (Value::S64(a), Val::S64(b)) => a == b,
        (Value::U64(a), Val::U64(b)) => a == b,
        (Value::F32(a), Val::Float32(b)) => a.to_bits() == b.to_bits(),
        (Value::F64(a), Val::Float64(b)) => a.to_bits() == b.to_bits(),
        (Value::Char(a), Val::Char(b)) => a == b,
        (Value::String { text, more: 0 }, Val::String(b)) => text == b,
        (Value::Bytes { bytes, more: 0 }, Val::List(b) | Val::FixedLengthList(b)) => {
            let b: Option<Vec<u8>> = b
                .iter()
                .map(|b| match b {
                    Val::U8(b) => Some(*b),
                    _ => None,
                })
                .collect();
            b.as_ref() == Some(bytes)
        }
        (Value::List { values, more: 0 }, Val::List(b) | Val::FixedLengthList(b)) => all(values, b),
        (Value::Map { entries, more: 0 }, Val::Map(b)) => {
            entries.len() == b.len()
                && entries
                    .iter()
                    .zip(b)
                    .all(|(a, b)| same(&a.0, &b.0) && same(&a.1, &b.1))
        }
        (Value::Record(a), Val::Record(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(a, b)| *a.0 == *b.0 && same(&a.1, &b.1))
        }
        (Value::Tuple(a), Val::Tuple(b)) => all(a, b),
        (Value::Variant(name, a), Val::Variant(b_name, b)) => **name == **b_name && maybe(a, b),
        (Value::Enum(a), Val::Enum(b)) => **a == **b,
        (Value::Flags(a), Val::Flags(b)) => a.iter().map(|a| &**a).eq(b.iter().map(|b| &**b)),
        (Value::Option(a), Val::Option(b)) => maybe(a, b),
        (Value::Result(Ok(a)), Val::Result(Ok(b)))
        | (Value::Result(Err(a)), Val::Result(Err(b))) => maybe(a, b),
        _ => false,
    }
}

fn has_map(value: &Val) -> bool {
    match value {
        Val::Map(_) => true,
        Val::List(all) | Val::FixedLengthList(all) | Val::Tuple(all) => all.iter().any(has_map),
        Val::Record(fields) => fields.iter().any(|(_, value)| has_map(value)),
        Val::Variant(_, Some(value))
        | Val::Option(Some(value))
        | Val::Result(Ok(Some(value)) | Err(Some(value))) => has_map(value),
        _ => false,
    }
}

/// Checks values one by one, and how they are written.
fn check(ours: &[Value], theirs: &[Val], context: &dyn Fn() -> String) {
    assert_eq!(ours.len(), theirs.len(), "{}", context());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!(same(ours, theirs), "{ours:?}\n{theirs:?}\n{}", context());
        assert!(ours.is_whole());
        // WAVE has no maps.
        if !has_map(theirs) {
            assert_eq!(ours.to_string(), theirs.to_wave().unwrap());
        }
    }
}

/// One generated function, called once; returns how many values were compared.
fn one_case(engine: &Engine, seed: u64) -> Option<usize> {
    let mut dice = Dice::new(seed);
    let depth = dice.below(4) as u32;
    // Few and many parameters: on both sides of the 16 that pass flat.
    let count = [0, 1, 2, 3, 5, 15, 16, 17][dice.below(8)];
    let params: Vec<_> = (0..count).map(|_| Shape::roll(&mut dice, depth)).collect();
    let result = (dice.below(5) > 0).then(|| Shape::roll(&mut dice, depth));
    let (encoding, name) = [
        (StringEncoding::Utf8, "utf8"),
        (StringEncoding::Utf16, "utf16"),
        (StringEncoding::Latin1OrUtf16, "latin1+utf16"),
    ][dice.below(3)];
    let flat: usize = params.iter().map(|shape| shape.flat().len()).sum();
    // The core function hands its words on; an import lowered with `async` takes them
    // only when they are few, or when all are in memory already.
    let is_async = dice.below(3) == 0 && !(5..=16).contains(&flat);
    if params
        .iter()
        .chain(&result)
        .any(|shape| shape.flat().len() > 1000)
    {
        return None;
    }
    let values: Vec<_> = params.iter().map(|shape| shape.value(&mut dice)).collect();
    let value = result.as_ref().map(|shape| shape.value(&mut dice));
    let text = guest::text(&params, result.as_ref(), name, is_async);
    let Heard {
        seen,
        taken,
        returned,
    } = guest::call(engine, &text, is_async, &values, value.clone());
    // What the guest does with its words is right.
    assert_eq!((&taken, &returned), (&values, &value), "{text}");

    let names = params.iter().enumerate();
    let ty = FunctionType::new(
        names.map(|(at, shape)| (format!("p{at}"), shape.ty())),
        result.as_ref().map(Shape::ty),
    );
    let mut abi = Abi::DEFAULT;
    abi.encoding = encoding;
    let export = ComponentFunction::new(Direction::Export, "f", ty.clone()).with_abi(abi);
    abi.is_async = is_async;
    let import = ComponentFunction::new(Direction::Import, "take", ty).with_abi(abi);

    let context = || format!("seed {seed}\n{text}");
    let limits = Limits::default();
    let results: Vec<_> = value.into_iter().collect();
    let [entry, import_return, export_return] = &seen[..] else {
        panic!("{} times", seen.len());
    };
    let lifted = export.lift_params(&entry.params, &*entry.memory, &limits);
    check(&lifted.unwrap(), &values, &context);
    let at = import_return;
    let lifted = import.lift_params(&at.params, &*at.memory, &limits);
    check(&lifted.unwrap(), &values, &context);
    let lifted = import.lift_results(&at.params, &at.results, &*at.memory, &limits);
    check(&lifted.unwrap().unwrap(), &results, &context);
    let at = export_return;
    let lifted = export.lift_results(&at.params, &at.results, &*at.memory, &limits);
    check(&lifted.unwrap().unwrap(), &results, &context);
    Some(values.len() * 2 + results.len() * 2)
}

#[test]
fn values_are_what_the_engine_lifts() {
    let engine = engine();
    let (mut cases, mut compared) = (0, 0);
    for seed in 0..400 {
        if let Some(values) = one_case(&engine, seed) {
            cases += 1;
            compared += values;
        }
    }
    assert!(cases > 350, "{cases}");
    assert!(compared > 2500, "{compared}");
}
