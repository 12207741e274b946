//! `wasmscope trace`: every call once, in every format, and the guest none the wiser.

use crate::expected::{Case, cases};
use crate::program::{Place, Ran, finish, guest};
use crate::system::{Signal, send};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

/// Plain recursion, with a known number of calls: for `n`, twice the Fibonacci number
/// after, less one.
const FIB: &str = r#"(module
  (func $fib (export "fib") (param $n i32) (result i32)
    (if (i32.lt_u (local.get $n) (i32.const 2)) (then (return (local.get $n))))
    (i32.add (call $fib (i32.sub (local.get $n) (i32.const 1)))
      (call $fib (i32.sub (local.get $n) (i32.const 2))))))"#;

/// Writes a line to a stream, with a function of its own around the call of WASI.
fn writer(stream: u32, tail: &str) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\06\00\00\00\00\00\00\00\00\00\00\00hello\n")
  (func $say (param $stream i32)
    (drop (call $write (local.get $stream) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $main (export "_start") (call $say (i32.const {stream})) {tail}))"#
    )
}

/// What is in a trace of JSON lines.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// How often each function was called, and functions of WASI with each descriptor.
    pub(crate) calls: BTreeMap<String, u64>,
    /// How often calls ended in each way.
    pub(crate) ends: BTreeMap<String, u64>,
    /// The causes of aborts.
    pub(crate) causes: BTreeMap<String, u64>,
    pub(crate) deepest: u64,
    /// The first of them.
    pub(crate) first: Vec<Value>,
    pub(crate) last: Value,
}

/// Reads a trace and checks that each call opens and closes once, innermost first.
pub(crate) fn events(path: &Path) -> Events {
    let mut events = Events::default();
    let mut open: HashMap<u64, Vec<u64>> = HashMap::new();
    for line in BufReader::new(fs::File::open(path).unwrap()).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let number = |name: &str| event[name].as_u64().unwrap();
        let stack = open.entry(number("stack")).or_default();
        if event["event"] == "open" {
            assert_eq!(number("depth"), stack.len() as u64, "{event}");
            stack.push(number("id"));
            let name = event["function"].as_str().unwrap().to_owned();
            if let Some(fd) = event["decoded"]["fd"].as_u64() {
                let name = format!("{name}({fd})");
                *events.calls.entry(name).or_default() += 1;
            }
            *events.calls.entry(name).or_default() += 1;
            events.deepest = events.deepest.max(number("depth"));
        } else {
            assert_eq!(stack.pop(), Some(number("id")), "{event}");
            let end = event["end"].as_str().unwrap().to_owned();
            *events.ends.entry(end).or_default() += 1;
            if let Some(kind) = event["cause"]["kind"].as_str() {
                *events.causes.entry(kind.to_owned()).or_default() += 1;
            }
        }
        if events.first.len() < 1000 {
            events.first.push(event.clone());
        }
        events.last = event;
    }
    assert!(open.values().all(Vec::is_empty), "all calls are closed");
    events
}

impl Events {
    pub(crate) fn calls(&self, function: &str) -> u64 {
        self.calls.get(function).copied().unwrap_or(0)
    }

    pub(crate) fn ends(&self, end: &str) -> u64 {
        self.ends.get(end).copied().unwrap_or(0)
    }
}

/// Runs `wasmscope trace` and expects success.
pub(crate) fn ok(place: &Place, arguments: &str) -> Ran {
    let ran = place.trace(arguments);
    assert_eq!(ran.status, 0, "{arguments}: {}", ran.stderr);
    ran
}

#[test]
fn calls_are_nested_with_values_and_results() {
    let place = Place::new();
    place.write("fib.wat", FIB);
    let ran = ok(&place, "--invoke fib fib.wat 3");
    assert_eq!(ran.stdout, "2\n");
    assert_eq!(
        ran.stderr,
        "fib(3)\n  fib(2)\n    fib(1) = 1\n    fib(0) = 0\n  fib = 1\n  fib(1) = 1\nfib = 2\n"
    );
}

