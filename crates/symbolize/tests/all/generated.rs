//! DWARF written for the purpose: each answer is known exactly, wherever the
//! DWARF is and whatever version it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::generate::{IMPORTS, Plan, start};
use wasm_encoder::{Component, ModuleSection, NestedComponentSection};
use wasmscope_address::{FuncIndex, ModuleIndex, WasmOffset};
use wasmscope_symbolize::{Error, SourceFrame, Symbols};

const FIRST: ModuleIndex = ModuleIndex(0);

/// What a frame looks like, on one line.
fn show(frame: &SourceFrame) -> String {
    let unknown = || String::from("?");
    let number = |number: Option<u32>| number.map_or_else(unknown, |it| it.to_string());
    format!(
        "{}{} ({}) declared {} at {}:{}:{}",
        if frame.inlined { "inlined " } else { "" },
        frame.function,
        frame.raw.as_deref().unwrap_or("?"),
        number(frame.declared_line),
        frame.file.as_deref().unwrap_or("?"),
        number(frame.line),
        number(frame.column),
    )
}

/// Asks about instruction `at` of the defined function `index`.
fn ask(symbols: &Symbols, bytes: &[u8], module: u32, index: u32, at: u32) -> Vec<String> {
    // The first byte of a body says that it has no locals.
    let offset = start(bytes, module as usize, index as usize) + at;
    let func = FuncIndex(IMPORTS + index);
    let frames = symbols.frames(ModuleIndex(module), func, WasmOffset(offset));
    frames.iter().map(show).collect()
}

/// The answers to all questions about the generated functions.
fn check(symbols: &Symbols, bytes: &[u8], module: u32, names: bool) {
    let (outer, second) = ("outer(int) (_Z5outeri)", "second (second)");
    let middle = "inlined middle (middle) declared 19";
    let leaf = "inlined demo::leaf (_ZN4demo4leaf17h0123456789abcdefE) declared 9";
    let expected: [(u32, u32, &[String]); 12] = [
        (0, 0, &[format!("{outer} declared 29 at /src/main.rs:30:?")]),
        (0, 9, &[format!("{outer} declared 29 at /src/main.rs:30:?")]),
        (
            0,
            10,
            &[
                format!("{middle} at /src/lib/lib.rs:20:9"),
                format!("{outer} declared 29 at /src/main.rs:31:5"),
            ],
        ),
        (
            0,
            13,
            &[
                format!("{leaf} at /src/lib/lib.rs:10:3"),
                format!("{middle} at /src/lib/lib.rs:21:7"),
                format!("{outer} declared 29 at /src/main.rs:31:5"),
            ],
        ),
        (
            0,
            14,
            &[
                format!("{middle} at /src/lib/lib.rs:22:9"),
                format!("{outer} declared 29 at /src/main.rs:31:5"),
            ],
        ),
        (
            0,
            23,
            &[
                format!("{leaf} at /src/lib/lib.rs:11:4"),
                format!("{middle} at /src/lib/lib.rs:21:7"),
                format!("{outer} declared 29 at /src/main.rs:31:5"),
            ],
        ),
        (
            0,
            24,
            &[
                format!("{middle} at /src/lib/lib.rs:?:?"),
                format!("{outer} declared 29 at /src/main.rs:31:5"),
            ],
        ),
        (
            0,
            30,
            &[format!("{outer} declared 29 at /src/main.rs:32:1")],
        ),
        (
            1,
            0,
            &[format!("{second} declared 39 at /src/main.rs:40:2")],
        ),
        (
            2,
            5,
            &["third (third) declared ? at /src/other.rs:50:?".to_owned()],
        ),
        (
            2,
            19,
            &[
                format!("{leaf} at /src/other.rs:51:2"),
                "third (third) declared ? at /src/other.rs:52:6".to_owned(),
            ],
        ),
        (
            2,
            20,
            &["third (third) declared ? at /src/other.rs:51:2".to_owned()],
        ),
    ];
    for (index, at, frames) in expected {
        // Function 4 has no name in the name section, so DWARF names it; without
        // a name section it names all.
        let asked = ask(symbols, bytes, module, index, at);
        assert_eq!(asked, frames, "instruction {at} of function {index}");
        assert_eq!(ask(symbols, bytes, module, index, at), asked, "asked again");
    }
    let name = symbols.function_name(ModuleIndex(module), FuncIndex(2));
    let expected = if names {
        "outer(int)"
    } else {
        "<wasm function 2>"
    };
    assert_eq!(&*name.display, expected);
    assert_eq!(symbols.problem(), None);
}

#[test]
fn embedded_in_every_version() {
    for version in 3..=5 {
        for names in [true, false] {
            let bytes = Plan {
                names,
                ..Plan::new(version)
            }
            .bytes();
            let symbols = Symbols::new(bytes.clone());
            check(&symbols, &bytes, 0, names);
        }
    }
}

#[test]
fn without_dwarf_there_are_names() {
    let bytes = Plan {
        dwarf: false,
        ..Plan::new(4)
    }
    .bytes();
    let symbols = Symbols::new(bytes.clone());
    assert_eq!(
        ask(&symbols, &bytes, 0, 0, 13),
        ["outer(int) (_Z5outeri) declared ? at ?:?:?"]
    );
    assert_eq!(
        ask(&symbols, &bytes, 0, 2, 13),
        ["<wasm function 4> (?) declared ? at ?:?:?"]
    );
    assert_eq!(symbols.module_name(FIRST).as_deref(), Some("demo"));
    assert_eq!(symbols.module_name(ModuleIndex(1)), None);
    assert_eq!(symbols.problem(), None);
}

