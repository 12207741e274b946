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
    assert_eq!(
        body.get_locals_reader().expect("it is valid").get_count(),
        0
    );
    let operators = body.get_operators_reader().expect("it is valid");
    operators
        .into_iter()
        .map(|operator| match operator.expect("it is valid") {
            Operator::Call { function_index } => format!("call {function_index}"),
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
/// memory and one global of its own.
fn keep(record: u32, size: u32) -> Vec<String> {
    let (record, size) = (format!("{record} i64"), size.to_string());
    #[rustfmt::skip]
    let expected = [
        "get 3", &record, "store 1", "get 3", "8", "I32Add", "set 3",
        "get 3", &size, "I32Eq", "If { blockty: Empty }",
        "0", "set 3", "get 1", "call 1", "End",
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
        let expected = keep(record, size).join(", ");
        let matches: Vec<_> = found.match_indices(&expected).collect();
        assert_eq!(matches.len(), 1, "event {at}: {found}");
    }
    let shim = operators(&wasm, 2);
    let expected = [
        keep(0, size),
        plain("Block { blockty: Type(Ref(exnref)) }"),
        vec![shim[17].clone()],
        plain("call 0"),
        plain("End"),
        keep(1, size),
        plain("Return"),
        plain("End"),
        keep(3, size),
        plain("ThrowRef"),
        plain("End"),
    ];
    assert!(shim[17].starts_with("TryTable"));
    assert_eq!(shim, expected.concat());
    // A tail call is told of right before it.
    let tail = operators(&wasm, 1).join(", ");
    let expected = format!("{}, ReturnCall", keep(10, size).join(", "));
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
fn a_function_with_as_many_locals_as_engines_accept_has_its_events_kept() {
    let locals = "(local i32)".repeat(50_000);
    let text = format!("(module (func (result i32) {locals} (i32.const 1)))");
    let probes = |options: Options| {
        let rewritten = rewrite(&text, options);
        (rewritten.probes.len(), rewritten.skipped)
    };
    assert_eq!(probes(Options::default()), (1, Vec::new()));
    let (probes, skipped) = probes(Options {
        switches: true,
        ..Options::default()
    });
    assert_eq!(probes, 0);
    assert_eq!(skipped[0].1, Skipped::TooManyLocals);
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