#[test]
fn every_call_is_in_the_trace_once() {
    let place = Place::new();
    place.write("fib.wat", FIB);
    let ran = ok(&place, "-o t.jsonl --invoke fib fib.wat 18");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("2584\n", ""));
    let events = events(&place.path("t.jsonl"));
    // Twice the nineteenth Fibonacci number, less one.
    assert_eq!(events.calls("fib"), 8361);
    assert_eq!(events.ends("return"), 8361);
    assert_eq!(events.deepest, 17);
    assert_eq!(events.last["results"][0]["value"], 2584);

    // A function that the host calls for its result alone, in Chrome's format.
    ok(&place, "-o t.json --invoke fib fib.wat 10");
    let text = fs::read_to_string(place.path("t.json")).unwrap();
    let chrome: Vec<Value> = serde_json::from_str(&text).unwrap();
    let count = |phase: &str| chrome.iter().filter(|event| event["ph"] == phase).count();
    assert_eq!((count("B"), count("E")), (177, 177));
    assert_eq!(chrome[1]["args"]["n"], 10);
}

#[test]
fn calls_of_wasi_say_what_they_do() {
    let place = Place::new();
    place.write("hello.wat", writer(1, ""));
    let ran = ok(&place, "hello.wat");
    assert_eq!(ran.stdout, "hello\n");
    assert_eq!(
        ran.stderr,
        "main()\n  say(1)\n    wasi.fd_write(1, [\"hello\\n\"]) = 6 (errno success)\n  say = \
         ()\nmain = ()\n"
    );
    let ran = ok(&place, "--imports --strings 2 hello.wat");
    assert_eq!(
        ran.stderr,
        "wasi.fd_write(1, [\"he\"...]) = 6 (errno success)\n"
    );
    // Where both go to one place they are in order.
    place.write("error.wat", writer(2, "(call $say (i32.const 9))"));
    let ran = ok(&place, "--imports error.wat");
    assert_eq!(
        ran.stderr,
        "wasi.fd_write(2, [\"hello\\n\"])hello\n = 6 (errno success)\n\
         wasi.fd_write(9, [\"hello\\n\"]) = errno badf\n"
    );
}

#[test]
fn files_that_a_guest_opens_are_named() {
    let place = Place::new();
    fs::create_dir(place.path("data")).unwrap();
    place.write("data/notes.txt", "what is in it\n");
    place.write(
        "reads.wat",
        r#"(module
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\00\01\00\00\40\00\00\00")
  (data (i32.const 64) "notes.txtmissing")
  (func $main (export "_start")
    (drop (call $sizes (i32.const 16) (i32.const 20)))
    (drop (call $args (i32.const 512) (i32.const 600)))
    (drop (call $prestat (i32.const 3) (i32.const 16)))
    (drop (call $open (i32.const 3) (i32.const 1) (i32.const 64) (i32.const 9) (i32.const 0)
      (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 24)))
    (drop (call $read (i32.load (i32.const 24)) (i32.const 0) (i32.const 1) (i32.const 28)))
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 73) (i32.const 7) (i32.const 9)
      (i64.const 2) (i64.const 0) (i32.const 1) (i32.const 24)))
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 73) (i32.const 7) (i32.const 0)
      (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 100000000)))))"#,
    );
    let ran = place.trace("--imports --dir data::/d reads.wat one two");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(
        lines[0],
        "wasi.args_sizes_get() = argc=3, argv_buf_size=18 (errno success)"
    );
    assert_eq!(
        lines[1],
        "wasi.args_get() = [\"reads.wat\", \"one\", \"two\"] (errno success)"
    );
    assert_eq!(
        lines[2],
        "wasi.fd_prestat_get(3) = {dir={pr_name_len=2}} (errno success)"
    );
    assert_eq!(
        lines[3],
        "wasi.path_open(3, symlink_follow, \"notes.txt\", 0, fd_read, 0, 0) = 4 (errno success)"
    );
    assert_eq!(
        lines[4],
        "wasi.fd_read(4, [64]) = iovs=[\"what is in it\\n\"], nread=14 (errno success)"
    );
    assert!(
        lines[5]
            .starts_with("wasi.path_open(3, 0, \"missing\", creat|trunc, fd_read, 0, append) = "),
        "{}",
        lines[5]
    );
    // A pointer that leads nowhere is an error of this host.
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let error = "In func wasi_snapshot_preview1::path_open at write fd: Pointer out of bounds";
    assert!(
        lines[6].starts_with(&format!(
            "wasi.path_open(3, 0, \"missing\", 0, fd_read, 0, 0) ! error: {error}"
        )),
        "{}",
        lines[6]
    );
    assert!(lines[7].starts_with(&format!("error: reads.wat failed: {error}")));
    let stack = [
        " 0: wasi_snapshot_preview1::path_open  (host)",
        " 1: main  reads.wat+0x",
        "       at ./reads.wat:",
    ];
    assert_eq!(lines.len(), 8 + stack.len(), "{}", ran.stderr);
    for (line, begin) in lines[8..].iter().zip(stack) {
        assert!(line.starts_with(begin), "{line}");
    }
}

