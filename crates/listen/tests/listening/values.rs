//! Values survive being flattened, and read as the text format writes them.

use wasmscope_listen::{Reference, ReferenceKind, Value, Values};

fn all() -> Vec<Value> {
    let reference = |kind, is_null| Value::Ref(Reference { kind, is_null });
    vec![
        Value::I32(i32::MIN),
        Value::V128(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210),
        Value::I64(-1),
        Value::F32(f32::from_bits(0x7fa0_0001)),
        Value::F64(-0.0),
        reference(ReferenceKind::Func, true),
        reference(ReferenceKind::Any, false),
        Value::V128(u128::MAX),
    ]
}

#[test]
fn every_value_comes_back_bit_for_bit() {
    let all = all();
    let types: Vec<_> = all.iter().map(|value| value.value_type()).collect();
    let mut words = Vec::new();
    for value in &all {
        value.flatten(&mut words);
    }
    let values = Values::new(&types, &words);
    assert_eq!(values.len(), all.len());
    assert_eq!(values.iter().collect::<Vec<_>>(), all);
    for (i, value) in all.iter().enumerate() {
        assert_eq!(values.get(i), Some(*value));
    }
    assert_eq!(values.get(all.len()), None);
    // A 32-bit value is its word's low half, whatever the upper half says.
    let value = Values::new(&types[..1], &[u64::MAX]).get(0);
    assert_eq!(value, Some(Value::I32(-1)));
}

#[test]
fn where_words_are_missing_so_are_values() {
    let all = all();
    let types: Vec<_> = all.iter().map(|value| value.value_type()).collect();
    let mut words = Vec::new();
    for value in &all {
        value.flatten(&mut words);
    }
    for cut in 0..words.len() {
        let values = Values::new(&types, &words[..cut]);
        let read: Vec<_> = values.iter().collect();
        let got: Vec<_> = (0..).map_while(|i| values.get(i)).collect();
        assert_eq!(got, read);
        assert_eq!(read, all[..read.len()]);
        assert!(read.len() < all.len());
    }
}

#[test]
fn equal_means_all_bits() {
    assert_eq!(Value::F64(f64::NAN), Value::F64(f64::NAN));
    assert_ne!(Value::F64(0.0), Value::F64(-0.0));
    assert_ne!(Value::I32(0), Value::I64(0));
}

#[test]
fn values_read_well() {
    let texts: Vec<_> = all().iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "-2147483648",
            "0x0123456789abcdeffedcba9876543210",
            "-1",
            "NaN",
            "-0.0",
            "null",
            "any",
            "0xffffffffffffffffffffffffffffffff",
        ]
    );
    assert_eq!(Value::from(f32::MAX).to_string(), "3.4028235e38");
    let types: Vec<_> = all().iter().map(|v| v.value_type().to_string()).collect();
    let expected = [
        "i32", "v128", "i64", "f32", "f64", "funcref", "anyref", "v128",
    ];
    assert_eq!(types, expected);
}
