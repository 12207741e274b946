//! Bad input: one clear error that names the file, the documented exit status, no
//! panic, and nothing written over anything.

use crate::program::{Place, Ran, guest};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Checks that a run fails with this status and one error that says all of this.
fn refuses(place: &Place, arguments: &str, status: i32, says: &[&str]) -> Ran {
    let before = place.files();
    let ran = place.run(arguments);
    check(&ran, arguments, status, says);
    assert_eq!(ran.stdout, "", "{arguments}: the guest did not run");
    assert_eq!(place.files(), before, "{arguments}: nothing is left");
    ran
}

fn check(ran: &Ran, arguments: &str, status: i32, says: &[&str]) {
    assert_eq!(ran.status, status, "{arguments}: {}", ran.stderr);
    assert!(
        !ran.stderr.contains("panicked"),
        "{arguments}: {}",
        ran.stderr
    );
    let errors = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "));
    assert_eq!(errors.count(), 1, "{arguments}: {}", ran.stderr);
    for text in says {
        assert!(
            ran.stderr.contains(text),
            "{arguments}: no {text:?} in {}",
            ran.stderr
        );
    }
}

#[test]
fn guests_that_are_none() {
    let place = Place::new();
    place.write("empty.wasm", "");
    place.write("notes.txt", "# Notes\n");
    place.write("native.cwasm", b"\x7fELF\x02\x01\x01\0\0\0");
    place.write("future.wasm", b"\0asm\x07\0\0\0");
    place.write(
        "words.wat",
        "(module (func $f (export \"_start\") (nonsense)))",
    );
    place.write("half.wat", "(module (func");
    place.write(
        "invalid.wat",
        "(module (func (export \"_start\") i32.add drop))",
    );
    fs::create_dir(place.path("directory.wasm")).unwrap();
    for (file, says) in [
        ("missing.wasm", &["missing.wasm", "No such file"][..]),
        ("directory.wasm", &["directory.wasm", "is a directory"]),
        ("empty.wasm", &["empty.wasm", "is empty"]),
        ("notes.txt", &["notes.txt", "not WebAssembly", "at byte 0"]),
        (
            "native.cwasm",
            &["native.cwasm", "precompiled", "give the .wasm"],
        ),
        ("future.wasm", &["future.wasm", "version", "at byte 4"]),
        ("words.wat", &["words.wat", "1:37", "nonsense"]),
        ("half.wat", &["half.wat", "1:"]),
        (
            "invalid.wat",
            &["invalid.wat", "type mismatch", "at offset"],
        ),
    ] {
        refuses(&place, file, 1, says);
    }
}

#[test]
fn truncated_guests_wherever_they_are_cut() {
    let place = Place::new();
    for name in ["fib.wasm", "component.wasm"] {
        let whole = fs::read(guest(name)).unwrap();
        // From the header to the middle of the sections that must be there.
        for part in [4, 6, 8, 9, 40, 300, 2_000, 3_000] {
            place.write("cut.wasm", &whole[..part]);
            // A header alone is a whole module, if an idle one.
            let status = place.run("cut.wasm");
            check(&status, &format!("{name} cut at {part}"), 1, &["cut.wasm"]);
            if part < 8 {
                assert!(status.stderr.contains("complete"), "{}", status.stderr);
            }
        }
        assert_eq!(place.files(), ["cut.wasm"]);
    }
}

#[test]
fn imports_that_are_missing() {
    let place = Place::new();
    place.write(
        "component.wat",
        r#"(component (import "acme:shop/cart@1.2.0" (instance (export "total" (func)))))"#,
    );
    refuses(
        &place,
        "component.wat",
        1,
        &["component.wat", "acme:shop/cart@1.2.0", "total"],
    );
    place.write(
        "module.wat",
        r#"(module (import "env" "now" (func)) (func (export "_start")))"#,
    );
    refuses(&place, "module.wat", 1, &["module.wat", "now", "env"]);
    // A type that does not fit.
    place.write(
        "type.wat",
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i64)))
            (func (export "_start")))"#,
    );
    refuses(&place, "type.wat", 1, &["type.wat", "proc_exit", "type"]);
    // It runs when told to go on without.
    let ran = place.run("-W unknown-imports-trap module.wat");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
}

#[test]
fn guests_with_nothing_to_run() {
    let place = Place::new();
    refuses(
        &place,
        "@reactor.wasm",
        1,
        &["reactor.wasm", "--invoke", "add(i32, i32)", "mean"],
    );
    refuses(
        &place,
        "@component-add.wat",
        1,
        &["component-add.wat", "--invoke", "churn, add"],
    );
    for (arguments, says) in [
        (
            "--invoke nope @reactor.wasm",
            &["nope", "reactor.wasm", "churn(i32)"][..],
        ),
        (
            "--invoke nope @component-add.wat",
            &["nope", "component-add.wat", "describe"],
        ),
        (
            "--invoke add @reactor.wasm 1",
            &["add", "2 arguments (i32, i32)", "1 was given"],
        ),
        (
            "--invoke add @reactor.wasm 1 2 3",
            &["2 arguments", "3 were given"],
        ),
        ("--invoke add @reactor.wasm 1 two", &["\"two\"", "i32"]),
        (
            "--invoke churn @component-add.wat -1",
            &["steps", "-1", "u32"],
        ),
        (
            "--invoke memory @reactor.wasm",
            &["memory", "no such function"],
        ),
    ] {
        refuses(&place, arguments, 2, says);
    }
}

