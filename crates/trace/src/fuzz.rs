//! What a fuzzer does with bytes: takes them for parameters and for memory, and
//! decodes every function of WASI with them. Never panics, and never shows more than
//! the limits say, whatever the bytes.

use crate::datum::Datum;
use crate::wasi::{Decoded, Function, Limits};

const LIMITS: Limits = Limits { bytes: 8, items: 3 };

/// Decodes calls whose parameters are the first bytes, in a memory that is all bytes.
///
/// # Panics
///
/// When there is an error in this crate.
pub fn fuzz_wasi(data: &[u8]) {
    let word = |at: usize| {
        let bytes = data.get(4 * at..).unwrap_or_default();
        bytes
            .iter()
            .take(4)
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    let words: Vec<u64> = (0..10).map(word).collect();
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        for function in Function::all(module) {
            check(&function.arguments(&words, &data, &LIMITS));
            let errno = word(10) % 2;
            let outcome = function.outcome(&words, &[errno], &data, &LIMITS);
            assert!(errno == 0 || outcome.outputs.is_empty());
            check(&outcome.outputs);
        }
    }
}

fn check(decoded: &Decoded) {
    for (_, datum) in decoded {
        check_size(datum);
        let mut json = Vec::new();
        datum
            .write_json(&mut json)
            .expect("a vector takes all bytes");
        let read: Result<serde_json::Value, _> = serde_json::from_slice(&json);
        read.expect("what was written is JSON");
        assert!(!datum.to_string().chars().any(char::is_control));
    }
}

fn check_size(datum: &Datum) {
    match datum {
        Datum::Bytes { bytes, total } => {
            assert!(bytes.len() <= LIMITS.bytes && bytes.len() as u64 <= *total);
        }
        Datum::List { items, .. } => {
            assert!(items.len() <= LIMITS.items);
            items.iter().for_each(check_size);
        }
        Datum::Record(fields) => fields.iter().for_each(|(_, datum)| check_size(datum)),
        _ => {}
    }
}
