//! The stack iterator: order, first frame, starting over.

use std::sync::{Arc, Mutex};

use wasmscope_listen::fake::Guest;
use wasmscope_listen::{
    BoxListener, Call, Definition, Frame, Frames, FuncIndex, HostPc, Line, SourceOffset, Stack,
    Value, ValueType, WasmOffset,
};

const F: FuncIndex = FuncIndex(0);
const G: FuncIndex = FuncIndex(1);

#[test]
fn the_first_frame_is_the_called_function_with_its_parameters() {
    let functions = [
        Definition::guest(F)
            .named("f")
            .typed([ValueType::V128, ValueType::I32], []),
        Definition::import(G, "env", "g").typed([ValueType::F64], []),
    ];
    let seen = Arc::new(Mutex::new(Vec::new()));
    let out = seen.clone();
    let look = move |call: &Call<'_>| {
        let frame = call.stack().next().expect("at least the called function");
        assert_eq!(frame.definition(), Some(call.definition()));
        assert_eq!(frame.params(), Some(call.params()));
        assert_eq!(frame.instance(), Some(call.instance().id()));
        let params = call
            .stack()
            .map(|frame| format!("{:?}", frame.params().expect("known")));
        out.lock()
            .expect("unpoisoned")
            .push(params.collect::<Vec<_>>());
    };
    // G has a listener; F, below it, has none.
    let only_g = move |definition: &Definition| {
        (definition.index == G).then(|| BoxListener::new(look.clone()))
    };
    let mut guest = Guest::new(functions, &only_g);
    let ended = guest.call(F, &[Value::V128(1 << 64), Value::I32(-2)], |guest| {
        guest.call(G, &[Value::F64(0.5)], |_| Ok(Vec::new()))
    });
    assert!(ended.is_ok());
    assert_eq!(
        *seen.lock().expect("unpoisoned"),
        [["[0.5]", "[0x00000000000000010000000000000000, -2]"]]
    );
}

fn frames() -> Frames {
    let frame = |index: u32| Frame {
        pc: HostPc(0x100 + u64::from(index)),
        source_offset: Some(SourceOffset {
            module: WasmOffset(0x80 + index),
            code_section: index,
        }),
        line: Some(Line {
            file: "a.c".into(),
            line: 10 + index,
            column: (index > 0).then_some(index),
        }),
        ..Frame::new(Definition::guest(FuncIndex(index)), [], [])
    };
    Frames::new([0, 1, 2].map(frame))
}

#[test]
fn each_walk_starts_over_and_goes_both_ways() {
    let frames = frames();
    let pcs = |stack: Stack<'_>| stack.map(|frame| frame.pc().0).collect::<Vec<_>>();
    let mut stack = Stack::from_frames(&frames);
    assert_eq!(stack.len(), 3);
    assert_eq!(stack.next().map(|frame| frame.pc()), Some(HostPc(0x100)));
    assert_eq!(stack.len(), 2);
    assert_eq!(pcs(stack.clone()), [0x101, 0x102]);
    assert_eq!(
        stack.next_back().map(|frame| frame.pc()),
        Some(HostPc(0x102))
    );
    assert_eq!(pcs(stack), [0x101]);
    assert_eq!(pcs(Stack::from_frames(&frames)), [0x100, 0x101, 0x102]);
    assert_eq!(Stack::from_frames(&Frames::default()).len(), 0);
}

#[test]
fn a_frame_knows_its_place() {
    let frames = frames();
    let frame = Stack::from_frames(&frames).nth(1).expect("three frames");
    let offset = frame.source_offset().expect("given");
    assert_eq!((offset.module, offset.code_section), (WasmOffset(0x81), 1));
    assert_eq!(frame.line().expect("given").to_string(), "a.c:11:1");
    assert_eq!(frame.instance(), None);
    assert_eq!(format!("{frame:?}"), "$1 at 0x101");
}