#[test]
fn flags_that_cannot_be() {
    let place = Place::new();
    for (arguments, says) in [
        (
            "--rate 0 @fib.wasm",
            &["--rate", "'0'", "between 1 and 20000"][..],
        ),
        (
            "--rate 10000000 @fib.wasm",
            &["--rate", "10000000", "between 1 and 20000"],
        ),
        (
            "--rate 99999999999 @fib.wasm",
            &["--rate", "between 1 and 20000"],
        ),
        ("--rate fast @fib.wasm", &["--rate", "fast"]),
        ("--clock sun @fib.wasm", &["--clock", "wall, cpu"]),
        (
            "--format jpeg @fib.wasm",
            &["jpeg", "firefox, pprof, folded, svg"],
        ),
        (
            "-o profile.txt @fib.wasm",
            &["profile.txt", ".json.gz", ".folded", "--format"],
        ),
        ("-o - @fib.wasm", &["standard output is the guest's"]),
        ("--timeout soon @fib.wasm", &["--timeout", "soon", "500ms"]),
        ("--host-calls never @fib.wasm", &["--host-calls", "never"]),
        (
            "-W exceptoins @fib.wasm",
            &["-W exceptoins", "-W exceptions"],
        ),
        ("-S inherit @fib.wasm", &["-S inherit", "-S inherit-env"]),
        (
            "-C compiler=gcc @fib.wasm",
            &["compiler=gcc", "cranelift, winch"],
        ),
        ("-O opt-level=9 @fib.wasm", &["opt-level=9", "0, 1, 2, s"]),
        ("", &["which guest"]),
    ] {
        refuses(&place, arguments, 2, says);
    }
    refuses(
        &place,
        "--dir missing @fib.wasm",
        1,
        &["--dir", "missing", "No such file"],
    );
    let missing = "--debug-file missing.debug @fib.wasm";
    refuses(
        &place,
        missing,
        1,
        &["--debug-file", "missing.debug", "No such file"],
    );
}

#[test]
fn outputs_that_cannot_be_written_are_found_before_the_guest_runs() {
    let place = Place::new();
    fs::create_dir(place.path("directory.json.gz")).unwrap();
    for (output, says) in [
        ("missing/p.json.gz", "no directory missing"),
        ("directory.json.gz", "is a directory"),
        ("/sys/p.json.gz", "/sys"),
    ] {
        let arguments = format!("-o {output} @fib.wasm");
        refuses(&place, &arguments, 125, &[output, says, "--output"]);
    }
}

/// Runs the program as a user without rights: root may write anywhere.
fn run_as_nobody(place: &Place, arguments: &[&str]) -> Ran {
    fs::copy(env!("CARGO_BIN_EXE_wasmscope"), place.path("wasmscope")).unwrap();
    let mut command = Command::new(place.path("wasmscope"));
    command
        .arg("profile")
        .args(arguments)
        .current_dir(place.path("."));
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    if crate::system::is_root() {
        fs::set_permissions(place.path("."), fs::Permissions::from_mode(0o755)).unwrap();
        command.uid(65534).gid(65534);
    }
    crate::program::finish(command.spawn().unwrap())
}

#[test]
fn a_file_without_permission_is_named_and_left_as_it_is() {
    let place = Place::new();
    fs::copy(guest("fib.wasm"), place.path("fib.wasm")).unwrap();
    let closed = place.write("closed.json.gz", "good");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o444)).unwrap();
    let ran = run_as_nobody(&place, &["-o", "closed.json.gz", "fib.wasm", "1"]);
    check(
        &ran,
        "closed",
        125,
        &["closed.json.gz", "Permission denied", "--output"],
    );
    assert_eq!(ran.stdout, "", "the guest did not run");
    assert_eq!(fs::read(&closed).unwrap(), b"good");

    fs::create_dir(place.path("shut")).unwrap();
    fs::set_permissions(place.path("shut"), fs::Permissions::from_mode(0o555)).unwrap();
    let ran = run_as_nobody(&place, &["-o", "shut/p.json.gz", "fib.wasm", "1"]);
    check(&ran, "shut", 125, &["shut", "Permission denied"]);

    let hidden = place.path("fib.wasm");
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o000)).unwrap();
    let ran = run_as_nobody(&place, &["-o", "/dev/null", "--format", "svg", "fib.wasm"]);
    check(&ran, "hidden", 1, &["fib.wasm", "Permission denied"]);
}

#[test]
fn a_full_disk_is_an_error_of_its_own() {
    assert!(Path::new("/dev/full").exists(), "this test needs /dev/full");
    let place = Place::new();
    for format in ["firefox", "pprof", "folded", "svg"] {
        let arguments = format!("-o /dev/full --format {format} @fib.wasm 1");
        let ran = place.run(&arguments);
        check(&ran, &arguments, 125, &["/dev/full", "No space left"]);
        assert!(ran.stdout.starts_with("fib "), "the guest ran");
        assert!(
            ran.stderr.contains("samples due"),
            "the table is there: {}",
            ran.stderr
        );
    }
}

#[test]
fn broken_dwarf_is_a_warning() {
    let place = Place::new();
    let mut bytes = fs::read(guest("fib.wasm")).unwrap();
    let at = bytes
        .windows(11)
        .position(|window| window == b".debug_info")
        .unwrap()
        + 11;
    // The header of the first unit: a length that leads nowhere, an unknown version.
    bytes[at..at + 8].fill(0xee);
    place.write("broken.wasm", &bytes);
    let ran = place.run("broken.wasm 20");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("fib "));
    assert_eq!(
        ran.stderr.matches("warning: broken.wasm: ").count(),
        1,
        "{}",
        ran.stderr
    );
    let profile = place.firefox("broken.profile.json.gz");
    assert_eq!(
        profile.function("fib").category,
        "Guest",
        "names are there all the same"
    );
}
