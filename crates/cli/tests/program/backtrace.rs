//! `wasmscope backtrace`: whole stacks with their source, and the guest none the wiser.

use crate::core_dumps::engine_s_dump;
use crate::ends::BLOCKED;
use crate::program::{Place, Ran, finish};
use crate::system::open_terminal;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::process::Stdio;

/// Fails in the third of three functions; says nothing of its second.
pub(crate) const DIVIDE: &str = r#"(module
  (func $divide (param $a i32) (param $b i32) (result i32)
    (i32.div_s
      (local.get $a)
      (local.get $b)))
  (func (param i32 i32) (result i32)
    (call $divide (local.get 0) (local.get 1)))
  (func $main (export "divide") (param i32 i32) (result i32)
    (call 1 (local.get 0) (local.get 1))))
"#;

pub(crate) fn backtrace(place: &Place, arguments: &str) -> Ran {
    place.run_as("backtrace", arguments, b"")
}

/// Returns the one document on standard error.
pub(crate) fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stderr).unwrap_or_else(|error| panic!("{error}: {}", ran.stderr))
}

/// Runs it with a terminal for standard error, and returns what was written there.
fn on_a_terminal(place: &Place, arguments: &str, variables: &[(&str, &str)]) -> String {
    let (mut ours, theirs) = open_terminal(100);
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    let mut command = place.command_of("backtrace", &arguments);
    command.stderr(theirs).env_remove("NO_COLOR");
    command.env("TERM", "xterm").envs(variables.iter().copied());
    let mut child = command.spawn().unwrap();
    // Its end of the terminal closes with the last process that has it.
    drop(command);
    let mut bytes = Vec::new();
    let _ = ours.read_to_end(&mut bytes);
    assert_eq!(child.wait().unwrap().code(), Some(134));
    String::from_utf8(bytes).unwrap()
}

#[test]
fn text_is_its_own_source() {
    let place = Place::new();
    place.write("divide.wat", DIVIDE);
    let ran = backtrace(&place, "--invoke divide divide.wat 6 0");
    assert_eq!((ran.status, ran.stdout.as_str()), (134, ""));
    let expected = "\
error: divide.wat failed: wasm trap: integer divide by zero
 0: divide  divide.wat+0x2c
       at ./divide.wat:3:6
         1 | (module
         2 |   (func $divide (param $a i32) (param $b i32) (result i32)
       > 3 |     (i32.div_s
           |      ^
         4 |       (local.get $a)
         5 |       (local.get $b)))
 1: wasm-function[1]  divide.wat+0x34
       at ./divide.wat:7:6
         5 |       (local.get $b)))
         6 |   (func (param i32 i32) (result i32)
       > 7 |     (call $divide (local.get 0) (local.get 1)))
           |      ^
         8 |   (func $main (export \"divide\") (param i32 i32) (result i32)
         9 |     (call 1 (local.get 0) (local.get 1))))
 2: main  divide.wat+0x3d
       at ./divide.wat:9:6
         7 |     (call $divide (local.get 0) (local.get 1)))
         8 |   (func $main (export \"divide\") (param i32 i32) (result i32)
       > 9 |     (call 1 (local.get 0) (local.get 1))))
           |      ^
";
    assert_eq!(ran.stderr, expected);

    let ran = backtrace(&place, "--invoke divide --context 0 divide.wat 6 0");
    assert_eq!(ran.stderr.lines().count(), 1 + 3 * 4, "{}", ran.stderr);
    let ran = backtrace(&place, "--invoke divide --no-source divide.wat 6 0");
    assert_eq!(ran.stderr.lines().count(), 1 + 3 * 2, "{}", ran.stderr);
}

#[test]
fn nothing_is_said_when_nothing_fails() {
    let place = Place::new();
    place.write("divide.wat", DIVIDE);
    let ran = backtrace(&place, "--invoke divide -o stack.txt divide.wat 6 2");
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "3\n"));
    assert_eq!(ran.stderr, "");
    assert_eq!(place.files(), ["divide.wat"]);

    let ran = backtrace(&place, "@exit7.wasm 1");
    assert_eq!((ran.status, ran.stderr.as_str()), (7, ""));
    assert!(ran.stdout.starts_with("exit7 "), "{}", ran.stdout);
}

