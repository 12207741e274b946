//! Files put together byte by byte, as the convention has them and as other tools do.

use wasmscope_address::FuncIndex;
use wasmscope_coredump::{CodeOffset, CoreDump, Error, Frame, Value};

const HEADER: &[u8] = b"\0asm\x01\0\0\0";

/// A section whose name and contents are short.
fn custom(name: &str, contents: &[u8]) -> Vec<u8> {
    let mut section = vec![0, (1 + name.len() + contents.len()) as u8, name.len() as u8];
    section.extend(name.as_bytes());
    section.extend(contents);
    section
}

fn file(sections: &[Vec<u8>]) -> Vec<u8> {
    [HEADER.to_vec(), sections.concat()].concat()
}

fn frame(instance: Option<u32>, function: u32, code_offset: u32) -> Frame {
    Frame {
        instance,
        function: FuncIndex(function),
        code_offset: CodeOffset(code_offset),
        locals: vec![],
        stack: vec![],
    }
}

#[test]
fn every_value_of_the_convention() {
    // One frame: instance 0, function 12, offset 0x81, five locals, one operand.
    let stack = [
        &b"\0\x04main\x01"[..],
        b"\0\0\x0c\x81\x01",
        b"\x05\x01\x7f\x7f\x7e\x80\x01\x7d\0\0\x80\x3f\x7c\0\0\0\0\0\0\xf8\x7f",
        b"\x01\x7f\x2a",
    ];
    let file = file(&[
        custom("coreinstances", b"\x01\0\0\0\0"),
        custom("corestack", &stack.concat()),
        custom("coremodules", b"\x01\0\x01m"),
        custom("core", b"\0\x03exe"),
    ]);
    let dump = CoreDump::read(&file).unwrap();
    assert_eq!(dump.name, "exe");
    let [thread] = &*dump.threads else {
        panic!("{dump:?}")
    };
    assert_eq!((&*thread.name, thread.cut), ("main", false));
    let values = Frame {
        locals: vec![
            Value::Missing,
            Value::I32(-1),
            Value::I64(128),
            Value::F32(1.0_f32.to_bits()),
            Value::F64(f64::NAN.to_bits()),
        ],
        stack: vec![Value::I32(42)],
        ..frame(Some(0), 12, 0x81)
    };
    assert_eq!(thread.frames, [values]);
    assert_eq!(dump.module_name(&thread.frames[0]), Some("m"));
}

#[test]
fn frames_from_before_there_were_instances() {
    // Functions 0 and 6; a frame of today would have one number more.
    let file = file(&[
        custom("core", b"\0\x03exe"),
        custom("corestack", b"\0\0\x02\0\0\x05\0\0\0\x06\x7b\x01\x7f\x03\0"),
        custom("coremodules", b"\x01\0\x06m.wasm"),
    ]);
    let dump = CoreDump::read(&file).unwrap();
    let inner = Frame {
        locals: vec![Value::I32(3)],
        ..frame(None, 6, 0x7b)
    };
    assert_eq!(dump.threads[0].frames, [frame(None, 0, 5), inner]);
    assert_eq!(dump.module_name(&dump.threads[0].frames[1]), Some("m.wasm"));
}

#[test]
fn frames_with_an_instance_where_none_is_listed() {
    // As wasm-coredump writes them: instance 0 of nothing.
    let file = file(&[
        custom("core", b"\0\x0d/usr/bin/true"),
        custom("corestack", b"\0\x04main\x01\0\0\x06\x7b\0\0"),
    ]);
    let dump = CoreDump::read(&file).unwrap();
    assert_eq!(dump.threads[0].frames, [frame(Some(0), 6, 0x7b)]);
    assert_eq!(dump.module_name(&dump.threads[0].frames[0]), None);
}

#[test]
fn memories_and_globals_of_every_encoding() {
    let memory = b"\x05\x07\x02\x01\x02\x03\x05\x05\x05";
    assert!(CoreDump::read(&file(&[custom("core", b"\0\0"), memory.to_vec()])).is_ok());
    let data = [
        &b"\x0b\x15\x03"[..],
        // Memory 0 at -65536, which is the last page of 4 GiB: past the end of this one.
        b"\x00\x41\x80\x80\x7c\x0b\x01a",
        b"\x02\x01\x42\x07\x0b\x01b",
        b"\x00\x41\x07\x0b\x00",
    ];
    let bytes = file(&[custom("core", b"\0\0"), memory.to_vec(), data.concat()]);
    let error = CoreDump::read(&bytes).unwrap_err();
    assert!(error.to_string().contains("past its memory"), "{error}");
    let recovered = CoreDump::recover(&bytes).unwrap();
    let [first, second] = &*recovered.dump.memories else {
        panic!("{recovered:?}")
    };
    assert_eq!((first.ty().pages, first.ty().maximum), (2, Some(3)));
    assert!(first.segments()[0].bytes.is_empty());
    assert_eq!((second.ty().memory64, second.ty().maximum), (true, Some(5)));
    let mut byte = [0];
    assert!(second.read(7, &mut byte));
    assert_eq!(byte, *b"b");
}

#[test]
fn each_error_names_its_place() {
    let core = || custom("core", b"\0\0");
    let error = |sections: &[Vec<u8>]| CoreDump::read(&file(sections)).unwrap_err().to_string();
    for (error, expected) in [
        (
            CoreDump::read(b"\0asm\x0d\0\x01\0")
                .unwrap_err()
                .to_string(),
            "header",
        ),
        (
            error(&[custom("name", b"")]),
            "neither a `core` nor a `corestack`",
        ),
        (
            error(&[core(), core()]),
            "core section at offset 0x13: there is one already",
        ),
        (
            error(&[custom("core", b"\x01\0")]),
            "offset 0xf: it is of version 1",
        ),
        (
            error(&[custom("core", b"\0\0\0")]),
            "offset 0x11: there is more",
        ),
        (
            error(&[core(), b"\x05\x7f\0".to_vec()]),
            "claims 127 bytes, 1 are left",
        ),
        (
            error(&[core(), custom("coreinstances", b"\x01\0\x03\0\0")]),
            "find the module 3 that is named at offset 0x23: the dump has 0",
        ),
        (
            error(&[
                core(),
                custom("coreinstances", b"\0"),
                custom("corestack", b"\0\0\x01\0\x02\0\0\0\0"),
            ]),
            "find the instance 2 that is named at offset 0x31: the dump has 0",
        ),
        (
            error(&[core(), custom("corestack", b"\0\0\x01\0\0\0\0\x01\x40\0")]),
            "the value is of no type",
        ),
        (
            error(&[core(), b"\x06\x07\x01\x7f\0\x42\0\x0b\0".to_vec()]),
            "its value is not of its type",
        ),
        (
            error(&[core(), b"\x06\x06\x01\x7f\0\x23\0\x0b".to_vec()]),
            "the expression is not one constant",
        ),
        (
            error(&[core(), b"\x0b\x03\x01\x01\0".to_vec()]),
            "the segment is passive",
        ),
    ] {
        assert!(error.contains(expected), "{error:?} has no {expected:?}");
        assert!(
            error.starts_with("read the ")
                || error.starts_with("read a ")
                || error.starts_with("find the ")
        );
    }
    assert_eq!(CoreDump::read(b""), Err(Error::NotWasm));
    assert!(!CoreDump::is_core_dump(&file(&[custom("name", b"")])));
}
