//! `wasmscope trace` of components: functions by their WIT names, with their own values.

use crate::expected::cases;
use crate::program::{Place, Ran, finish, guest};
use crate::real;
use crate::trace::{Events, events, ok};
use serde_json::Value;
use std::fs;

/// A component within which one calls another: one keeps its strings in UTF-16, the other
/// in UTF-8.
const COMPOSED: &str = r#"(component
  (component $loud
    (core module $m
      (memory (export "memory") 1)
      (global $free (mut i32) (i32.const 1024))
      (func $realloc (export "realloc") (param i32 i32 i32 i32) (result i32)
        (memory.copy (global.get $free) (local.get 0) (local.get 1))
        (global.get $free)
        (global.set $free (i32.add (global.get $free) (local.get 3))))
      (func $shout (export "shout") (param $at i32) (param $len i32) (result i32)
        (i32.store8 (i32.add (local.get $at) (local.get $len)) (i32.const 33))
        (i32.store (i32.const 8) (local.get $at))
        (i32.store (i32.const 12) (i32.add (local.get $len) (i32.const 1)))
        (i32.const 8)))
    (core instance $m (instantiate $m))
    (func $shout (param "what" string) (result string)
      (canon lift (core func $m "shout") (memory (core memory $m "memory")) (realloc (core func $m "realloc"))))
    (instance $voice (export "shout" (func $shout)))
    (export "test:text/voice@1.0.0" (instance $voice)))
  (component $main
    (import "test:text/voice@1.0.0" (instance $voice
      (export "shout" (func (param "what" string) (result string)))))
    (core module $libc
      (memory (export "memory") 1)
      (global $free (mut i32) (i32.const 1024))
      (func $realloc (export "realloc") (param i32 i32 i32 i32) (result i32)
        (memory.copy (global.get $free) (local.get 0) (local.get 1))
        (global.get $free)
        (global.set $free (i32.add (global.get $free) (local.get 3)))))
    (core instance $libc (instantiate $libc))
    (alias core export $libc "memory" (core memory $memory))
    (alias core export $libc "realloc" (core func $realloc))
    (alias export $voice "shout" (func $shout))
    (core func $shout (canon lower (func $shout) (memory $memory) (realloc $realloc) string-encoding=utf16))
    (core module $app
      (import "libc" "memory" (memory 1))
      (import "test:text/voice@1.0.0" "shout" (func $shout (param i32 i32 i32)))
      (func $greet (export "greet") (param $at i32) (param $len i32) (param $some i32) (param $times i32) (result i32)
        (call $shout (local.get $at) (local.get $len) (i32.const 8))
        (i32.const 8)))
    (core instance $app (instantiate $app
      (with "libc" (instance $libc))
      (with "test:text/voice@1.0.0" (instance (export "shout" (func $shout))))))
    (func (export "greet") (param "name" string) (param "times" (option u8)) (result string)
      (canon lift (core func $app "greet") (memory $memory) (realloc $realloc) string-encoding=utf16)))
  (instance $loud (instantiate $loud))
  (alias export $loud "test:text/voice@1.0.0" (instance $voice))
  (instance $main (instantiate $main
    (with "test:text/voice@1.0.0" (instance $voice))))
  (export "greet" (func $main "greet")))"#;

fn trace(place: &Place, arguments: &[&str]) -> Ran {
    let child = place.command_of("trace", arguments).spawn().unwrap();
    let ran = finish(child);
    assert_eq!(ran.status, 0, "{arguments:?}: {}", ran.stderr);
    ran
}

#[test]
fn calls_between_components_have_their_own_values() {
    let place = Place::new();
    place.write("composed.wat", COMPOSED);
    let invoke = r#"greet("ann\u{e9}", some(3))"#;
    let ran = trace(&place, &["--invoke", invoke, "composed.wat"]);
    assert_eq!(ran.stdout, "\"ann\u{e9}!\"\n");
    let expected = r#"realloc(0, 0, 2, 10) (told later) = 1024
realloc(1024, 10, 2, 8) (told later) = 1034
greet("anné", some(3))
  greet(1034, 4, 1, 3)
    test:text/voice@1.0.0#shout("anné")
      realloc(0, 0, 1, 4) (told later) = 1024
      realloc(1024, 4, 1, 12) (told later) = 1028
      realloc(1028, 12, 1, 5) (told later) = 1040
      test:text/voice@1.0.0#shout("anné")
        shout(1040, 5) = 8
      test:text/voice@1.0.0#shout = "anné!"
      realloc(0, 0, 2, 12) (told later) = 1042
      realloc(1042, 12, 2, 10) (told later) = 1054
    test:text/voice@1.0.0#shout = "anné!"
  greet = 8
greet = "anné!"
"#;
    assert_eq!(ran.stderr, expected);
    for (flags, expected) in [
        (
            &["--imports"][..],
            "test:text/voice@1.0.0#shout(\"anné\") = \"anné!\"\n",
        ),
        (
            &["--functions", "test:*#shout"],
            "test:text/voice@1.0.0#shout(\"anné\")\n  test:text/voice@1.0.0#shout(\"anné\") = \
             \"anné!\"\ntest:text/voice@1.0.0#shout = \"anné!\"\n",
        ),
        (
            &["--depth", "1", "--functions", "greet"],
            "greet(\"anné\", some(3)) = \"anné!\"\n",
        ),
        (
            &["--strings", "2", "--imports"],
            "test:text/voice@1.0.0#shout(\"a\"...) = \"a\"...\n",
        ),
    ] {
        let arguments = [flags, &["--invoke", invoke, "composed.wat"]].concat();
        let ran = trace(&place, &arguments);
        assert_eq!(ran.stdout, "\"ann\u{e9}!\"\n");
        assert_eq!(ran.stderr, expected, "{flags:?}");
    }
}