#[test]
fn a_program_in_c() {
    let place = Place::new();
    for (kind, message, line) in [
        ("unreachable", "wasm `unreachable` instruction executed", 45),
        ("oob", "out of bounds memory access", 30),
        ("divide", "integer divide by zero", 35),
        ("signature", "indirect call type mismatch", 40),
    ] {
        let guest = "--source-dir /wasmscope=@.. @trap.wasm 1".replace("@..", &root());
        let ran = backtrace(&place, &format!("{guest} {kind}"));
        assert_eq!(ran.status, 134, "{}", ran.stderr);
        assert!(ran.stdout.starts_with("trap "), "{}", ran.stdout);
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
        for name in ["level_three", "level_two", "level_one", "main", "_start"] {
            assert!(
                ran.stderr.contains(&format!(": {name}  trap.wasm+0x")),
                "{name}"
            );
        }
        assert!(
            ran.stderr
                .contains("   > 49 |     return level_three(kind, zero) + 2;\n")
        );
        if kind == "oob" {
            let source = format!("   > {line} |         return *(volatile uint32_t *)");
            assert!(ran.stderr.contains(&source), "{}", ran.stderr);
        }
        let notes: Vec<_> = ran
            .stderr
            .lines()
            .filter(|it| it.starts_with("note:"))
            .collect();
        assert_eq!(notes.len(), 1, "what is missing is said once: {notes:?}");
        assert!(notes[0].contains("libc-bottom-half") && notes[0].contains("--source-dir"));
    }
}

/// Runs out of fuel within calls that were inlined into one function.
#[test]
fn inlined_calls() {
    let place = Place::new();
    let guest =
        "--source-dir /wasmscope=@.. -W fuel=3000000 @inline.wasm 1".replace("@..", &root());
    let ran = backtrace(&place, &guest);
    assert_eq!(ran.status, 134, "{}", ran.stderr);
    let inlined = "\
    <inline::Spring as inline::Force>::at  (inlined)
       at /wasmscope/guests/src/rust/inline.rs:47:9
         45 |     #[inline(always)]
         46 |     fn at(&self, place: Vector<f64>) -> Vector<f64> {
       > 47 |         place * -self.stiffness
            |         ^
";
    assert!(ran.stderr.contains(inlined), "{}", ran.stderr);
    let json = document(&backtrace(&place, &format!("--format json {guest}")));
    assert_eq!(json["trap"], "OutOfFuel");
    let calls = json["frames"][0]["source"].as_array().unwrap();
    let inlined = calls.iter().map(|it| it["inlined"].as_bool().unwrap());
    let inlined: Vec<_> = inlined.collect();
    assert_eq!(inlined, [true, true, true, true, true, false]);
    assert_eq!(json["frames"][0]["name"], calls[5]["function"]);
}

/// The directory above the guests', which was `/wasmscope` when they were compiled.
fn root() -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.to_str().unwrap().to_owned()
}

#[test]
fn a_deep_recursion_is_folded_unless_it_is_asked_for() {
    let place = Place::new();
    let folded = backtrace(&place, "@trap.wasm 1 stack");
    assert_eq!(folded.status, 134);
    let fold = folded
        .stderr
        .lines()
        .find(|line| line.contains("more frames"))
        .unwrap();
    assert!(
        fold.contains("of the same function; --full shows them"),
        "{fold}"
    );
    let hidden: String = fold.chars().filter(char::is_ascii_digit).collect();
    let hidden: usize = hidden.parse().unwrap();
    assert!(hidden > 5_000, "{fold}");

    let frames = |text: &str| text.lines().filter(|it| it.contains("  trap.wasm")).count();
    let full = backtrace(&place, "--full @trap.wasm 1 stack");
    assert_eq!(frames(&full.stderr), frames(&folded.stderr) + hidden);
    assert!(!full.stderr.contains("more frames"));

    let json = document(&backtrace(&place, "--format json @trap.wasm 1 stack"));
    assert_eq!(
        json["frames"].as_array().unwrap().len(),
        frames(&full.stderr)
    );
    assert_eq!(json["trap"], "StackOverflow");
    assert_eq!(json["extent"], "whole");
}

#[test]
fn a_document_for_programs() {
    let place = Place::new();
    place.write("divide.wat", DIVIDE);
    let ran = backtrace(
        &place,
        "--invoke divide --format json -o stack.json divide.wat 6 0",
    );
    assert_eq!((ran.status, ran.stderr.as_str()), (134, ""));
    let text = fs::read_to_string(place.path("stack.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let fields: Vec<_> = json.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        [
            "cause", "extent", "frames", "guest", "messages", "status", "trap"
        ]
    );
    assert_eq!(json["guest"], "divide.wat");
    assert_eq!(json["status"], 134);
    assert_eq!(json["cause"], "trap");
    assert_eq!(json["trap"], "IntegerDivisionByZero");
    assert_eq!(
        json["messages"],
        serde_json::json!(["wasm trap: integer divide by zero"])
    );
    let frames = json["frames"].as_array().unwrap();
    assert_eq!(frames.len(), 3);
    assert_eq!(
        frames[0],
        serde_json::json!({
            "kind": "guest", "module": "divide.wat", "function": 0, "name": "divide",
            "offset": 0x2c, "source": [{
                "function": "divide", "symbol": "divide", "file": "./divide.wat", "line": 3,
                "column": 6, "declared_line": 2, "inlined": false,
            }],
        })
    );
    // The division itself.
    assert_eq!(wat::parse_str(DIVIDE).unwrap()[0x2c], 0x6d);
    // What is not a file is written to as it is.
    let ran = backtrace(&place, "--invoke divide -o /dev/null divide.wat 6 0");
    assert_eq!((ran.status, ran.stderr.as_str()), (134, ""));
    assert_eq!(place.files(), ["divide.wat", "stack.json"]);
}