#[test]
fn filters_choose_functions_and_depth() {
    let place = Place::new();
    place.write("hello.wat", writer(1, ""));
    for (flags, expected) in [
        ("--functions say", "say(1) = ()\n"),
        (
            "--functions sa? --functions m*n",
            "main()\n  say(1) = ()\nmain = ()\n",
        ),
        (
            "--functions wasi_snapshot_preview1.*",
            "wasi.fd_write(1, [\"hello\\n\"]) = 6 (errno success)\n",
        ),
        ("--functions _start", "main() = ()\n"),
        ("--depth 1", "main() = ()\n"),
        ("--depth 2", "main()\n  say(1) = ()\nmain = ()\n"),
        (
            "--imports --functions {fd_write,say}",
            "wasi.fd_write(1, [\"hello\\n\"]) = 6 (errno success)\n",
        ),
    ] {
        let ran = ok(&place, &format!("{flags} hello.wat"));
        assert_eq!(ran.stdout, "hello\n", "{flags}");
        assert_eq!(ran.stderr, expected, "{flags}");
    }
    let ran = ok(&place, "--functions nothing hello.wat");
    assert_eq!(ran.stdout, "hello\n");
    assert!(
        ran.stderr
            .starts_with("warning: hello.wat: no function is traced"),
        "{}",
        ran.stderr
    );
    assert_eq!(ok(&place, "-q --functions nothing hello.wat").stderr, "");
}

#[test]
fn names_of_rust_are_demangled_and_matched_either_way() {
    let place = Place::new();
    let arguments = "-o t.jsonl --functions report::Parser::parse_value @report.wasm 1";
    ok(&place, arguments);
    let parsed = events(&place.path("t.jsonl"));
    let calls = parsed.calls("report::Parser::parse_value");
    assert!(calls > 100, "{:?}", parsed.calls);
    ok(
        &place,
        "-o t.jsonl --functions _ZN6report6Parser11parse_value* @report.wasm 1",
    );
    let again = events(&place.path("t.jsonl"));
    assert_eq!(again.calls, parsed.calls, "the same every time");
}

/// The cases of core modules that fit a test.
fn core_cases() -> Vec<Case> {
    let mut cases = cases("expected.txt");
    cases.retain(|case| case.is_core() && !case.is_long() && !case.needs_more());
    cases
}

#[test]
fn every_guest_does_what_it_must_while_its_host_calls_are_traced() {
    for case in core_cases() {
        let place = Place::new();
        let ran = case.check_as(&place, "trace", "--imports -o t.jsonl");
        let events = events(&place.path("t.jsonl"));
        // What it wrote went through calls that the trace has.
        if !case.stdout.is_empty() {
            assert!(events.calls("fd_write") > 0, "{}: {ran:?}", case.file);
        }
        assert_eq!(place.files(), ["t.jsonl"]);
    }
}

#[test]
fn every_guest_does_what_it_must_while_the_outermost_calls_are_traced() {
    // Calls cost something also where they are not shown.
    for case in core_cases().iter().filter(|case| !case.is_busy()) {
        let place = Place::new();
        case.check_as(&place, "trace", "--depth 3 -o t.jsonl");
        let events = events(&place.path("t.jsonl"));
        assert!(events.deepest <= 2);
        assert_eq!(events.first[0]["depth"], 0, "{}", case.file);
        assert_eq!(events.last["depth"], 0, "{}", case.file);
    }
}

