//! What a fuzzer does with bytes: takes them for a type, for words and for memory, and
//! lifts component values from them. Never panics, and never lifts more than the limits
//! say, whatever the bytes.

use crate::component::{
    Abi, ComponentFunction, Direction, FunctionType, Limits, Pointer, StringEncoding, Type, Value,
};

const LIMITS: [Limits; 3] = [
    Limits::SHORT,
    Limits {
        values: 20,
        bytes: 200,
        elements: 3,
        text: 5,
    },
    Limits {
        values: 5000,
        bytes: 1 << 16,
        elements: usize::MAX,
        text: usize::MAX,
    },
];

/// Deals the bytes out.
struct Bytes<'d>(&'d [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn ty(&mut self, depth: u32) -> Type {
        let byte = self.byte();
        let kind = if depth == 0 { byte % 14 } else { byte % 27 };
        let few = usize::from(byte >> 5);
        let mut inner = || self.ty(depth.saturating_sub(1));
        match kind {
            0 => Type::BOOL,
            1 => Type::S8,
            2 => Type::U8,
            3 => Type::S16,
            4 => Type::U16,
            5 => Type::S32,
            6 => Type::U32,
            7 => Type::S64,
            8 => Type::U64,
            9 => Type::F32,
            10 => Type::F64,
            11 => Type::CHAR,
            12 => Type::STRING,
            13 => Type::ERROR_CONTEXT,
            14 => Type::list(inner()),
            15 => Type::fixed_list(inner(), 1 << (3 * few)),
            16 => Type::map(inner(), inner()),
            17 => Type::record((0..few).map(|at| (at.to_string(), inner()))),
            18 => Type::tuple((0..few).map(|_| inner())),
            19 => Type::variant((0..few).map(|at| {
                let payload = (at % 3 != 0).then(&mut inner);
                (at.to_string(), payload)
            })),
            20 => Type::enumeration((0..few * 50).map(|at| at.to_string())),
            21 => Type::flags((0..few * 6).map(|at| at.to_string())),
            22 => Type::option(inner()),
            23 => Type::result(Some(inner()), None),
            24 => Type::own(Some("r")),
            25 => Type::future(Some(inner())),
            _ => Type::stream(None),
        }
    }
}

/// Lifts parameters and results of a function whose type the first bytes choose; the
/// rest are its words, and its memory.
///
/// # Panics
///
/// When there is an error in this crate.
pub fn fuzz_lift(data: &[u8]) {
    let mut bytes = Bytes(data);
    let options = bytes.byte();
    let params: Vec<_> = (0..options & 3)
        .map(|at| (at.to_string(), bytes.ty(4)))
        .collect();
    let result = (options & 4 != 0).then(|| bytes.ty(4));
    let mut abi = Abi::DEFAULT;
    abi.encoding = match options >> 3 & 3 {
        0 => StringEncoding::Utf8,
        1 => StringEncoding::Utf16,
        _ => StringEncoding::Latin1OrUtf16,
    };
    if options & 32 != 0 {
        abi.pointer = Pointer::Bits64;
    }
    abi.is_async = options & 64 != 0;
    let direction = match options & 128 {
        0 => Direction::Export,
        _ => Direction::Import,
    };
    let ty = FunctionType::new(params, result);
    let function = ComponentFunction::new(direction, "f", ty).with_abi(abi);
    let memory = bytes.0;
    // Half of the words are small, and so likely to point into the memory.
    let words: Vec<u64> = memory
        .chunks(4)
        .take(18)
        .enumerate()
        .map(|(at, chunk)| {
            let word = chunk
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte));
            if at % 2 == 0 { word & 0xff } else { word }
        })
        .collect();
    for limits in &LIMITS {
        if let Ok(values) = function.lift_params(&words, memory, limits) {
            check(&values, limits);
        }
        let results = words.get(1..).unwrap_or_default();
        match function.lift_results(&words, results, memory, limits) {
            Ok(Some(values)) => check(&values, limits),
            Ok(None) => assert!(abi.is_async),
            Err(error) => assert!(error.path().starts_with("result"), "{error}"),
        }
    }
}

fn check(values: &[Value], limits: &Limits) {
    let mut sizes = Sizes::default();
    values.iter().for_each(|value| sizes.add(value, limits));
    assert!(sizes.values <= limits.values, "{} values", sizes.values);
    // A 16-bit unit, and a byte of Latin-1, become up to three bytes of UTF-8.
    assert!(sizes.text <= limits.bytes.saturating_mul(3));
    for value in values {
        assert!(!value.to_string().chars().any(char::is_control));
    }
}

#[derive(Default)]
struct Sizes {
    values: usize,
    text: usize,
}

impl Sizes {
    fn add(&mut self, value: &Value, limits: &Limits) {
        self.values += 1;
        let mut all = |values: &[Value]| values.iter().for_each(|value| self.add(value, limits));
        match value {
            Value::String { text, .. } => {
                assert!(text.chars().count() <= limits.text);
                self.text += text.len();
            }
            Value::Bytes { bytes, .. } => {
                assert!(bytes.len() <= limits.text);
                self.text += bytes.len();
            }
            Value::List { values, .. } => {
                assert!(values.len() <= limits.elements);
                all(values);
            }
            Value::Map { entries, .. } => {
                assert!(entries.len() <= limits.elements);
                for (key, value) in entries {
                    self.add(key, limits);
                    self.add(value, limits);
                }
            }
            Value::Tuple(values) => all(values),
            Value::Record(fields) => fields.iter().for_each(|(_, value)| self.add(value, limits)),
            Value::Variant(_, Some(value))
            | Value::Option(Some(value))
            | Value::Result(Ok(Some(value)) | Err(Some(value))) => self.add(value, limits),
            _ => {}
        }
    }
}
