//! Core dumps: what `wasmscope backtrace` reads, and what it writes.

use crate::backtrace::{DIVIDE, backtrace, document};
use crate::program::Place;
use serde_json::Value;
use std::fs;

/// Returns the dump that the engine itself writes of a call that traps.
pub(crate) fn engine_s_dump(text: &str, export: &str, arguments: &[i32]) -> Vec<u8> {
    use wasmtime::{Config, Engine, Instance, Module, Store, Val, WasmCoreDump};
    let mut config = Config::new();
    config.coredump_on_trap(true);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, text).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let function = instance.get_func(&mut store, export).unwrap();
    let arguments: Vec<_> = arguments.iter().copied().map(Val::I32).collect();
    let mut results = [Val::I32(0)];
    let error = function
        .call(&mut store, &arguments, &mut results)
        .unwrap_err();
    let dump = error.downcast_ref::<WasmCoreDump>().unwrap();
    dump.serialize(&mut store, "divide.wat")
}

/// The engine's own dump of a trap has the stack that the trap has.
#[test]
fn a_core_dump_that_the_engine_wrote() {
    let place = Place::new();
    place.write("divide.wat", DIVIDE);
    place.write("core", engine_s_dump(DIVIDE, "divide", &[6, 0]));
    let live = backtrace(&place, "--invoke divide --format json divide.wat 6 0");
    let read = backtrace(&place, "--format json --module divide.wat core");
    assert_eq!(read.status, 0, "{}", read.stderr);
    let (live, read) = (document(&live), document(&read));
    assert_eq!(read["guest"], "divide.wat");
    assert_eq!(read["threads"].as_array().unwrap().len(), 1);
    let thread = &read["threads"][0];
    assert_eq!(thread["extent"], Value::Null, "the engine does not say");
    let frames = |frames: &Value| -> Vec<Value> {
        let fields = |frame: &Value| {
            let names = ["kind", "function", "name", "offset", "source"];
            names.iter().map(|name| frame[*name].clone()).collect()
        };
        frames.as_array().unwrap().iter().map(fields).collect()
    };
    assert_eq!(frames(&thread["frames"]), frames(&live["frames"]));

    let text = backtrace(&place, "--module divide.wat core");
    assert!(
        text.stderr
            .starts_with("core dump of divide.wat\n 0: divide  "),
        "{}",
        text.stderr
    );
    assert!(
        text.stderr.contains("> 3 |     (i32.div_s\n"),
        "{}",
        text.stderr
    );
    assert!(
        !text.stderr.contains("thread"),
        "there is one: {}",
        text.stderr
    );

    // Without its module it has numbers.
    let bare = backtrace(&place, "core");
    assert_eq!(bare.status, 0);
    assert!(
        bare.stderr.contains(" 0: <wasm function 0>"),
        "{}",
        bare.stderr
    );
}

