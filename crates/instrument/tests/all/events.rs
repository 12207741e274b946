//! Events that are kept in the guest: what the code is, and what comes with it.

use wasmparser::{ExternalKind, MemoryType, Operator, Parser, Payload, ValType};
use wasmscope_instrument::events::{Event, EventKind, Events, memory_export, position_export};
use wasmscope_instrument::{Error, Exceptions, Module, Options, Rewritten, Skipped};

fn rewrite(text: &str, options: Options) -> Rewritten {
    let wasm = wat::parse_str(text).expect("it is valid");
    let module = Module::parse(&wasm).expect("it is valid");
    let events = options.events.or(Some(Events::default()));
    let options = Options { events, ..options };
    module.rewrite(&options, &|_| true).expect("it is small")
}

fn operators(wasm: &[u8], defined: usize) -> Vec<String> {
    let body = Parser::new(0)
        .parse_all(wasm)
        .filter_map(|payload| match payload.expect("it is valid") {
            Payload::CodeSectionEntry(body) => Some(body),
            _ => None,
        })
        .nth(defined)
        .expect("it is there");
    let operators = body.get_operators_reader().expect("it is valid");
    operators
        .into_iter()
        .map(|operator| match operator.expect("it is valid") {
            Operator::Call { function_index } => format!("call {function_index}"),
            Operator::LocalGet { local_index } => format!("local {local_index}"),
            Operator::LocalTee { local_index } => format!("tee {local_index}"),
            Operator::GlobalGet { global_index } => format!("get {global_index}"),
            Operator::GlobalSet { global_index } => format!("set {global_index}"),
            Operator::I32Const { value } => value.to_string(),
            Operator::I64Const { value } => format!("{value} i64"),
            Operator::I64Store { memarg } => {
                assert_eq!((memarg.offset, memarg.align), (0, 3));
                format!("store {}", memarg.memory)
            }
            operator => format!("{operator:?}"),
        })
        .collect()
}

/// The operators that keep the event with this record, in a module with one import, one
/// memory and one global of its own; they use this local.
fn keep(record: u32, size: u32, local: u32) -> Vec<String> {
    let (tee, next) = (format!("tee {local}"), format!("local {local}"));
    let (record, size) = (format!("{record} i64"), size.to_string());
    #[rustfmt::skip]
    let expected = [
        "get 3", &tee, &record, "store 1", &next, "8", "I32Add", &tee,
        &size, "I32Ne", "If { blockty: Type(I32) }",
        &next, "Else", "get 1", "call 1", "0", "End", "set 3",
    ];
    expected.map(str::to_owned).to_vec()
}

const SMALL: &str = r#"(module (import "h" "f" (func $f)) (memory 1) (global i32 (i32.const 0))
    (func (param i32) (result i32) (return (i32.const 5)))
    (func (return_call $f)))"#;

#[test]
fn an_event_is_what_the_interface_says() {
    let events = Some(Events {
        pages: 3.try_into().unwrap(),
    });
    let options = Options {
        events,
        exceptions: Exceptions::Always,
        ..Options::default()
    };
    let wasm = rewrite(SMALL, options).wasm;
    let found = operators(&wasm, 0);
    let size = 3 * 65_536;
    let plain = |operator: &str| vec![operator.to_owned()];
    let found = found.join(", ");
    // Probe 0 is the import's.
    for (at, record) in [4, 5, 7].into_iter().enumerate() {
        let expected = keep(record, size, 1).join(", ");
        let matches: Vec<_> = found.match_indices(&expected).collect();
        assert_eq!(matches.len(), 1, "event {at}: {found}");
    }
    let shim = operators(&wasm, 2);
    let expected = [
        keep(0, size, 0),
        plain("Block { blockty: Type(Ref(exnref)) }"),
        vec![shim[19].clone()],
        plain("call 0"),
        plain("End"),
        keep(1, size, 0),
        plain("Return"),
        plain("End"),
        keep(3, size, 0),
        plain("ThrowRef"),
        plain("End"),
    ];
    assert!(shim[19].starts_with("TryTable"));
    assert_eq!(shim, expected.concat());
    // A tail call is told of right before it.
    let tail = operators(&wasm, 1).join(", ");
    let expected = format!("{}, ReturnCall", keep(10, size, 0).join(", "));
    assert!(tail.contains(&expected), "{tail}");
}