#[test]
fn errors_of_the_host_and_exceptions() {
    let place = Place::new();
    place.write(
        "throw.wat",
        "(module (tag $e) (func $thrower (throw $e)) (func (export \"run\") (call $thrower)))",
    );
    let ran = backtrace(&place, "--invoke run --format json throw.wat");
    assert_eq!(ran.status, 1);
    let json = document(&ran);
    assert_eq!(json["cause"], "exception");
    assert_eq!(json["frames"][0]["name"], "thrower");
    assert_eq!(json["status"], 1);

    let imports = "(module (import \"a\" \"b\" (func $b)) (func $main (export \"run\") (call $b)))";
    place.write("import.wat", imports);
    let ran = backtrace(&place, "-W unknown-imports-trap --invoke run import.wat");
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("\n 0: a::b  (host)\n 1: main  import.wat+0x"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("unknown import"), "{}", ran.stderr);

    // Caught ones are the guest's own business.
    let ran = backtrace(&place, "--invoke run @exceptions.wat 1");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
}

#[test]
fn a_component() {
    let place = Place::new();
    place.write(
        "fail.wat",
        r#"(component
  (core module $a
    (func (export "leaf") (param i32)
      (drop (i32.load (local.get 0)))
      unreachable)
    (memory 1))
  (core module $b
    (import "a" "leaf" (func $leaf (param i32)))
    (func $top (export "top") (param i32)
      (call $leaf (local.get 0))))
  (core instance $a (instantiate $a))
  (core instance $b (instantiate $b (with "a" (instance $a))))
  (func (export "top") (param "at" u32) (canon lift (core func $b "top"))))
"#,
    );
    for (address, trap, line) in [
        (0, "UnreachableCodeReached", 5),
        (99_999, "MemoryOutOfBounds", 4),
    ] {
        let ran = backtrace(
            &place,
            &format!("--format json --invoke top fail.wat {address}"),
        );
        assert_eq!(ran.status, 134, "{}", ran.stderr);
        let json = document(&ran);
        assert_eq!(json["trap"], trap);
        assert_eq!(json["extent"], "whole");
        let frames = json["frames"].as_array().unwrap();
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0]["source"][0]["line"], line);
        assert_eq!(frames[1]["name"], "top");
        assert_eq!(frames[1]["source"][0]["line"], 10);
    }
    let ran = backtrace(&place, "@component.wasm 1");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
}