#[test]
fn json_and_chrome_have_typed_values() {
    let place = Place::new();
    place.write("composed.wat", COMPOSED);
    let invoke = r#"greet("ann", none)"#;
    trace(
        &place,
        &["-o", "t.jsonl", "--invoke", invoke, "composed.wat"],
    );
    let events = events(&place.path("t.jsonl"));
    assert_eq!((events.calls("shout"), events.calls("greet")), (3, 2));
    let greet = events
        .first
        .iter()
        .find(|event| event["function"] == "greet");
    let greet = greet.unwrap();
    assert_eq!(greet["args"][0]["type"], "string");
    assert_eq!(greet["args"][0]["value"], "ann");
    assert_eq!(greet["args"][1]["name"], "times");
    assert_eq!(greet["args"][1]["value"], Value::Null);
    assert_eq!(events.first[0]["deferred"], true);
    assert_eq!(events.last["results"][0]["value"], "ann!");

    trace(
        &place,
        &["-o", "t.json", "--invoke", invoke, "composed.wat"],
    );
    let text = fs::read_to_string(place.path("t.json")).unwrap();
    let chrome: Vec<Value> = serde_json::from_str(&text).unwrap();
    let named = |name: &str| chrome.iter().filter(|event| event["name"] == name).count();
    // Opened and closed on both sides.
    assert_eq!(named("test:text/voice@1.0.0#shout"), 4);
}

/// Checks that a component wrote what it did through calls that the trace has.
fn check_writes(events: &Events) {
    let writes = events
        .calls
        .keys()
        .filter(|name| name.starts_with("[method]output-stream.") && name.contains("write"));
    assert!(writes.count() > 0, "{:?}", events.calls);
    assert_eq!(events.calls("get-stdout"), 1);
    assert_eq!(events.ends("abort"), 0);
}

#[test]
fn every_component_does_what_it_must_while_it_is_traced() {
    let mut cases = cases("expected.txt");
    cases.retain(|case| !case.is_core() && !case.is_long());
    assert!(cases.len() >= 4);
    for case in cases {
        let place = Place::new();
        let mut all = Events::default();
        // One makes a million calls of its own, which is more than a test has time for.
        if case.arguments != "1000000" {
            case.check_as(&place, "trace", "-o t.jsonl");
            all = events(&place.path("t.jsonl"));
            assert!(all.calls.values().sum::<u64>() > 0, "{}", case.file);
        }
        case.check_as(&place, "trace", "-q --imports -o t.jsonl");
        let imports = events(&place.path("t.jsonl"));
        for (name, calls) in &imports.calls {
            assert!(all.calls(name) >= *calls, "{name}");
        }
        if case.file == "component.wasm" {
            check_writes(&all);
            check_writes(&imports);
        }
        assert_eq!(place.files(), ["t.jsonl"]);
    }
}

#[test]
fn what_a_component_does_is_read_in_its_imports() {
    let place = Place::new();
    let ran = ok(&place, "--imports @component.wasm 1");
    let (written, expected) = (ran.stdout.trim_end(), "component 55178349b367a2cf");
    assert_eq!(written, expected);
    for (function, rest) in [
        (
            "wasi:cli/environment@0.2.12#get-arguments",
            "() = [\"component.wasm\", \"1\"]",
        ),
        ("wasi:cli/stdout@0.2.12#get-stdout", "() = output-stream #"),
        ("wasi:filesystem/preopens@0.2.12#get-directories", "() = []"),
        (
            "wasi:io/streams@0.2.12#[method]output-stream.blocking-write-and-flush",
            &format!("(output-stream #2, b\"{expected}\") = ok"),
        ),
    ] {
        let line = format!("{function}{rest}");
        assert!(ran.stderr.contains(&line), "{line}\n{}", ran.stderr);
    }
    // The adapter's side of WASI p1 is decoded from the component's memory.
    let ran = ok(&place, "--functions *args_sizes_get @component.wasm 1");
    let line = "wasi.args_sizes_get = argc=2, argv_buf_size=17 (errno success)";
    assert!(ran.stderr.contains(line), "{}", ran.stderr);
}

/// Traces the imports of a program that is not in the repository.
fn check_real(file: &str) {
    if real::is_missing(file) {
        return;
    }
    let cases = cases("expected-real.txt");
    for case in cases.iter().filter(|case| case.file == file) {
        let place = Place::new();
        case.check_as(&place, "trace", "--imports -o t.jsonl");
        check_writes(&events(&place.path("t.jsonl")));
    }
    assert!(guest(file).exists());
}

#[test]
fn cpython_as_a_component() {
    check_real("real/python-component.wasm");
}

#[test]
fn javascript_as_a_component() {
    check_real("real/js-component.wasm");
}
