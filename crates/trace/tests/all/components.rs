//! A component whose functions take and return all that WIT has, played without an
//! engine.

use wasmscope_listen::component::{Abi, ComponentFunction, Direction, FunctionType, Type};
use wasmscope_listen::fake::Guest;
use wasmscope_listen::{Cause, Definition, FuncIndex, Value, ValueType};
use wasmscope_trace::Tracer;

const RUN: FuncIndex = FuncIndex(0);
const GET_STDOUT: FuncIndex = FuncIndex(1);
const WRITE: FuncIndex = FuncIndex(2);
const GET_ARGUMENTS: FuncIndex = FuncIndex(3);
const ALL: FuncIndex = FuncIndex(4);
const LATER: FuncIndex = FuncIndex(5);
const CORE: FuncIndex = FuncIndex(6);

fn functions() -> Vec<Definition> {
    use ValueType::{F32, F64, I32, I64};
    let stdout = || Type::own(Some("output-stream"));
    let import = |index, interface: &str, name: &str, ty| {
        let function = ComponentFunction::new(Direction::Import, name, ty);
        Definition::guest(index).of_component(function.of_interface(interface))
    };
    let failure = Type::variant([
        ("last-operation-failed", Some(Type::own(Some("error")))),
        ("closed", None),
    ]);
    let options = Type::record([
        ("depth", Type::option(Type::U8)),
        ("mode", Type::enumeration(["fast", "slow"])),
        ("flags", Type::flags(["a", "b", "c"])),
    ]);
    let all = FunctionType::new(
        [
            ("character", Type::CHAR),
            ("wide", Type::U64),
            ("float", Type::F32),
            ("double", Type::F64),
            ("options", options),
            ("twice", Type::option(Type::option(Type::BOOL))),
            ("pairs", Type::list(Type::tuple([Type::S16, Type::S8]))),
            ("names", Type::map(Type::CHAR, Type::STRING)),
        ],
        Some(Type::result(None, Some(Type::STRING))),
    );
    let all = ComponentFunction::new(Direction::Export, "all", all);
    let mut later = ComponentFunction::new(
        Direction::Export,
        "later",
        FunctionType::new([("stream", Type::stream(Some(Type::U8)))], Some(Type::U8)),
    );
    later.abi = Abi::DEFAULT;
    later.abi.is_async = true;
    vec![
        Definition::guest(RUN).typed([], [I32]).of_component(
            ComponentFunction::new(
                Direction::Export,
                "run",
                FunctionType::new::<&str>([], Some(Type::result(None, None))),
            )
            .of_interface("wasi:cli/run@0.2.0"),
        ),
        import(
            GET_STDOUT,
            "wasi:cli/stdout@0.2.0",
            "get-stdout",
            FunctionType::new::<&str>([], Some(stdout())),
        )
        .typed([], [I32]),
        import(
            WRITE,
            "wasi:io/streams@0.2.0",
            "[method]output-stream.blocking-write-and-flush",
            FunctionType::new(
                [
                    ("self", Type::borrow(Some("output-stream"))),
                    ("contents", Type::list(Type::U8)),
                ],
                Some(Type::result(None, Some(failure))),
            ),
        )
        .typed([I32, I32, I32, I32], []),
        import(
            GET_ARGUMENTS,
            "wasi:cli/environment@0.2.0",
            "get-arguments",
            FunctionType::new::<&str>([], Some(Type::list(Type::STRING))),
        )
        .typed([I32], []),
        Definition::guest(ALL)
            .typed(
                [
                    I32, I64, F32, F64, I32, I32, I32, I32, I32, I32, I32, I32, I32, I32, I32,
                ],
                [I32],
            )
            .of_component(all),
        Definition::guest(LATER)
            .typed([I32], [I32])
            .of_component(later),
        Definition::guest(CORE).named("core"),
    ]
}

/// A memory with all that the calls point at.
fn memory() -> Vec<u8> {
    let mut memory = vec![0; 1024];
    let mut put = |at: usize, bytes: &[u8]| memory[at..at + bytes.len()].copy_from_slice(bytes);
    put(16, b"hello\n");
    put(32, b"\xff\x00\x1b\"\\");
    put(48, "gr\u{fc}n \u{202e}\u{7}".as_bytes());
    put(64, &[b'x'; 100]);
    // What `get-arguments` returns: two strings at 256.
    put(240, &[0, 1, 0, 0, 2, 0, 0, 0]);
    put(256, &[16, 0, 0, 0, 5, 0, 0, 0, 48, 0, 0, 0, 10, 0, 0, 0]);
    // What the second write returns: its error, the first case.
    put(280, &[1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0]);
    // Pairs, and a map of one entry.
    put(300, &[0xff, 0xff, 1, 0, 2, 0, 0xfd, 0]);
    put(320, &[b'k', 0, 0, 0, 16, 0, 0, 0, 3, 0, 0, 0]);
    // What `all` returns.
    put(360, &[1, 0, 0, 0, 16, 0, 0, 0, 5, 0, 0, 0]);
    memory
}

/// Plays it all.
pub(crate) fn play(tracer: &Tracer) {
    let mut guest = Guest::new(functions(), tracer);
    guest.instance.memories.push(memory());
    let ended = guest.call(RUN, &[], |guest| {
        guest.call(GET_ARGUMENTS, &[Value::I32(240)], |_| Ok(vec![]))?;
        guest.call(GET_STDOUT, &[], |_| Ok(vec![Value::I32(1)]))?;
        for (at, length, result) in [
            (16, 6, 400),
            (32, 5, 280),
            (64, 100, 400),
            // Beyond the memory, both what is written and where the result goes.
            (1020, 6, 1020),
        ] {
            let params = [1, at, length, result].map(Value::I32);
            guest.call(WRITE, &params, |guest| {
                guest.call(CORE, &[], |_| Ok(vec![]))?;
                Ok(vec![])
            })?;
        }
        guest.is_deferred = true;
        guest.call(CORE, &[], |_| Ok(vec![]))?;
        guest.is_deferred = false;
        guest.call(LATER, &[Value::I32(4)], |_| Ok(vec![Value::I32(0)]))?;
        Ok(vec![Value::I32(0)])
    });
    assert!(ended.is_ok());
    let mut params = vec![
        Value::I32(0x27),
        Value::I64(-1),
        Value::F32(f32::NAN),
        Value::F64(0.5),
    ];
    // none, slow, a and c; some(none); two pairs; a map of one entry.
    params.extend([0, 0, 1, 5, 1, 0, 0, 300, 2, 320, 1].map(Value::I32));
    let ended = guest.call(ALL, &params, |_| Ok(vec![Value::I32(360)]));
    assert!(ended.is_ok());
    // some(3), fast, none; none; nothing.
    let mut params = params[..4].to_vec();
    params.extend([1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0].map(Value::I32));
    let ended = guest.call(ALL, &params, |_| Err(Cause::Unknown));
    assert!(ended.is_err());
    tracer.finish().unwrap();
}
