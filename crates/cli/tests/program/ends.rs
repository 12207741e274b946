//! The profile is there whatever ends the run.

use crate::program::{LONG, Place, Ran, finish, wait_for};
use crate::system::{Signal, send};
use crate::trace::check_stack;
use std::io::Read;
use std::process::Stdio;
use std::time::Instant;

/// Loops forever, so that only what a test does can end it.
const FOREVER: &str = "(module (func $spin (export \"_start\") (loop $again (br $again))))";

/// Waits in a host call that does not return: reads from a pipe that stays open.
pub(crate) const BLOCKED: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\01\00\00\00")
  (func $wait (export "_start")
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 32)))))"#;

fn check_spun(place: &Place, name: &str) {
    let profile = place.firefox(name);
    assert!(profile.samples() > 0);
    assert_eq!(profile.function("spin").category, "Guest");
}

#[test]
fn after_a_trap() {
    let place = Place::new();
    let ran = place.run("@trap.wasm 10");
    assert_eq!(ran.status, 134, "{}", ran.stderr);
    check_stack(&ran, "unreachable");
    place.firefox("trap.profile.json.gz").function("prepare");
    assert_eq!(place.files(), ["trap.profile.json.gz"]);
}

#[test]
fn after_an_exit() {
    let place = Place::new();
    let ran = place.run("@exit7.wasm 10");
    assert_eq!(ran.status, 7, "{}", ran.stderr);
    place.firefox("exit7.profile.json.gz").function("collatz");
}

#[test]
fn after_a_time_out() {
    let place = Place::new();
    place.write("spin.wat", FOREVER);
    let ran = place.run("--timeout 2s spin.wat");
    assert_eq!(ran.status, 124, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("spin.wat: ended after 2.00 s"),
        "{}",
        ran.stderr
    );
    check_spun(&place, "spin.profile.json.gz");
    assert_eq!(place.files(), ["spin.profile.json.gz", "spin.wat"]);
}

/// Runs until there is a partial profile, so that it is known to run, and then ends
/// it with a signal.
fn end_by(place: &Place, ending: Signal) -> Ran {
    place.write("spin.wat", FOREVER);
    let child = place.start("spin.wat");
    wait_for(&place.path("spin.profile.partial.json.gz"));
    send(&child, ending);
    finish(child)
}

#[test]
fn after_ctrl_c_and_sigterm() {
    for (ending, status) in [(Signal::Interrupt, 130), (Signal::Terminate, 143)] {
        let place = Place::new();
        let ran = end_by(&place, ending);
        assert_eq!(ran.status, status, "{}", ran.stderr);
        assert!(ran.stderr.contains("spin"), "the table: {}", ran.stderr);
        check_spun(&place, "spin.profile.json.gz");
        assert_eq!(
            place.files(),
            ["spin.profile.json.gz", "spin.wat"],
            "no partial is left"
        );
    }
}

#[test]
fn a_killed_process_leaves_a_partial_that_can_be_read() {
    let place = Place::new();
    let ran = end_by(&place, Signal::Kill);
    assert_eq!(ran.status, 128 + 9);
    check_spun(&place, "spin.profile.partial.json.gz");
    assert!(!place.path("spin.profile.json.gz").exists());
}

#[test]
fn a_partial_profile_has_the_format_of_the_whole() {
    let place = Place::new();
    place.write("spin.wat", FOREVER);
    let child = place.start("-o p.pb.gz spin.wat");
    wait_for(&place.path("p.partial.pb.gz"));
    send(&child, Signal::Kill);
    finish(child);
    let profile = place.pprof("p.partial.pb.gz");
    assert!(
        profile
            .functions()
            .any(|(_, function)| function.name == "spin")
    );
}

#[test]
fn a_guest_that_is_stuck_in_a_host_call_keeps_nobody() {
    for ending in ["timeout", "signal"] {
        let place = Place::new();
        place.write("wait.wat", BLOCKED);
        let timeout = if ending == "timeout" {
            "--timeout 2s "
        } else {
            ""
        };
        let arguments = format!("{timeout}wait.wat");
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let mut child = place
            .command(&arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // Open, and nothing ever comes.
        let stdin = child.stdin.take();
        if ending == "signal" {
            wait_for(&place.path("wait.profile.partial.json.gz"));
            send(&child, Signal::Terminate);
        }
        let ran = finish(child);
        drop(stdin);
        assert_eq!(
            ran.status,
            if ending == "signal" { 143 } else { 124 },
            "{}",
            ran.stderr
        );
        let profile = place.firefox("wait.profile.json.gz");
        let call = profile.function("wasi_snapshot_preview1::fd_read");
        assert_eq!(call.category, "WASI");
        profile.function("wait");
    }
}

#[test]
fn ctrl_c_comes_before_the_guest_s_end_of_file() {
    // The guest's own streams go on working until then.
    let place = Place::new();
    let echo = crate::program::guest("echo.wasm");
    let mut child = place
        .command(&[echo.to_str().unwrap()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    use std::io::Write;
    stdin.write_all(b"one\n").unwrap();
    let begin = Instant::now();
    let mut first = [0; 4];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    assert_eq!(&first, b"one\n");
    assert!(begin.elapsed() < LONG);
    send(&child, Signal::Interrupt);
    let ran = finish(child);
    drop(stdin);
    assert_eq!(ran.status, 130, "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    place.firefox("echo.profile.json.gz");
}

#[test]
fn an_old_profile_stays_until_there_is_a_new_one() {
    let place = Place::new();
    place.write("spin.wat", FOREVER);
    place.write("spin.profile.json.gz", "the old one");
    let child = place.start("spin.wat");
    wait_for(&place.path("spin.profile.partial.json.gz"));
    let old = std::fs::read(place.path("spin.profile.json.gz")).unwrap();
    assert_eq!(old, b"the old one");
    send(&child, Signal::Interrupt);
    finish(child);
    check_spun(&place, "spin.profile.json.gz");
}
