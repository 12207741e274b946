//! `wasmscope instrument`: the rewritten file is a module that does what the old one
//! did, and nothing is written over anything when there is none.

use crate::expected::cases;
use crate::program::{Place, guest};
use std::fs;
use std::path::Path;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wasmtime::{Engine, Module};

fn ok(place: &Place, arguments: &str) -> String {
    let ran = place.run_as("instrument", arguments, b"");
    assert_eq!(ran.status, 0, "{arguments}: {}", ran.stderr);
    assert_eq!(ran.stdout, "");
    ran.stderr
}

#[test]
fn the_new_module_has_probes_and_is_the_same_each_time() {
    let place = Place::new();
    let said = ok(&place, "@fib.wasm -o new.wasm");
    let bytes = fs::read(place.path("new.wasm")).unwrap();
    let module = Module::new(&Engine::default(), &bytes).unwrap();
    let hooks: Vec<String> = module
        .imports()
        .filter(|import| import.module() == "wasmscope")
        .map(|import| import.name().to_owned())
        .collect();
    assert!(
        hooks.iter().any(|name| name.starts_with("before")),
        "{hooks:?}"
    );
    assert!(
        hooks.iter().any(|name| name.starts_with("after")),
        "{hooks:?}"
    );

    let original = Module::new(&Engine::default(), fs::read(guest("fib.wasm")).unwrap()).unwrap();
    let functions = original.functions().count() + original.imports().count();
    assert!(
        said.starts_with(&format!(
            "{functions} of {functions} functions have a probe; new.wasm"
        )),
        "{said}"
    );
    ok(&place, "@fib.wasm -o again.wasm");
    assert!(fs::read(place.path("again.wasm")).unwrap() == bytes);
    assert_eq!(place.files(), ["again.wasm", "new.wasm"]);

    let said = ok(&place, "--functions fib @fib.wasm -o one.wasm");
    assert!(said.starts_with("1 of "), "{said}");
    let said = ok(&place, "--imports @fib.wasm -o imports.wasm");
    let imports = original.imports().count();
    assert!(said.starts_with(&format!("{imports} of ")), "{said}");
    assert_eq!(ok(&place, "-q @fib.wasm -o new.wasm"), "");
}

#[test]
fn rewritten_guests_do_what_they_did() {
    // With hooks that do nothing, which is what imports that nobody knows become.
    for case in cases("expected.txt") {
        if !case.is_core() || case.is_long() || case.is_busy() {
            continue;
        }
        let place = Place::new();
        let new = Path::new(&case.file).with_extension("wasm");
        let new = new.to_str().unwrap();
        ok(&place, &format!("@{} -o {new}", case.file));
        case.check_file(
            &place,
            new,
            "profile",
            "-q -W unknown-imports-default -o p.folded",
        );
    }
}

#[test]
fn the_new_component_imports_an_instance_and_is_the_same_each_time() {
    let place = Place::new();
    let said = ok(&place, "@component.wasm -o new.wasm");
    let bytes = fs::read(place.path("new.wasm")).unwrap();
    let engine = Engine::default();
    let component = Component::new(&engine, &bytes).unwrap();
    let imported = |component: &Component| {
        let ty = component.component_type();
        let instance = ty.imports(&engine).find(|(name, _)| *name == "wasmscope-x");
        instance.map(|(_, item)| match item.ty {
            ComponentItem::ComponentInstance(instance) => instance.exports(&engine).count(),
            item => panic!("{item:?}"),
        })
    };
    // What `wasmscope_instrument::component::interface` lists.
    assert_eq!(imported(&component), Some(18));
    let original = fs::read(guest("component.wasm")).unwrap();
    let original = Component::new(&engine, original).unwrap();
    assert_eq!(imported(&original), None);
    // Every function that core modules define or import, and what is lifted and lowered.
    let defined = original.functions().count();
    let probes: usize = said.split(' ').next().unwrap().parse().unwrap();
    assert!(probes > defined, "{said}");
    assert!(
        said.starts_with(&format!(
            "{probes} of {probes} functions have a probe; new.wasm"
        )),
        "{said}"
    );
    ok(&place, "@component.wasm -o again.wasm");
    assert!(fs::read(place.path("again.wasm")).unwrap() == bytes);

    let said = ok(
        &place,
        "--functions wasi:cli/run#run @component.wasm -o one.wasm",
    );
    assert!(said.starts_with("1 of "), "{said}");
    let said = ok(&place, "--imports @component.wasm -o imports.wasm");
    let imports: usize = said.split(' ').next().unwrap().parse().unwrap();
    assert!((1..probes - defined).contains(&imports), "{said}");
    let said = ok(&place, "--functions nothing @component.wasm -o same.wasm");
    assert!(said.starts_with("0 of "), "{said}");
    let same = fs::read(place.path("same.wasm")).unwrap();
    assert!(same == fs::read(guest("component.wasm")).unwrap());
}

