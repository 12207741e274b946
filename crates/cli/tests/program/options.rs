//! Options that `wasmtime run` has do what they do there, and help teaches them.

use crate::program::{Place, Ran};
use std::fs;

/// Prints what WASI gives it: `args`, `env`, or a `file`.
fn ok(ran: Ran) -> Ran {
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    ran
}

/// Writes what a function of WASI that fills a table of texts gives, one after the
/// other with a zero after each.
fn lister(what: &str) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "{what}_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "{what}_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $get (i32.const 1024) (i32.const 4096)))
    (i32.store (i32.const 0) (i32.const 4096))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#
    )
}

#[test]
fn arguments_and_environment_reach_the_guest() {
    let place = Place::new();
    place.write("args.wat", lister("args"));
    let ran = ok(place.run("args.wat one --rate -o=x"));
    assert_eq!(ran.stdout, "args.wat\0one\0--rate\0-o=x\0");

    place.write("env.wat", lister("environ"));
    assert_eq!(ok(place.run("env.wat")).stdout, "");
    let ran = ok(place.run("--env A=1 --env B=x=y --env NOT_SET_ANYWHERE env.wat"));
    assert_eq!(ran.stdout, "A=1\0B=x=y\0");
    let path = std::env::var("PATH").unwrap();
    assert_eq!(
        ok(place.run("--env PATH env.wat")).stdout,
        format!("PATH={path}\0")
    );
    let ran = ok(place.run("-S inherit-env env.wat"));
    assert!(
        ran.stdout.contains(&format!("PATH={path}\0")),
        "{}",
        ran.stdout
    );
}

#[test]
fn directories_are_opened_under_the_name_that_is_asked_for() {
    let place = Place::new();
    place.write(
        "name.wat",
        r#"(module
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name"
    (func $name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\00\04\00\00\05\00\00\00")
  (func (export "_start")
    (drop (call $name (i32.const 3) (i32.const 1024) (i32.const 5)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#,
    );
    fs::create_dir(place.path("inner")).unwrap();
    assert_eq!(ok(place.run("--dir inner name.wat")).stdout, "inner");
    assert_eq!(ok(place.run("--dir inner::/here name.wat")).stdout, "/here");
}

#[test]
fn streams_can_be_kept_from_the_guest() {
    let place = Place::new();
    assert_eq!(ok(place.run("-S inherit-stdout=n @fib.wasm 1")).stdout, "");
    let ran = place.run_with("-S inherit-stdin=n @echo.wasm", b"one\n");
    assert!(ok(ran).stdout.starts_with("echo 0 lines"));
}

#[test]
fn limits_hold() {
    let place = Place::new();
    let grow = "(module (memory 1) (func (export \"grow\") (result i32)
        (memory.grow (i32.const 10))))";
    place.write("grow.wat", grow);
    assert_eq!(ok(place.run("--invoke grow grow.wat")).stdout, "1\n");
    let ran = place.run("-W max-memory-size=100000 --invoke grow grow.wat");
    assert_eq!(ok(ran).stdout, "-1\n");
    let ran = place.run("-W max-memory-size=100000,trap-on-grow-failure --invoke grow grow.wat");
    assert_ne!(ran.status, 0);
    let ran = place.run("-W fuel=1000 @fib.wasm 1");
    assert_eq!(ran.status, 134, "{}", ran.stderr);
    assert!(ran.stderr.contains("fuel"), "{}", ran.stderr);
}

#[test]
fn proposals_can_be_turned_off_and_on() {
    let place = Place::new();
    let ran = place.run("-W tail-call=n @tailcalls.wat");
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("tail calls"), "{}", ran.stderr);
    place.write(
        "wide.wat",
        "(module (func (export \"_start\")
        (i64.add128 (i64.const 1) (i64.const 0) (i64.const 1) (i64.const 0)) drop drop))",
    );
    assert_eq!(place.run("wide.wat").status, 1);
    ok(place.run("-W wide-arithmetic wide.wat"));
}