#[test]
fn host_calls_are_counted_exactly() {
    let place = Place::new();
    ok(&place, "--imports -o t.jsonl @hostcalls.wasm 1");
    let events = events(&place.path("t.jsonl"));
    // As the guest's source has it: every time, every 16th, every 64th.
    assert_eq!(events.calls("clock_time_get"), 100_000);
    assert_eq!(events.calls("random_get"), 6_250);
    assert_eq!(events.calls("fd_write(2)"), 1_563);
    assert!(events.calls("fd_write(1)") >= 1, "the line that it prints");
    let clock = events
        .first
        .iter()
        .find(|event| event["function"] == "clock_time_get" && event["event"] == "close");
    let decoded = &clock.unwrap()["decoded"];
    assert_eq!(decoded["errno"], "success");
    let time: u64 = decoded["outputs"]["time"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(time > 0);
}

#[test]
fn an_exit_closes_every_call_and_passes_through() {
    let place = Place::new();
    let ran = place.trace("-o t.jsonl @exit7.wasm 1");
    assert_eq!(ran.status, 7, "{}", ran.stderr);
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("exit7 61130765969fc1c8\n", "")
    );
    let events = events(&place.path("t.jsonl"));
    assert_eq!(events.calls("proc_exit"), 1);
    let open = events.causes["exit"];
    assert!(open >= 2, "{:?}", events.causes);
    assert_eq!(events.last["depth"], 0);
    assert_eq!(events.last["cause"]["status"], 7);
    assert_eq!(events.ends("abort"), open);

    place.write("exit.wat", writer(1, "(call $exit (i32.const 3))"));
    let ran = place.trace("--functions {main,proc_exit} exit.wat");
    assert_eq!(ran.status, 3);
    assert_eq!(
        ran.stderr,
        "main()\n  wasi.proc_exit(3) ! exit 3\nmain ! exit 3\n"
    );
}

/// Checks the stack that `trap.wasm` leaves when it fails: the original's, also where it ran with
/// probes, in lines of `trap.c`.
pub(crate) fn check_stack(ran: &Ran, way: &str) {
    let (_, stack) = ran.stderr.split_once("error: trap.wasm failed: ").unwrap();
    let lines: Vec<&str> = stack.lines().skip(1).collect();
    let fails = match way {
        // The engine traps where the branch is that leads to nothing but a trap.
        "" | "unreachable" => 42,
        "oob" => 30,
        "divide" => 35,
        "signature" => 40,
        _ => panic!("{way}"),
    };
    let expected = [
        ("level_three", fails),
        ("level_two", 49),
        ("level_one", 53),
        ("main", 60),
    ];
    for (number, (function, line)) in expected.into_iter().enumerate() {
        let frame = format!(" {number}: {function}  trap.wasm+0x");
        assert!(lines[2 * number].starts_with(&frame), "{}", ran.stderr);
        let place = format!("       at /wasmscope/guests/src/c/trap.c:{line}:");
        assert!(lines[2 * number + 1].starts_with(&place), "{}", ran.stderr);
    }
    let oldest = " 7: _start.command_export  trap.wasm+0x";
    assert!(lines[13].starts_with(oldest), "{}", ran.stderr);
}

#[test]
fn a_trap_closes_every_call_with_its_cause() {
    let place = Place::new();
    for (argument, cause, says) in [
        ("", "trap", "unreachable"),
        (" oob", "trap", "out of bounds"),
        (" divide", "trap", "divide by zero"),
        (" signature", "trap", "indirect call type mismatch"),
    ] {
        let ran = place.trace(&format!("-o t.jsonl @trap.wasm 1{argument}"));
        assert_eq!(ran.status, 134, "{}", ran.stderr);
        assert_eq!(ran.stdout, "trap 05f5e1b08c38550f\n");
        check_stack(&ran, argument.trim());
        let events = events(&place.path("t.jsonl"));
        assert!(events.causes[cause] >= 3, "{:?}", events.causes);
        assert_eq!(events.ends("abort"), events.causes[cause]);
        let message = events.last["cause"]["message"].clone();
        assert!(message.as_str().unwrap().contains(says), "{message}");
    }
    let ran = place.trace("-o t.jsonl @trap.wasm 1 stack");
    assert_eq!(ran.status, 134, "{}", ran.stderr);
    let events = events(&place.path("t.jsonl"));
    assert_eq!(events.ends("abort"), events.causes["stack overflow"]);
    assert!(events.deepest > 1000, "{}", events.deepest);
}