#[test]
fn debug_information_leads_to_the_same_lines() {
    let place = Place::new();
    ok(&place, "@fib.wasm -o fib.wasm");
    let ran = place.run("-q -W unknown-imports-default fib.wasm 1");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let fib = place.firefox("fib.profile.json.gz").function("fib");
    assert!(fib.file.ends_with("src/c/fib.c"), "{}", fib.file);
    assert!(
        !fib.lines.is_empty() && fib.lines.iter().all(|line| (5..12).contains(line)),
        "{fib:?}"
    );
}

#[test]
fn what_cannot_be_rewritten_is_told_and_nothing_is_written() {
    let place = Place::new();
    let good = place.write("good.wasm", "good");
    place.write("invalid.wat", "(module (func i32.add drop))");
    place.write("text.wasm", "not WebAssembly");
    let whole = fs::read(guest("fib.wasm")).unwrap();
    place.write("cut.wasm", &whole[..3_000]);
    place.write(
        "import.wat",
        r#"(module (import "wasmscope" "before0" (func)))"#,
    );
    place.write(
        "export.wat",
        r#"(module (func (export "wasmscope:instance")))"#,
    );
    place.write(
        "instance.wat",
        r#"(component (import "wasmscope-x12" (instance)))"#,
    );
    place.write(
        "passed.wat",
        r#"(component (core module $m (func)) (export "leaves" (core module $m)))"#,
    );
    let before = place.files();
    for (arguments, status, says) in [
        (
            "passed.wat -o good.wasm",
            1,
            &["passed.wat", "\"leaves\"", "not supported yet"][..],
        ),
        (
            "instance.wat -o good.wasm",
            1,
            &["instance.wat", "wasmscope-x12", "offset"],
        ),
        (
            "invalid.wat -o good.wasm",
            1,
            &["invalid.wat", "type mismatch", "offset"],
        ),
        (
            "text.wasm -o good.wasm",
            1,
            &["text.wasm", "not WebAssembly", "at byte 0"],
        ),
        ("cut.wasm -o good.wasm", 1, &["cut.wasm", "offset"]),
        (
            "nothing.wasm -o good.wasm",
            1,
            &["nothing.wasm", "No such file"],
        ),
        (
            "import.wat -o good.wasm",
            1,
            &["import.wat", "wasmscope", "offset"],
        ),
        (
            "export.wat -o good.wasm",
            1,
            &["export.wat", "wasmscope:instance", "offset"],
        ),
        ("@fib.wasm", 2, &["--output"]),
        ("-o good.wasm", 2, &["IN"]),
        (
            "--functions {a @fib.wasm -o good.wasm",
            2,
            &["--functions", "{a"],
        ),
        (
            "@fib.wasm -o missing/new.wasm",
            125,
            &["missing", "--output"],
        ),
    ] {
        let ran = place.run_as("instrument", arguments, b"");
        assert_eq!(ran.status, status, "{arguments}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        let errors = ran
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "));
        assert_eq!(errors.count(), 1, "{arguments}: {}", ran.stderr);
        for part in says {
            assert!(
                ran.stderr.contains(part),
                "{arguments}: {part}: {}",
                ran.stderr
            );
        }
        assert_eq!(fs::read(&good).unwrap(), b"good", "{arguments}");
        assert_eq!(place.files(), before, "{arguments}");
    }
    let ran = place.run_as("instrument", "@fib.wasm -o /dev/full", b"");
    assert_eq!(ran.status, 125, "{}", ran.stderr);
    assert!(ran.stderr.contains("No space left"), "{}", ran.stderr);
}