#[test]
fn a_guest_whose_time_is_over() {
    let place = Place::new();
    let spin = "(module\n  (func $spin (export \"_start\")\n    (loop $again (br $again))))\n";
    place.write("spin.wat", spin);
    let ran = backtrace(&place, "--timeout 2s spin.wat");
    assert_eq!(ran.status, 124, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("wasm trap: interrupt"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("0: spin") && ran.stderr.contains("> 3 |     (loop $again"));
}

/// A guest that waits in a function of the host cannot be stopped; its thread can be asked.
#[test]
fn a_guest_that_is_stuck_in_the_host() {
    let place = Place::new();
    place.write("wait.wat", BLOCKED);
    let run = |more: &str| {
        let arguments = format!("--timeout 200ms {more} wait.wat");
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let mut command = place.command_of("backtrace", &arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        // Open, and nothing ever comes.
        let stdin = child.stdin.take();
        let ran = finish(child);
        drop(stdin);
        assert_eq!(ran.status, 124, "{}", ran.stderr);
        ran
    };
    // The line that has the call.
    let line = BLOCKED.lines().position(|line| line.contains("call $read"));
    let line = line.unwrap() + 1;
    let ran = run("--no-source");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(
        lines[0],
        "error: wait.wat does not end after 200 ms; it is here:"
    );
    assert_eq!(lines[1], " 0: wasi_snapshot_preview1::fd_read  (host)");
    assert!(
        lines[2].starts_with(" 1: wait  wait.wat+0x"),
        "{}",
        lines[2]
    );
    assert!(lines[3].starts_with(&format!("       at ./wait.wat:{line}:")));
    assert_eq!(lines.len(), 4, "{}", ran.stderr);

    let ran = run("--no-source --coredump stuck.core");
    let warning = "warning: no core dump is written: the guest cannot be stopped where it is";
    assert_eq!(ran.stderr.lines().last(), Some(warning));
    assert_eq!(place.files(), ["wait.wat"]);

    let json = document(&run("--format json"));
    assert_eq!(
        (&json["cause"], &json["extent"]),
        (&"timeout".into(), &"whole".into())
    );
    assert_eq!(
        (&json["status"], &json["trap"]),
        (&124.into(), &Value::Null)
    );
    assert_eq!(json["frames"][0]["name"], "wasi_snapshot_preview1::fd_read");
    assert_eq!(json["frames"][1]["source"][0]["line"], line);
    assert_eq!(json["frames"].as_array().unwrap().len(), 2);
}

#[test]
fn colours_are_for_terminals() {
    let place = Place::new();
    place.write("divide.wat", DIVIDE);
    let arguments = "--invoke divide divide.wat 6 0";
    let plain = backtrace(&place, arguments);
    assert!(!plain.stderr.contains('\x1b'));
    let coloured = backtrace(&place, &format!("--color always {arguments}"));
    assert!(coloured.stderr.starts_with("\x1b[1m\x1b[31merror:\x1b[0m"));
    assert_eq!(
        anstream::adapter::strip_str(&coloured.stderr).to_string(),
        plain.stderr
    );
    backtrace(&place, &format!("--color always -o stack.txt {arguments}"));
    assert_eq!(
        fs::read_to_string(place.path("stack.txt")).unwrap(),
        coloured.stderr
    );
    backtrace(&place, &format!("-o stack.txt {arguments}"));
    assert_eq!(
        fs::read_to_string(place.path("stack.txt")).unwrap(),
        plain.stderr
    );

    let seen = on_a_terminal(&place, arguments, &[]);
    assert!(seen.contains("\x1b[31merror:"), "{seen}");
    for refused in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let seen = on_a_terminal(&place, arguments, &[refused]);
        assert!(!seen.contains("\x1b[31m"), "{seen}");
    }
    let seen = on_a_terminal(&place, &format!("--color never {arguments}"), &[]);
    assert!(!seen.contains("\x1b[31m"), "{seen}");
}

/// Names and source that would steer a terminal are written out.
#[test]
fn nothing_of_a_guest_steers_the_terminal() {
    let place = Place::new();
    let text =
        "(module (func $\"evil\\1b[2J\\c2\\9d\" (export \"run\") unreachable (; \x1b[5m ;)))";
    place.write("evil.wat", text);
    let ran = backtrace(&place, "--color always --invoke run evil.wat");
    assert_eq!(ran.status, 134, "{}", ran.stderr);
    let ours = ran.stderr.matches("\x1b[").count();
    assert_eq!(ran.stderr.matches('\x1b').count(), ours);
    assert!(!ran.stderr.contains("\x1b[2J") && !ran.stderr.contains("\x1b[5m"));
    assert!(ran.stderr.contains(r"\u{1b}[5m"), "{}", ran.stderr);
}

#[test]
fn bad_input_gets_one_error() {
    let place = Place::new();
    place.write("empty.wasm", "");
    place.write("divide.wat", DIVIDE);
    place.write("core", engine_s_dump(DIVIDE, "divide", &[6, 0]));
    for (arguments, status, message) in [
        ("", 2, "say which guest to run: wasmscope backtrace GUEST"),
        ("missing.wasm", 1, "failed to read missing.wasm"),
        ("empty.wasm", 1, "the file is empty"),
        (
            "--source-dir /no/such divide.wat",
            2,
            "there is no directory /no/such",
        ),
        ("--color red divide.wat", 2, "invalid value 'red'"),
        ("--format xml divide.wat", 2, "invalid value 'xml'"),
        ("-o - divide.wat", 2, "standard output is the guest's"),
        (
            "-o no/such/file divide.wat",
            125,
            "cannot write the stack to no/such/file",
        ),
        (
            "--no-source --context 3 divide.wat",
            2,
            "cannot be used with",
        ),
        ("--invoke nothing divide.wat", 2, "exports no such function"),
        (
            "--module divide.wat divide.wat",
            1,
            "failed to read a core dump",
        ),
        ("core 7", 2, "this is a core dump, which is not run"),
        (
            "--module missing.wasm core",
            1,
            "failed to read missing.wasm",
        ),
    ] {
        let ran = backtrace(&place, arguments);
        assert_eq!(ran.status, status, "{arguments}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{arguments}: {}", ran.stderr);
        assert_eq!(ran.stderr.matches("error:").count(), 1, "{}", ran.stderr);
    }
}

#[test]
fn a_standard_error_that_nobody_reads_changes_nothing() {
    let place = Place::new();
    let mut command = place.command_of("backtrace", &["--full", "trap.wasm", "1", "stack"]);
    fs::copy(crate::program::guest("trap.wasm"), place.path("trap.wasm")).unwrap();
    let mut child = command.spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(finish(child).status, 134);
}
