//! Component functions without an engine: what a listener gets, where a value is cut, and
//! what is said of a damaged one. That values are right is shown beside the engine, in
//! the tests of `wasmscope`.

use std::sync::{Arc, Mutex};

use wasmscope_listen::component::{
    Abi, ComponentFunction, Direction, FunctionType, HandleKind, LiftErrorKind, Limits, Pointer,
    Type, Value,
};
use wasmscope_listen::fuzz::fuzz_lift;
use wasmscope_listen::{
    BoxListener, Call, Definition, FuncIndex, Listener, Value as CoreValue, ValueType, Values, fake,
};

/// Writes down what the typed values are.
struct Typed(Arc<Mutex<Vec<String>>>);

impl Typed {
    fn write(&self, call: &Call<'_>, values: Option<Result<Vec<Value>, impl ToString>>) {
        let values = match values {
            Some(Ok(values)) => values.iter().map(ToString::to_string).collect(),
            Some(Err(error)) => vec![error.to_string()],
            None => vec!["nothing".to_owned()],
        };
        let line = format!("{} {}", call.definition(), values.join(", "));
        self.0.lock().expect("nobody panicked").push(line);
    }
}

impl Listener for Typed {
    type State = ();

    fn before(&self, call: &Call<'_>) {
        assert!(!call.is_deferred());
        self.write(call, call.component_params(&Limits::SHORT));
    }

    fn after(&self, call: &Call<'_>, results: Values<'_>, (): ()) {
        self.write(call, call.component_results(results, &Limits::SHORT));
    }
}

#[test]
fn listeners_hear_typed_values() {
    let ty = FunctionType::new([("name", Type::STRING)], Some(Type::option(Type::STRING)));
    let greet =
        ComponentFunction::new(Direction::Export, "greet", ty.clone()).of_interface("a:b/c");
    let lookup = ComponentFunction::new(Direction::Import, "lookup", ty);
    let [i32s1, i32s2, i32s3] = [1, 2, 3].map(|n| vec![ValueType::I32; n]);
    let [export, import, core] = [0, 1, 2].map(FuncIndex);
    let functions = [
        Definition::guest(export)
            .typed(i32s2, i32s1)
            .of_component(greet),
        Definition::guest(import)
            .typed(i32s3, [])
            .of_component(lookup),
        Definition::guest(core).named("core"),
    ];
    assert!(!functions[0].is_host() && functions[1].is_host());

    let lines = Arc::new(Mutex::new(Vec::new()));
    let mut guest = fake::Guest::new(functions, &BoxListener::new(Typed(lines.clone())));
    let mut memory = b"ann bob ............".to_vec();
    // At 8: some, and the text "bob".
    memory[8..].copy_from_slice(&[1, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0]);
    guest.instance.memories.push(memory);
    let ended = guest.call(export, &[CoreValue::I32(0), CoreValue::I32(3)], |guest| {
        guest.call(core, &[], |_| Ok(Vec::new()))?;
        let params = [0, 3, 8].map(CoreValue::I32);
        guest.call(import, &params, |_| Ok(Vec::new()))?;
        // A pointer to nothing in memory.
        Ok(vec![CoreValue::I32(1 << 20)])
    });
    assert!(ended.is_ok());
    assert_eq!(
        *lines.lock().expect("nobody panicked"),
        [
            "a:b/c#greet \"ann\"",
            "core nothing",
            "core nothing",
            "lookup \"ann\"",
            "lookup some(\"bob\")",
            "a:b/c#greet failed to lift `result`: 12 bytes at 0x100000 are out of bounds",
        ]
    );
}

/// Lifts one parameter.
fn lift(ty: Type, words: &[u64], memory: &[u8], limits: &Limits) -> Result<Value, String> {
    let ty = FunctionType::new([("p", ty)], None);
    let function = ComponentFunction::new(Direction::Export, "f", ty);
    let lifted = function.lift_params(words, memory, limits);
    let mut values = lifted.map_err(|error| error.to_string())?;
    assert_eq!(values.len(), 1);
    Ok(values.remove(0))
}