/// A dump that was written is read as the stack that was shown, whole; memories and all.
#[test]
fn a_core_dump_there_and_back() {
    let place = Place::new();
    place.write("divide.wat", DIVIDE);
    for (arguments, modules) in [
        ("--invoke divide divide.wat 6 0", "divide.wat"),
        ("@trap.wasm 1 stack", "@trap.wasm"),
    ] {
        let live = backtrace(
            &place,
            &format!("--format json --coredump core {arguments}"),
        );
        assert_eq!(live.status, 134, "{}", live.stderr);
        let read = backtrace(&place, &format!("--format json --module {modules} core"));
        assert_eq!(read.status, 0, "{}", read.stderr);
        let (live, read) = (document(&live), document(&read));
        assert_eq!(read["guest"], live["guest"]);
        let (live, read) = (&live["frames"], &read["threads"][0]["frames"]);
        assert_eq!(
            live.as_array().unwrap().len(),
            read.as_array().unwrap().len()
        );
        for (live, read) in live
            .as_array()
            .unwrap()
            .iter()
            .zip(read.as_array().unwrap())
        {
            for field in ["kind", "module", "function", "name", "offset"] {
                assert_eq!(live[field], read[field]);
            }
            // A dump has no offset of a frame that has none yet.
            if live["offset"] != Value::Null {
                assert_eq!(live["source"], read["source"]);
            }
        }
    }
    let bytes = fs::read(place.path("core")).unwrap();
    let dump = wasmscope_coredump::CoreDump::read(&bytes).unwrap();
    let printed = b"trap 05f5e1b08c38550f";
    let holds = |memory: &wasmscope_coredump::Memory<'_>| {
        let segments = memory.segments().iter();
        let mut segments =
            segments.map(|it| it.bytes.windows(printed.len()).any(|it| it == printed));
        segments.any(|holds| holds)
    };
    assert!(dump.memories.iter().any(holds), "what the guest printed");

    // None is written where nothing fails, and an old one stays where none can be.
    let old = fs::read(place.path("core")).unwrap();
    let ran = backtrace(&place, "--coredump core --invoke divide divide.wat 6 2");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert_eq!(fs::read(place.path("core")).unwrap(), old);
    let ran = backtrace(
        &place,
        "--coredump no/such/core --invoke divide divide.wat 6 0",
    );
    assert_eq!(ran.status, 125);
    assert!(
        ran.stderr
            .contains("cannot write the core dump to no/such/core"),
        "{}",
        ran.stderr
    );
    let ran = backtrace(
        &place,
        "--coredump /dev/full --invoke divide divide.wat 6 0",
    );
    assert_eq!(ran.status, 125, "{}", ran.stderr);
    assert!(
        ran.stderr.contains(" 0: divide ") && ran.stderr.contains("/dev/full"),
        "{}",
        ran.stderr
    );
}

/// Values, several threads, and a stack that says that it is cut.
#[test]
fn all_that_a_core_dump_can_hold() {
    use wasmscope_coredump::{CodeOffset, CoreDump, Frame, Thread, Value as Held};
    let frame = |function, locals: &[Held], stack: &[Held]| Frame {
        instance: None,
        function: wasmscope_address::FuncIndex(function),
        code_offset: CodeOffset::UNKNOWN,
        locals: locals.to_vec(),
        stack: stack.to_vec(),
    };
    let one = [
        Held::I32(-5),
        Held::Missing,
        Held::F64(0x4000_0000_0000_0000),
    ];
    let dump = CoreDump {
        name: "app\x1b[2J".into(),
        modules: vec!["divide.wat".into()],
        threads: vec![
            Thread {
                name: "first".into(),
                frames: vec![
                    frame(0, &one, &[Held::I64(7)]),
                    frame(2, &[Held::Missing], &[]),
                ],
                cut: true,
            },
            Thread {
                name: "second".into(),
                frames: vec![frame(1, &[], &[])],
                cut: false,
            },
        ],
        ..CoreDump::default()
    };
    let place = Place::new();
    place.write("divide.wat", DIVIDE);
    let mut bytes = Vec::new();
    dump.write(&mut bytes).unwrap();
    place.write("core", &bytes);
    let ran = backtrace(&place, "--module divide.wat core");
    let expected = "\
core dump of app\\u{1b}[2J
thread first
 0: divide  divide.wat
       locals: i32:-5, ?, f64:0x4000000000000000
       operands: i64:7
 1: main  divide.wat
note: there may be older frames: what recorded the stack kept these
thread second
 0: <wasm function 1>  divide.wat
";
    assert_eq!((ran.status, ran.stderr.as_str()), (0, expected));
    let json = document(&backtrace(&place, "--format json --module divide.wat core"));
    assert_eq!(json["threads"][0]["extent"], "newest");
    assert_eq!(json["threads"][0]["frames"][0]["locals"][0], "i32:-5");
    assert_eq!(json["threads"][0]["frames"][0]["locals"][1], Value::Null);
    assert_eq!(
        json["threads"][1]["frames"][0]["operands"],
        serde_json::json!([])
    );

    // Wherever the file is cut: an error, or what was readable with a warning.
    for len in 0..bytes.len() {
        place.write("cut", &bytes[..len]);
        let ran = backtrace(&place, "--module divide.wat cut");
        let is_refused = ran.status == 1 && ran.stderr.matches("error:").count() == 1;
        let is_warned = ran.status <= 1 && ran.stderr.contains("core dump of");
        assert!(
            is_refused || is_warned,
            "at {len}: {} {}",
            ran.status,
            ran.stderr
        );
    }
}