#[test]
fn the_memory_and_the_position_are_exported() {
    for (text, memories, globals) in [
        ("(module (func))", 0, 0),
        (SMALL, 1, 1),
        (
            r#"(module (import "h" "m" (memory 1)) (import "h" "g" (global i32))
                (memory i64 1 2) (memory 1 1 shared) (func))"#,
            3,
            1,
        ),
    ] {
        let options = Options {
            suffix: ":s".to_owned(),
            switches: true,
            ..Options::default()
        };
        let wasm = rewrite(text, options).wasm;
        let (mut memory, mut global, mut exports) = (None, None, Vec::new());
        for payload in Parser::new(0).parse_all(&wasm) {
            match payload.unwrap() {
                Payload::MemorySection(section) => {
                    memory = section.into_iter().last().transpose().unwrap();
                }
                Payload::GlobalSection(section) => {
                    global = section.into_iter().last().transpose().unwrap();
                }
                Payload::ExportSection(section) => {
                    exports.extend(section.into_iter().map(|export| {
                        let export = export.unwrap();
                        (export.name.to_owned(), export.kind, export.index)
                    }));
                }
                _ => {}
            }
        }
        let expected = MemoryType {
            memory64: false,
            shared: false,
            initial: 16,
            maximum: Some(16),
            page_size_log2: None,
        };
        assert_eq!(memory, Some(expected), "{text}");
        let global = global.unwrap();
        assert_eq!(
            (global.ty.content_type, global.ty.mutable),
            (ValType::I32, true)
        );
        let first = global.init_expr.get_operators_reader().read().unwrap();
        let last_place = (1 << 20) - 8;
        assert!(matches!(first, Operator::I32Const { value } if value == last_place));
        assert_eq!(Events::default().first_position(), last_place as u32);
        for export in [
            (memory_export(":s"), ExternalKind::Memory, memories),
            // Behind the instance's number, the key, and the switches.
            (position_export(":s"), ExternalKind::Global, globals + 3),
        ] {
            assert!(
                exports.contains(&export),
                "{text}: {export:?} in {exports:?}"
            );
        }
    }
}

#[test]
fn modules_without_probes_keep_nothing() {
    let wasm = wat::parse_str(SMALL).unwrap();
    let module = Module::parse(&wasm).unwrap();
    let options = Options {
        events: Some(Events::default()),
        ..Options::default()
    };
    let rewritten = module.rewrite(&options, &|_| false).unwrap();
    assert!(rewritten.wasm == wasm);
}

#[test]
fn a_module_with_as_many_memories_as_engines_accept_is_refused() {
    let memories = "(memory 0)".repeat(100);
    let wasm = wat::parse_str(format!("(module {memories} (func))")).unwrap();
    let module = Module::parse(&wasm).unwrap();
    let options = Options {
        events: Some(Events::default()),
        ..Options::default()
    };
    let error = module.rewrite(&options, &|_| true).unwrap_err();
    let expected = Error::TooMany {
        what: "memories",
        count: 101,
        limit: 100,
    };
    assert_eq!(error, expected);
}

#[test]
fn an_event_takes_one_local_and_switches_another() {
    let probes = |locals: usize, switches: bool| {
        let locals = "(local i32)".repeat(locals);
        let text = format!("(module (func (result i32 i32) {locals} i32.const 1 i32.const 1))");
        let options = Options {
            switches,
            ..Options::default()
        };
        let rewritten = rewrite(&text, options);
        rewritten.skipped.first().map(|(_, reason)| *reason)
    };
    let limit = 50_000;
    assert_eq!(probes(limit - 1, false), None);
    assert_eq!(probes(limit - 2, true), None);
    for (locals, switches) in [(limit, false), (limit - 1, true)] {
        assert_eq!(probes(locals, switches), Some(Skipped::TooManyLocals));
    }
}

#[test]
fn records_and_events_lead_to_each_other() {
    for probe in [0, 1, 999_999, u32::MAX] {
        for kind in [
            EventKind::Open,
            EventKind::Return,
            EventKind::Tail,
            EventKind::Unwind,
        ] {
            let event = Event { probe, kind };
            assert_eq!(Event::of_record(event.record()), event);
        }
    }
}