#[test]
fn tail_calls_and_exceptions_close_what_they_leave() {
    let place = Place::new();
    let functions = "--functions {run,even,odd}";
    let ran = ok(
        &place,
        &format!("-o t.jsonl {functions} --invoke run @tailcalls.wat 1"),
    );
    assert_eq!(ran.stdout, "-961906543625616239\n");
    let tails = events(&place.path("t.jsonl"));
    // Each call but the last of a round makes way for the next.
    let rounds = tails.ends("return") - 1;
    assert!(rounds > 0 && tails.calls("odd") > 1000, "{:?}", tails.calls);
    let calls = tails.calls("even") + tails.calls("odd");
    assert_eq!(tails.ends("tail call"), calls - rounds);
    assert_eq!(tails.ends("abort"), 0);

    let ran = ok(&place, "-o t.jsonl --invoke run @exceptions.wat 1");
    assert_eq!(ran.stdout, "-381203135732814124\n");
    let thrown = events(&place.path("t.jsonl"));
    assert!(thrown.causes["exception"] > 100, "{:?}", thrown.causes);
    assert_eq!(thrown.ends("abort"), thrown.causes["exception"]);

    place.write(
        "small.wat",
        r#"(module
  (tag $t)
  (func $throws (throw $t))
  (func $passes (call $throws))
  (func $last (param i32) (result i32) (local.get 0))
  (func $run (export "run") (result i32)
    (block $caught (try_table (catch_all $caught) (call $passes)))
    (return_call $last (i32.const 5))))"#,
    );
    let ran = ok(&place, "--invoke run small.wat");
    assert_eq!(
        ran.stderr,
        "run()\n  passes()\n    throws() ! exception\n  passes ! exception\nrun => tail call\n\
         last(5) = 5\n"
    );

    // Nobody catches it but the probes, which throw it on: the engine's stack is of the last.
    place.write(
        "thrown.wat",
        "(module (tag $t) (func $throws (throw $t)) (func $run (export \"run\") (call $throws)))",
    );
    let ran = place.trace("--invoke run thrown.wat");
    assert_eq!(ran.status, 1);
    let expected = "\
run()
  throws() ! exception
run ! exception
error: thrown.wat failed: thrown Wasm exception
 0: run  thrown.wat
note: the exception was caught there and thrown on: where it was thrown first is not known
";
    assert_eq!(ran.stderr, expected);
}

#[test]
fn a_guest_that_cannot_run_costs_nobody_an_older_trace() {
    let place = Place::new();
    place.write(
        "missing.wat",
        r#"(module (import "env" "now" (func)) (func (export "_start")))"#,
    );
    place.write(
        "invalid.wat",
        "(module (func (export \"_start\") i32.add drop))",
    );
    place.write(
        "reserved.wat",
        r#"(module (import "wasmscope" "before0" (func)) (func (export "_start")))"#,
    );
    place.write("t.jsonl", "good");
    let before = place.files();
    for (arguments, status, says) in [
        ("missing.wat", 1, &["missing.wat", "now", "env"][..]),
        (
            "invalid.wat",
            1,
            &["invalid.wat", "type mismatch", "offset"],
        ),
        ("reserved.wat", 1, &["reserved.wat", "wasmscope"]),
        ("nothing.wasm", 1, &["nothing.wasm", "No such file"]),
        ("@reactor.wasm", 1, &["reactor.wasm", "--invoke"]),
        ("--invoke nope @reactor.wasm", 2, &["nope", "add(i32, i32)"]),
        ("--functions [a @fib.wasm", 2, &["--functions", "[a"]),
        ("--format xml @fib.wasm", 2, &["xml", "text, json, chrome"]),
        ("--depth deep @fib.wasm", 2, &["--depth", "deep"]),
        ("--dir missing @fib.wasm", 1, &["--dir", "missing"]),
        ("", 2, &["which guest", "wasmscope trace"]),
    ] {
        let ran = place.trace(&format!("-o t.jsonl {arguments}"));
        assert_eq!(ran.status, status, "{arguments}: {}", ran.stderr);
        let errors = ran
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "));
        assert_eq!(errors.count(), 1, "{arguments}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        for part in says {
            assert!(
                ran.stderr.contains(part),
                "{arguments}: {part}: {}",
                ran.stderr
            );
        }
        assert_eq!(ran.stdout, "", "{arguments}");
        assert_eq!(place.files(), before, "{arguments}");
        assert_eq!(fs::read(place.path("t.jsonl")).unwrap(), b"good");
    }
    for (output, says) in [("missing/t.txt", "no directory"), ("-", "standard output")] {
        let ran = place.trace(&format!("-o {output} @fib.wasm 1"));
        assert!(matches!(ran.status, 2 | 125), "{}", ran.stderr);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    }
}

