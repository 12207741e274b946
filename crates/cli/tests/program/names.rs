//! Names, lines and markers in the profile, for each language and each kind of
//! guest.

use crate::program::Place;

#[test]
fn functions_of_c_have_names_and_lines() {
    let place = Place::new();
    place.run("@fib.wasm 20");
    let fib = place.firefox("fib.profile.json.gz").function("fib");
    assert_eq!(fib.category, "Guest");
    assert!(fib.file.ends_with("src/c/fib.c"), "{}", fib.file);
    assert!(
        !fib.lines.is_empty() && fib.lines.iter().all(|line| (5..12).contains(line)),
        "{fib:?}"
    );
}

#[test]
fn functions_of_rust_and_cpp_are_demangled_and_have_lines() {
    let place = Place::new();
    place.run("@report.wasm 20");
    let profile = place.firefox("report.profile.json.gz");
    let parse = profile.function("report::Parser::parse_value");
    assert!(parse.file.ends_with("src/rust/report.rs"), "{}", parse.file);
    assert!(parse.lines.iter().any(|&line| line > 50), "{parse:?}");

    place.run("@shapes.wasm 20");
    let names: Vec<String> = place
        .firefox("shapes.profile.json.gz")
        .functions()
        .into_iter()
        .map(|function| function.name)
        .collect();
    assert!(names.iter().any(|name| name.contains("::")), "{names:?}");
    assert!(
        !names.iter().any(|name| name.starts_with("_Z")),
        "{names:?}"
    );
}

#[test]
fn functions_of_go_and_wat_have_names() {
    let place = Place::new();
    place.run("@gowork.wasm 20");
    let names: Vec<String> = place
        .firefox("gowork.profile.json.gz")
        .functions()
        .into_iter()
        .map(|function| function.name)
        .collect();
    assert!(
        names.iter().any(|name| name.starts_with("main.")),
        "{names:?}"
    );
    assert!(
        names.iter().any(|name| name.starts_with("runtime.")),
        "{names:?}"
    );

    place.run("--invoke run @calls.wat 5");
    assert_eq!(
        place
            .firefox("calls.profile.json.gz")
            .function("fib")
            .category,
        "Guest"
    );
}

#[test]
fn functions_of_a_component_have_names_and_lines() {
    let place = Place::new();
    place.run("@component.wasm 20");
    let profile = place.firefox("component.profile.json.gz");
    let distance = profile.function("edit_distance");
    assert!(
        distance.file.ends_with("src/c/component.c"),
        "{}",
        distance.file
    );
    assert!(!distance.lines.is_empty());
}

#[test]
fn host_calls_are_frames_with_the_name_of_the_import() {
    let place = Place::new();
    place.run("@hostcalls.wasm 3");
    let profile = place.firefox("hostcalls.profile.json.gz");
    let call = profile.function("wasi_snapshot_preview1::clock_time_get");
    assert_eq!(call.category, "WASI");
}

#[test]
fn long_host_calls_are_markers_and_short_ones_are_not() {
    let place = Place::new();
    // It sleeps for 8 ms at a time.
    place.run("--host-calls 5ms @sleep.wasm 5");
    let markers = place.firefox("sleep.profile.json.gz").markers();
    let slept: Vec<_> = markers
        .iter()
        .filter(|marker| marker.name.contains("poll_oneoff"))
        .collect();
    assert!(slept.len() >= 2, "{markers:?}");
    for marker in &slept {
        assert_eq!(marker.category, "WASI");
        assert!(marker.duration >= 7.9, "{marker:?}");
        assert!(
            marker.data["cause"]["stack"].is_u64(),
            "who called it: {marker:?}"
        );
    }

    for threshold in ["1h", "off"] {
        place.run(&format!("--host-calls {threshold} @sleep.wasm 2"));
        let markers = place.firefox("sleep.profile.json.gz").markers();
        assert!(
            !markers
                .iter()
                .any(|marker| marker.name.contains("poll_oneoff")),
            "{markers:?}"
        );
    }
}

#[test]
fn the_table_says_where_the_time_went() {
    let ran = Place::new().run("--top 1 @fib.wasm 20");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(lines[0].trim_start().starts_with("self"), "{}", ran.stderr);
    assert!(lines[1].ends_with("fib  src/c/fib.c:5"), "{}", ran.stderr);
    assert!(lines[1].trim_start().contains('%'));
    assert_eq!(lines[2], "", "one row");
    assert!(
        lines[4].starts_with("open fib.profile.json.gz at https://"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains('\x1b'), "colours without a terminal");
}

#[test]
fn host_frames_are_there_when_asked_for() {
    let place = Place::new();
    let has_host = |place: &Place| {
        let functions = place.firefox("hostcalls.profile.json.gz").functions();
        functions
            .iter()
            .any(|function| function.category == "Host" && function.name.contains("wasmtime"))
    };
    place.run("@hostcalls.wasm 3");
    assert!(!has_host(&place));
    place.run("--host-frames @hostcalls.wasm 3");
    assert!(has_host(&place));
}

#[test]
fn dwarf_may_be_in_another_file() {
    let place = Place::new();
    let whole = std::fs::read(crate::program::guest("fib.wasm")).unwrap();
    place.write("stripped.wasm", without_debug_sections(&whole));
    place.run("stripped.wasm 20");
    assert_eq!(
        place
            .firefox("stripped.profile.json.gz")
            .function("fib")
            .file,
        ""
    );
    place.run("--debug-file @fib.wasm stripped.wasm 20");
    let fib = place.firefox("stripped.profile.json.gz").function("fib");
    assert!(fib.file.ends_with("fib.c"), "{fib:?}");
}

/// What comes out of a pipe comes once.
#[test]
fn dwarf_from_a_pipe_serves_the_profile_and_the_failure() {
    let place = Place::new();
    let whole = std::fs::read(crate::program::guest("trap.wasm")).unwrap();
    place.write("stripped.wasm", without_debug_sections(&whole));
    for subcommand in ["profile", "backtrace"] {
        let arguments = "--debug-file /dev/stdin stripped.wasm 1 oob";
        let ran = place.run_as(subcommand, arguments, &whole);
        assert_eq!(ran.status, 134, "{}", ran.stderr);
        assert!(ran.stderr.contains("trap.c:30"), "{}", ran.stderr);
    }
    let prepare = place.firefox("stripped.profile.json.gz");
    assert!(prepare.function("prepare").file.ends_with("trap.c"));
}

/// Leaves the custom sections whose names begin with `.debug` out.
fn without_debug_sections(wasm: &[u8]) -> Vec<u8> {
    let mut stripped = wasm[..8].to_vec();
    let mut at = 8;
    while at < wasm.len() {
        let (size, body) = leb128(wasm, at + 1);
        let end = body + size;
        let (name_size, name) = leb128(wasm, body);
        let is_debug = wasm[at] == 0 && wasm[name..name + name_size].starts_with(b".debug");
        if !is_debug {
            stripped.extend(&wasm[at..end]);
        }
        at = end;
    }
    stripped
}

/// Reads a number; returns it and the place after it.
fn leb128(bytes: &[u8], mut at: usize) -> (usize, usize) {
    let (mut number, mut shift) = (0, 0);
    loop {
        number |= usize::from(bytes[at] & 0x7f) << shift;
        shift += 7;
        at += 1;
        if bytes[at - 1] & 0x80 == 0 {
            return (number, at);
        }
    }
}
