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
        .arg("30")
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