#[test]
fn long_values_are_cut_and_say_so() {
    let short = Limits {
        values: 10,
        bytes: 1000,
        elements: 3,
        text: 5,
    };
    let memory: Vec<u8> = (0..200).collect();
    let mut text = "aéé…".as_bytes().to_vec();
    text.resize(200, 0);

    let cut = lift(Type::STRING, &[0, 8], &text, &short).expect("it is cut");
    assert_eq!(cut.to_string(), "\"aéé\"...");
    assert!(!cut.is_whole());
    let Value::String { more, .. } = cut else {
        panic!("{cut:?}");
    };
    assert_eq!(more, 3);
    // The character that the limit splits is left out; one that is not whole is damage.
    let split = Limits { text: 6, ..short };
    let cut = lift(Type::STRING, &[0, 8], &text, &split);
    assert_eq!(cut.expect("it is cut").to_string(), "\"aéé\"...");
    assert_eq!(
        lift(Type::STRING, &[0, 6], &text, &Limits::default()),
        Err("failed to lift `p`: string at 0x0 is not in its encoding".to_owned())
    );

    let bytes = lift(Type::list(Type::U8), &[10, 100], &memory, &short);
    assert_eq!(
        bytes.expect("it is cut").to_string(),
        "[10, 11, 12, 13, 14, ...]"
    );
    let list = lift(Type::list(Type::S8), &[10, 100], &memory, &short);
    assert_eq!(list.expect("it is cut").to_string(), "[10, 11, 12, ...]");
    // Lists within a list share what is left; the one that got no more is cut.
    let many = Limits {
        elements: 100,
        ..short
    };
    let pairs = Type::list(Type::tuple([Type::U8, Type::U8]));
    let cut = lift(pairs, &[0, 50], &memory, &many).expect("it is cut");
    assert_eq!(cut.to_string(), "[(0, 1), (2, 3), (4, 5), ...]");
    // What cannot be cut is an error.
    let tuple = Type::tuple(vec![Type::U8; 10]);
    assert_eq!(
        lift(tuple, &[0; 10], &memory, &many),
        Err("failed to lift `p.9`: too large".to_owned())
    );
}

#[test]
fn a_damaged_value_is_named() {
    let limits = Limits::default();
    let header = Type::record([
        ("name", Type::STRING),
        ("kind", Type::enumeration(["a", "b"])),
    ]);
    let headers = Type::list(header);
    let mut memory = vec![0; 64];
    // Two headers at 8, the second one damaged in turn.
    for (damage, message) in [
        (
            [7, 0, 0, 0, 9, 9, 9, 9, 0, 0, 0, 0],
            "`p[1].name`: 151587081 bytes at 0x7 are out of bounds",
        ),
        (
            [0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0],
            "`p[1].kind`: case 2 of 2",
        ),
    ] {
        memory[20..32].copy_from_slice(&damage);
        assert_eq!(
            lift(headers.clone(), &[8, 2], &memory, &limits),
            Err(format!("failed to lift {message}"))
        );
    }
    for (ty, words, message) in [
        (Type::CHAR, &[0xd800][..], "`p`: 0xd800 is no character"),
        (
            Type::list(Type::U32),
            &[2, 1],
            "`p`: pointer 0x2 is not aligned to 4",
        ),
        (
            Type::list(Type::U32),
            &[4],
            "`p`: the call has too few values",
        ),
        (
            Type::list(Type::U64),
            &[0, u32::MAX as u64],
            "`p`: 34359738360 bytes at 0x0 are out of bounds",
        ),
        (
            Type::option(Type::CHAR),
            &[1, u64::MAX],
            "`p.some`: 0xffffffff is no character",
        ),
    ] {
        let error = lift(ty, words, &memory, &limits).expect_err("it is damaged");
        assert_eq!(error, format!("failed to lift {message}"));
    }
    let mut deep = Type::U8;
    for _ in 0..1000 {
        deep = Type::list(deep);
    }
    let error = lift(deep, &[0, 0], &memory, &limits).expect_err("it is too deep");
    assert_eq!(error, "failed to lift `p`: nested too deep");
    let many = Type::tuple(vec![Type::U8; 17]);
    let function = ComponentFunction::new(
        Direction::Export,
        "f",
        FunctionType::new([("p", many)], None),
    );
    let error = function
        .lift_params(&[60], &*memory, &limits)
        .expect_err("it is damaged");
    assert_eq!(error.path(), "");
    let kind = LiftErrorKind::OutOfBounds {
        address: 60,
        len: 17,
    };
    assert_eq!(error.kind(), kind);
}