#[test]
fn the_other_compiler_is_profiled_as_well() {
    let place = Place::new();
    for options in ["-C compiler=winch", "-O opt-level=0", "-C inlining"] {
        let ran = ok(place.run(&format!("{options} @fib.wasm 20")));
        assert!(ran.stdout.starts_with("fib "));
        place.firefox("fib.profile.json.gz").function("fib");
    }
}

#[test]
fn calls_that_are_inlined_cannot_be_traced() {
    let place = Place::new();
    place.write(
        "plain.wat",
        r#"(module (func $leaf) (func $main (export "_start") (call $leaf)))"#,
    );
    for guest in ["plain.wat", "@component-add.wat"] {
        let ran = place.trace(&format!("-C inlining {guest}"));
        assert_eq!(ran.status, 1, "{}", ran.stderr);
        assert_eq!(ran.stdout, "", "the guest does not run");
        assert!(ran.stderr.contains("compiler_inlining"), "{}", ran.stderr);
    }
    let traced = ok(place.trace("-C inlining=n plain.wat"));
    assert!(traced.stdout.contains("leaf") || traced.stderr.contains("leaf"));
}

#[test]
fn a_component_is_called_as_in_wasmtime() {
    let place = Place::new();
    let arguments = ["--invoke", "add(2, 3)"];
    let guest = crate::program::guest("component-add.wat");
    let child = place.command(&arguments).arg(guest).spawn().unwrap();
    assert_eq!(ok(crate::program::finish(child)).stdout, "5\n");
}

#[test]
fn components_take_and_return_values_of_all_types() {
    let place = Place::new();
    place.write(
        "back.wat",
        r#"(component
  (type $item' (record (field "name" string) (field "sizes" (list u32)) (field "note" (option string))))
  (export $item "item" (type $item'))
  (type $items (list $item))
  (core module $m
    (memory (export "memory") 1)
    (global $heap (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
      (global.get $heap)
      (global.set $heap (i32.add (global.get $heap) (local.get 3))))
    (func (export "back") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0))
      (i32.store (i32.const 20) (local.get 1))
      (i32.const 16)))
  (core instance $m (instantiate $m))
  (func (export "back") (param "items" $items) (result $items)
    (canon lift (core func $m "back") (memory (core memory $m "memory")) (realloc (core func $m "realloc")))))"#,
    );
    let items = r#"[{name: "a", sizes: [1, 2], note: some("x")}, {name: "\"", sizes: []}]"#;
    let call = format!("back({items})");
    for arguments in [
        &["--invoke", &call, "back.wat"][..],
        &["--invoke", "back", "back.wat", items],
    ] {
        let child = place.command(&[]).args(arguments).spawn().unwrap();
        let ran = ok(crate::program::finish(child));
        assert_eq!(ran.stdout, format!("{items}\n"));
    }
    let child = place
        .command(&["--invoke", "back([{name: 5}])", "back.wat"])
        .spawn();
    let ran = crate::program::finish(child.unwrap());
    assert_eq!(ran.status, 2);
    let says =
        "--invoke back: parameter items: invalid value type at \"5\"; its type is list<record {";
    assert!(ran.stderr.contains(says), "{}", ran.stderr);
}

#[test]
fn quiet_is_quiet() {
    let ran = ok(Place::new().run("-q @fib.wasm 1"));
    assert_eq!(ran.stderr, "");
    let ran = ok(Place::new().run("--top 0 @fib.wasm 1"));
    assert_eq!(ran.stderr.lines().count(), 2, "{}", ran.stderr);
}

#[test]
fn help_teaches() {
    let place = Place::new();
    let help = ok(place.run("--help")).stdout;
    for text in [
        "Examples:",
        "Exit status:",
        "124",
        "--rate",
        "Firefox Profiler",
        ".folded",
        "--dir",
    ] {
        assert!(help.contains(text), "{text}");
    }
    for (flag, setting) in [
        ("-W", "max-memory-size=N"),
        ("-S", "inherit-env"),
        ("-C", "compiler=cranelift|winch"),
        ("-O", "opt-level=0|1|2|s"),
    ] {
        let list = ok(place.run(&format!("{flag} help"))).stdout;
        assert!(list.contains(&format!("{flag} {setting}")), "{list}");
    }
}
