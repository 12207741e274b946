//! Frames of dumps that the engine wrote, named from the binaries.

use crate::trapped::{engines_dump, guest, run_command};
use wasmscope::FrameKind;
use wasmscope::core_dump::Modules;
use wasmscope::core_dump::model::{CodeOffset, CoreDump};
use wasmtime::{Trap, WasmBacktrace};

#[test]
fn frames_are_the_engines_own() {
    let bytes = guest("trap.wasm");
    for (way, trap) in [
        ("unreachable", Trap::UnreachableCodeReached),
        ("oob", Trap::MemoryOutOfBounds),
        ("divide", Trap::IntegerDivisionByZero),
        ("signature", Trap::BadSignature),
        ("stack", Trap::StackOverflow),
    ] {
        let (mut store, _, error) = run_command(&bytes, &["trap", "1", way]);
        assert_eq!(error.downcast_ref(), Some(&trap));
        let expected = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
        let file = engines_dump(&mut store, &error, "trap.wasm");
        let dump = CoreDump::read(&file).unwrap();
        assert_eq!(dump.name, "trap.wasm");
        let [thread] = &*dump.threads else {
            panic!("{:?}", dump.threads)
        };
        let mut modules = Modules::new();
        modules.add("guests/trap.wasm", bytes.clone());
        let frames = modules.frames(&dump, thread);
        assert_eq!(frames.len(), expected.len());
        assert!(frames.len() > if way == "stack" { 1000 } else { 3 });
        for (ours, theirs) in frames.iter().zip(expected) {
            assert_eq!(ours.kind, FrameKind::Guest);
            assert_eq!(ours.function.map(|it| it.0), Some(theirs.func_index()));
            assert_eq!(Some(&*ours.name), theirs.func_name());
            // The code offset counts from the body: this is where that is shown.
            let offset = ours.offset.map(|it| it.0 as usize);
            assert_eq!(offset, theirs.module_offset());
        }
        let main = frames.iter().find(|frame| &*frame.name == "main").unwrap();
        let line = main.source.last().unwrap();
        assert!(
            line.file.as_deref().unwrap().ends_with("trap.c"),
            "{line:?}"
        );
        assert!(line.line.is_some());
    }
}

#[test]
fn without_the_binary_there_are_numbers() {
    let (mut store, _, error) = run_command(&guest("trap.wasm"), &["trap", "1", "oob"]);
    let file = engines_dump(&mut store, &error, "trap.wasm");
    let dump = CoreDump::read(&file).unwrap();
    let thread = &dump.threads[0];
    // Neither is it: two modules in it, of other names.
    let mut other = Modules::new();
    other.add("component.wasm", guest("component.wasm"));
    for modules in [Modules::new(), other] {
        for (named, frame) in modules.frames(&dump, thread).iter().zip(&thread.frames) {
            assert_eq!(*named.name, format!("<wasm function {}>", frame.function));
            assert_eq!(named.offset, None);
            assert!(named.source.is_empty());
            assert!(named.module.is_some());
        }
    }
}

#[test]
fn a_dump_of_another_binary_has_no_lines() {
    let bytes = guest("trap.wasm");
    let (mut store, _, error) = run_command(&bytes, &["trap", "1", "oob"]);
    let file = engines_dump(&mut store, &error, "trap.wasm");
    let mut dump = CoreDump::read(&file).unwrap();
    let mut modules = Modules::new();
    modules.add("trap.wasm", bytes);
    for (offset, known) in [(1_000_000, false), (0, false), (u32::MAX, false)] {
        dump.threads[0].frames[0].code_offset = CodeOffset(offset);
        let frames = modules.frames(&dump, &dump.threads[0]);
        assert_eq!(frames[0].offset.is_some(), known);
        assert!(frames[0].source.is_empty());
        assert!(!frames[0].name.starts_with('<'));
    }
}

#[test]
fn modules_are_found_by_name() {
    let module =
        |name: &str| wat::parse_str(format!("(module ${name} (func $in_{name}))")).unwrap();
    let component =
        wat::parse_str("(component (core module $x (func $in_x)) (core module $y (func $in_y)))")
            .unwrap();
    let mut files = Modules::new();
    files.add("lib/a.wasm", module("alpha"));
    files.add("other/a.wasm", module("beta"));
    files.add("c.wasm", component);
    for (name, expected) in [
        ("lib/a.wasm", Some("in_alpha")),
        ("other/a.wasm", Some("in_beta")),
        // Two files are called so.
        ("elsewhere/a.wasm", None),
        ("beta", Some("in_beta")),
        ("c.wasm", Some("in_x")),
        ("/deep/c.wasm#1", Some("in_y")),
        ("c.wasm#2", None),
        ("c.wasm#", None),
        ("<anonymous-module-0>", None),
        ("", None),
    ] {
        let dump = CoreDump {
            modules: vec![name.into()],
            ..CoreDump::default()
        };
        let found = files.find(&dump, 0).map(|(symbols, module)| {
            let name = symbols.function_name(module, wasmscope_address::FuncIndex(0));
            name.display.to_string()
        });
        assert_eq!(found.as_deref(), expected, "{name}");
        assert!(files.find(&dump, 1).is_none());
    }
    // The one module that there is.
    let mut one = Modules::new();
    one.add("b.wasm", module("beta"));
    let dump = CoreDump {
        modules: vec!["<anonymous-module-0>".into()],
        ..CoreDump::default()
    };
    assert!(one.find(&dump, 0).is_some());
}

#[test]
fn damaged_dumps_and_binaries_are_named_as_far_as_they_go() {
    let bytes = guest("trap.wasm");
    let (mut store, _, error) = run_command(&bytes, &["trap", "1", "oob"]);
    // Without the memory, so that what is damaged is what is named.
    let file = engines_dump(&mut store, &error, "trap.wasm");
    let mut whole = CoreDump::read(&file).unwrap();
    whole.memories.clear();
    whole.instances[0].memories.clear();
    let file = crate::trapped::file(&whole);
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let (mut named, mut broken) = (0, 0);
    for round in 0..2000 {
        let mut file = file.clone();
        for _ in 0..=random(3) {
            let at = random(file.len());
            file[at] = random(256) as u8;
        }
        let Ok(recovered) = CoreDump::recover(&file) else {
            continue;
        };
        broken += usize::from(recovered.problem.is_some());
        let mut modules = Modules::new();
        let mut bytes = bytes.clone();
        if round % 4 == 0 {
            let at = random(bytes.len());
            bytes[at] = random(256) as u8;
            bytes.truncate(random(bytes.len()) + at);
        }
        modules.add("trap.wasm", bytes);
        for thread in &recovered.dump.threads {
            let frames = modules.frames(&recovered.dump, thread);
            assert_eq!(frames.len(), thread.frames.len());
            for (frame, raw) in frames.iter().zip(&thread.frames) {
                assert_eq!(frame.function, Some(raw.function));
                assert!(frame.offset.is_some() || frame.source.is_empty());
                named += usize::from(!frame.name.starts_with('<'));
            }
        }
    }
    assert!(
        broken > 300 && named > 1000,
        "{broken} broken, {named} named"
    );
}