#[test]
fn a_full_disk_ends_the_trace_and_not_the_guest() {
    assert!(Path::new("/dev/full").exists(), "this test needs /dev/full");
    let place = Place::new();
    for format in ["text", "json", "chrome"] {
        let arguments = format!("-o /dev/full --format {format} --imports @hostcalls.wasm 1");
        let ran = place.trace(&arguments);
        assert_eq!(ran.status, 125, "{}", ran.stderr);
        assert_eq!(ran.stdout, "hostcalls 100000 backwards 0 failed 0\n");
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        for part in ["error: ", "/dev/full", "No space left"] {
            assert!(ran.stderr.contains(part), "{}", ran.stderr);
        }
    }
}

/// Waits in a host call that does not return.
const BLOCKED: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\01\00\00\00")
  (func $wait (export "_start")
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 32)))))"#;

#[test]
fn a_call_that_does_not_return_is_seen_and_kept() {
    let place = Place::new();
    place.write("blocked.wat", BLOCKED);
    // Seen at once, without the end of its line.
    let arguments = ["blocked.wat"];
    let mut command = place.command_of("trace", &arguments);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let expected = b"wait()\n  wasi.fd_read(0, [1])";
    let mut seen = vec![0; expected.len()];
    child
        .stderr
        .as_mut()
        .unwrap()
        .read_exact(&mut seen)
        .unwrap();
    assert_eq!(seen, expected);
    send(&child, Signal::Interrupt);
    let stdin = child.stdin.take();
    let ran = finish(child);
    drop(stdin);
    assert_eq!(ran.status, 130, "{}", ran.stderr);
    assert_eq!(ran.stderr, "\n");

    // In a file when time is over.
    place.write(
        "spin.wat",
        "(module (func $spin (export \"_start\") (loop $l (br $l))))",
    );
    let ran = place.trace("--timeout 2s -o t.json spin.wat");
    assert_eq!(ran.status, 124, "{}", ran.stderr);
    assert!(ran.stderr.contains("ended after 2.00 s"), "{}", ran.stderr);
    let text = fs::read_to_string(place.path("t.json")).unwrap();
    let chrome: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(chrome.len(), 2);
    assert_eq!(chrome[1]["name"], "spin");
}

#[test]
fn formats_go_by_the_ending_unless_one_is_asked_for() {
    let place = Place::new();
    place.write("fib.wat", FIB);
    for (flags, begins) in [
        ("-o t.txt", "fib(1) = 1\n"),
        ("-o t", "fib(1) = 1\n"),
        ("-o t.jsonl", "{\"event\":\"open\""),
        ("-o t.ndjson", "{\"event\":\"open\""),
        ("-o t.json", "[\n{\"ph\":\"M\""),
        ("-o t.json --format json", "{\"event\":\"open\""),
        ("-o t.json --format text", "fib(1) = 1\n"),
    ] {
        ok(&place, &format!("{flags} --invoke fib fib.wat 1"));
        let file = flags.split(' ').nth(1).unwrap();
        let text = fs::read_to_string(place.path(file)).unwrap();
        assert!(text.starts_with(begins), "{flags}: {text}");
    }
    let ran = ok(&place, "--format json --invoke fib fib.wat 1");
    assert_eq!(ran.stderr.lines().count(), 2);
}

#[test]
fn colours_are_for_terminals() {
    let place = Place::new();
    place.write("hello.wat", writer(1, ""));
    let drawn = |variables: &[(&str, &str)]| {
        let (mut ours, theirs) = crate::system::open_terminal(100);
        let mut command = place.command_of("trace", &["--imports", "hello.wat"]);
        command.stdout(Stdio::null()).stderr(theirs);
        command
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            .envs(variables.iter().copied());
        let mut child = command.spawn().unwrap();
        drop(command);
        let mut bytes = Vec::new();
        // Reading ends with an error when nobody has the other end any more.
        let _ = ours.read_to_end(&mut bytes);
        assert!(child.wait().unwrap().success());
        String::from_utf8(bytes).unwrap()
    };
    assert!(drawn(&[]).starts_with("\x1b[36mwasi.fd_write\x1b[0m("));
    assert!(drawn(&[("NO_COLOR", "1")]).starts_with("wasi.fd_write("));
}

#[test]
fn guests_are_found() {
    // What the cases above stand on.
    assert!(core_cases().len() >= 25);
    assert!(guest("hostcalls.wasm").exists());
}