#[test]
fn handles_are_one_word_and_named() {
    let ty = FunctionType::new(
        [
            ("out", Type::own(Some("output-stream"))),
            ("lent", Type::borrow::<&str>(None)),
            ("later", Type::future(Some(Type::STRING))),
            ("bytes", Type::stream(Some(Type::U8))),
            ("why", Type::ERROR_CONTEXT),
        ],
        Some(Type::tuple([Type::U8, Type::own::<&str>(None)])),
    );
    assert_eq!(
        ty.to_string(),
        "func(out: output-stream, lent: borrow<resource>, later: future<string>, \
         bytes: stream<u8>, why: error-context) -> tuple<u8, resource>"
    );
    let f = ComponentFunction::new(Direction::Import, "f", ty);
    let memory = [0, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0];
    let limits = Limits::default();
    let values = f.lift_params(&[1, 2, 3, 4, 5, 4], &memory[..], &limits);
    let texts: Vec<_> = values
        .expect("they are there")
        .iter()
        .map(Value::to_string)
        .collect();
    assert_eq!(
        texts,
        [
            "output-stream #1",
            "resource #2",
            "future #3",
            "stream #4",
            "error-context #5"
        ]
    );
    // The result goes where the word behind the parameters points.
    let results = f.lift_results(&[1, 2, 3, 4, 5, 4], &[], &memory[..], &limits);
    let handle = Value::Handle {
        kind: HandleKind::Own,
        resource: None,
        index: 9,
    };
    assert_eq!(
        results,
        Ok(Some(vec![Value::Tuple(vec![Value::U8(7), handle])]))
    );
}

#[test]
fn async_results_come_later_or_by_a_pointer() {
    let mut abi = Abi::DEFAULT;
    abi.is_async = true;
    let ty = FunctionType::new([("a", Type::U32)], Some(Type::U32));
    let function = |direction| ComponentFunction::new(direction, "f", ty.clone()).with_abi(abi);
    let limits = Limits::default();
    let memory = [0, 0, 0, 0, 5, 0, 0, 0];
    let import = function(Direction::Import);
    // Started, with the task's number in the upper bits; then returned at once.
    let lifted = |status| import.lift_results(&[1, 4], &[status], &memory[..], &limits);
    assert_eq!(lifted(0x21), Ok(None));
    assert_eq!(lifted(2), Ok(Some(vec![Value::U32(5)])));
    let export = function(Direction::Export);
    let lifted = export.lift_results(&[1], &[0], &memory[..], &limits);
    assert_eq!(lifted, Ok(None));
}

#[test]
fn wide_memories_have_wide_pointers() {
    let mut abi = Abi::DEFAULT;
    abi.pointer = Pointer::Bits64;
    let ty = FunctionType::new(
        [("a", Type::STRING), ("b", Type::list(Type::STRING))],
        Some(Type::tuple([Type::U8, Type::STRING])),
    );
    let f = ComponentFunction::new(Direction::Export, "f", ty).with_abi(abi);
    let mut memory = vec![0; 64];
    memory[0..3].copy_from_slice(b"abc");
    // A string at 16, as an element; a tuple at 32, its string behind eight bytes.
    memory[24] = 2;
    (memory[32], memory[40], memory[48]) = (9, 1, 2);
    let limits = Limits::default();
    let values = f
        .lift_params(&[0, 3, 16, 1], &*memory, &limits)
        .expect("they are there");
    assert_eq!(
        values,
        [
            Value::from("abc"),
            Value::List {
                values: vec![Value::from("ab")],
                more: 0
            }
        ]
    );
    let results = f
        .lift_results(&[], &[32], &*memory, &limits)
        .expect("it is there");
    let tuple = Value::Tuple(vec![Value::U8(9), Value::from("bc")]);
    assert_eq!(results, Some(vec![tuple]));
    // An address that a 32-bit pointer cannot hold.
    let error = f.lift_params(&[1 << 40, 3, 16, 1], &*memory, &limits);
    assert_eq!(error.expect_err("it is beyond").path(), "a");
}

#[test]
fn no_memory_makes_lifting_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..6000 {
        let length = round % 500;
        let mut data = Vec::with_capacity(length + 4);
        while data.len() < length {
            let word = match random() % 4 {
                // Small numbers: cases, lengths, pointers.
                0..=2 => (random() % 250) as u32,
                _ => random() as u32,
            };
            // The type is in the first bytes, so these are of all kinds.
            let word = if data.len() < 24 {
                random() as u32
            } else {
                word
            };
            data.extend_from_slice(&word.to_le_bytes());
        }
        fuzz_lift(&data);
    }
    fuzz_lift(&[]);
    fuzz_lift(&[0xff; 300]);
}