#[test]
fn in_a_file_beside_it() {
    let stripped = Plan {
        dwarf: false,
        names: false,
        ..Plan::new(5)
    }
    .bytes();
    let symbols = Symbols::new(stripped.clone()).with_debug_bytes(Plan::new(5).bytes());
    // Names come from there as well.
    check(&symbols, &stripped, 0, true);
    assert_eq!(symbols.module_name(FIRST).as_deref(), Some("demo"));
}

#[test]
fn through_a_loader_asked_once() {
    let url = "https://example.org/demo.debug.wasm";
    let mut section = vec![url.len() as u8];
    section.extend_from_slice(url.as_bytes());
    let plan = Plan {
        dwarf: false,
        extra: vec![("external_debug_info", section)],
        ..Plan::new(4)
    };
    let bytes = plan.bytes();
    let asked = Arc::new(AtomicU32::new(0));
    let loader = {
        let asked = Arc::clone(&asked);
        move |wanted: &str| {
            assert_eq!(wanted, url);
            asked.fetch_add(1, Ordering::Relaxed);
            Some(Plan::new(4).bytes())
        }
    };
    let symbols = Symbols::new(bytes.clone()).with_debug_loader(Box::new(loader));
    symbols.function_name(FIRST, FuncIndex(2));
    assert_eq!(asked.load(Ordering::Relaxed), 0, "names are at hand");
    check(&symbols, &bytes, 0, true);
    assert_eq!(asked.load(Ordering::Relaxed), 1);

    let symbols = Symbols::new(bytes.clone()).with_debug_loader(Box::new(|_| None));
    assert_eq!(
        ask(&symbols, &bytes, 0, 1, 3),
        ["second (second) declared ? at ?:?:?"]
    );
    let expected = Error::DebugFileMissing {
        url: url.to_owned(),
    };
    assert_eq!(symbols.problem(), Some(expected));
}

#[test]
fn of_another_build_is_refused() {
    let with_id = |id: &[u8], dwarf| {
        let mut section = vec![id.len() as u8];
        section.extend_from_slice(id);
        let extra = vec![("build_id", section)];
        Plan {
            dwarf,
            extra,
            ..Plan::new(4)
        }
        .bytes()
    };
    let bytes = with_id(b"one", false);
    let symbols = Symbols::new(bytes.clone()).with_debug_bytes(with_id(b"one", true));
    check(&symbols, &bytes, 0, true);
    let symbols = Symbols::new(bytes.clone()).with_debug_bytes(with_id(b"two", true));
    assert_eq!(
        ask(&symbols, &bytes, 0, 1, 3),
        ["second (second) declared ? at ?:?:?"]
    );
    assert_eq!(symbols.problem(), Some(Error::DebugFileMismatch));
}

/// Module 0, a component with module 1, and module 2.
fn component(plans: [&Plan; 3]) -> Vec<u8> {
    let [first, nested, last] = plans.map(Plan::module);
    let mut inner = Component::new();
    inner.section(&ModuleSection(&nested));
    let mut component = Component::new();
    component.section(&ModuleSection(&first));
    component.section(&NestedComponentSection(&inner));
    component.section(&ModuleSection(&last));
    component.finish()
}

#[test]
fn in_components_each_module_has_its_own() {
    let (four, five) = (Plan::new(4), Plan::new(5));
    let bare = Plan {
        dwarf: false,
        names: false,
        ..Plan::new(4)
    };
    let bytes = component([&bare, &five, &four]);
    let symbols = Symbols::new(bytes.clone());
    assert_eq!(
        ask(&symbols, &bytes, 0, 0, 13),
        ["<wasm function 2> (?) declared ? at ?:?:?"]
    );
    check(&symbols, &bytes, 1, true);
    check(&symbols, &bytes, 2, true);
    assert_eq!(ask(&symbols, &bytes, 2, 0, 0).len(), 1);
    // An offset of one module, asked of another, is not in its code.
    let offset = WasmOffset(start(&bytes, 1, 0));
    assert_eq!(
        symbols.frames(ModuleIndex(2), FuncIndex(2), offset)[0].line,
        None
    );

    // The same component stripped, with the DWARF beside it.
    let stripped = component([&bare, &bare, &bare]);
    let symbols = Symbols::new(stripped.clone()).with_debug_bytes(bytes);
    check(&symbols, &stripped, 1, true);
    check(&symbols, &stripped, 2, true);
}

#[test]
fn calls_of_imports_are_seen() {
    let bytes = Plan::new(4).bytes();
    let symbols = Symbols::new(bytes.clone());
    let nop = start(&bytes, 0, 0) + 1;
    let call = nop + 40;
    let import = symbols.called_import(FIRST, WasmOffset(call)).unwrap();
    assert_eq!((&*import.module, &*import.name), ("env", "tick"));
    for (offset, what) in [
        (nop, "a nop"),
        (call + 2, "a call of its own"),
        (0, "the header"),
    ] {
        assert_eq!(
            symbols.called_import(FIRST, WasmOffset(offset)),
            None,
            "{what}"
        );
    }
    assert_eq!(symbols.called_import(FIRST, WasmOffset(u32::MAX)), None);
    assert_eq!(
        symbols.called_import(ModuleIndex(9), WasmOffset(call)),
        None
    );
    let import = symbols.imported_function(FIRST, FuncIndex(0)).unwrap();
    assert_eq!((&*import.module, &*import.name), ("env", "log"));
    assert_eq!(symbols.imported_function(FIRST, FuncIndex(2)), None);
}

#[test]
fn many_threads_may_ask() {
    fn is_shared<T: Send + Sync + 'static>(_: &T) {}
    let bytes = Plan::new(5).bytes();
    let symbols = Symbols::new(bytes.clone());
    is_shared(&symbols);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| check(&symbols, &bytes, 0, true));
        }
    });
}
