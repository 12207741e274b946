//! The two examples on the page of wazero's `experimental` package, with the same output.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use wasmscope_listen::fake::Guest;
use wasmscope_listen::{
    BoxListener, Call, Definition, Frame, Frames, FuncIndex, HostPc, SourceOffset, Stack, Value,
    ValueType, WasmOffset,
};

#[test]
fn host_functions_called_each_once() {
    let called = Arc::new(Mutex::new(BTreeSet::new()));
    let names = called.clone();
    let only_host = move |definition: &Definition| {
        let names = names.clone();
        definition.is_host().then(|| {
            BoxListener::new(move |call: &Call<'_>| {
                let name = call.definition().debug_name();
                names.lock().expect("unpoisoned").insert(name);
            })
        })
    };
    let [random_get, fd_write, rand] = [0, 1, 2].map(FuncIndex);
    let functions = [
        Definition::import(random_get, "wasi_snapshot_preview1", "random_get"),
        Definition::import(fd_write, "wasi_snapshot_preview1", "fd_write"),
        Definition::guest(rand).in_module("listener").named("rand"),
    ];
    let mut guest = Guest::new(functions, &only_host);
    for _ in 0..5 {
        let ended = guest.call(rand, &[Value::I32(4)], |guest| {
            guest.call(random_get, &[], |_| Ok(Vec::new()))?;
            guest.call(fd_write, &[], |_| Ok(Vec::new()))
        });
        assert!(ended.is_ok());
    }
    let called = called.lock().expect("unpoisoned");
    let called: Vec<_> = called.iter().map(String::as_str).collect();
    assert_eq!(
        called,
        [
            "wasi_snapshot_preview1.fd_write",
            "wasi_snapshot_preview1.random_get"
        ]
    );
}

#[test]
fn three_frames() {
    let frame = |name: &str, params: &[i32], pc, offset| Frame {
        pc: HostPc(pc),
        source_offset: Some(SourceOffset {
            module: WasmOffset(offset),
            code_section: offset,
        }),
        ..Frame::new(
            Definition::guest(FuncIndex(0))
                .named(name)
                .typed(vec![ValueType::I32; params.len()], []),
            params.iter().map(|v| Value::I32(*v)).collect::<Vec<_>>(),
            [],
        )
    };
    let frames = Frames::new([
        frame("fn0", &[1, 2, 3], 5_890_831, 1234),
        frame("fn1", &[], 5_899_822, 7286),
        frame("fn2", &[4], 6_820_312, 935_891),
    ]);
    let mut out = String::new();
    for frame in Stack::from_frames(&frames) {
        let definition = frame.definition().expect("given");
        let offset = frame.source_offset().expect("given").code_section;
        writeln!(out, "function: {definition}").expect("memory");
        writeln!(out, "\tprogram counter: {}", frame.pc().0).expect("memory");
        writeln!(out, "\tsource offset: {offset}").expect("memory");
    }
    let params: Vec<_> = Stack::from_frames(&frames)
        .map(|frame| format!("{:?}", frame.params().expect("given")))
        .collect();
    assert_eq!(params, ["[1, 2, 3]", "[]", "[4]"]);
    assert_eq!(
        out,
        "function: fn0\n\
         \tprogram counter: 5890831\n\
         \tsource offset: 1234\n\
         function: fn1\n\
         \tprogram counter: 5899822\n\
         \tsource offset: 7286\n\
         function: fn2\n\
         \tprogram counter: 6820312\n\
         \tsource offset: 935891\n"
    );
}
