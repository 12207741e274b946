//! On a terminal there is a progress line, there are colours, and neither is left
//! behind.

use crate::program::{Place, guest};
use crate::system::open_terminal;
use std::io::Read;
use std::process::Stdio;

/// Runs the program with a terminal for standard error, and returns what was drawn
/// on it.
fn drawn(arguments: &[&str], variables: &[(&str, &str)], columns: u16) -> String {
    let (mut ours, theirs) = open_terminal(columns);
    let place = Place::new();
    let mut command = place.command(arguments);
    command
        .arg(guest("sleep.wasm"))
        // More than a second: the line is drawn each fifth of it.
        .arg("150")
        .stdout(Stdio::null())
        .stderr(theirs);
    command
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .envs(variables.iter().copied());
    let mut child = command.spawn().unwrap();
    // Its end of the terminal closes with the last process that has it.
    drop(command);
    let mut bytes = Vec::new();
    // Reading ends with an error when nobody has the other end any more.
    let _ = ours.read_to_end(&mut bytes);
    assert!(child.wait().unwrap().success());
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_progress_line_comes_and_goes() {
    let text = drawn(&[], &[], 100);
    assert!(text.contains("compiling sleep.wasm"), "{text:?}");
    assert!(
        text.contains("sleep.wasm: ") && text.contains(" samples, "),
        "{text:?}"
    );
    // Whatever was drawn is gone where the table begins.
    let (before, _) = text.split_once("self").unwrap();
    let last = before.rsplit("\r\x1b[K").next().unwrap();
    assert!(
        last.trim_start_matches("\x1b[1m").trim().is_empty(),
        "{last:?}"
    );
    let quiet = drawn(&["-q"], &[], 100);
    assert_eq!(quiet, "");
}

#[test]
fn colours_can_be_refused() {
    let is_coloured = |text: &str| text.contains("\x1b[1m");
    assert!(is_coloured(&drawn(&[], &[], 100)));
    assert!(!is_coloured(&drawn(&[], &[("NO_COLOR", "1")], 100)));
    assert!(!is_coloured(&drawn(&[], &[("TERM", "dumb")], 100)));
}

#[test]
fn the_table_fits_the_terminal() {
    let text = drawn(&[], &[("NO_COLOR", "1")], 50);
    let (_, table) = text.split_once("self").unwrap();
    let rows: Vec<&str> = table
        .lines()
        .skip(1)
        .take_while(|row| !row.trim().is_empty())
        .collect();
    assert!(!rows.is_empty());
    for row in rows {
        assert!(row.chars().count() <= 50, "{row:?}");
    }
}

#[test]
fn the_line_gives_way_to_what_the_guest_writes() {
    let (mut ours, theirs) = open_terminal(100);
    let place = Place::new();
    // A line in two parts, with more than a second of work between them, and one whole.
    place.write(
        "slow.wat",
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\20\00\00\00\04\00\00\00")
  (data (i32.const 8) "\24\00\00\00\05\00\00\00")
  (data (i32.const 32) "one two\n!")
  (func $work (local $n i64)
    (local.set $n (i64.const 3000000000))
    (loop $again
      (local.set $n (i64.sub (local.get $n) (i64.const 1)))
      (br_if $again (i64.ne (local.get $n) (i64.const 0)))))
  (func (export "_start")
    (call $work)
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 24)))
    (call $work)
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 24)))))"#,
    );
    let mut command = place.command(&["slow.wat"]);
    let out = theirs.try_clone().unwrap();
    command.stdout(out).stderr(theirs);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut bytes = Vec::new();
    let _ = ours.read_to_end(&mut bytes);
    assert!(child.wait().unwrap().success());
    let text = String::from_utf8(bytes).unwrap();
    // The terminal makes `\r\n` of a newline.
    assert!(text.contains("\r\x1b[Kone two\r\n!"), "{text:?}");
    assert!(text.contains("slow.wat: "), "{text:?}");
}
