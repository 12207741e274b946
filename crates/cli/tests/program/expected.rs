//! Every guest does under the program what it does without: `guests/expected.txt`
//! says what that is. And each leaves a profile, in every format.

use crate::program::{Place, Ran, guest};
use std::collections::BTreeSet;
use std::fs;
use std::time::SystemTime;
use wasmscope::profile::{Meta, Total, folded};

/// A line of the list.
pub(crate) struct Case {
    pub(crate) file: String,
    function: Option<String>,
    pub(crate) arguments: String,
    stdin: Vec<u8>,
    end: String,
    results: Option<String>,
    pub(crate) stdout: String,
}

/// Reads a list of what guests do.
pub(crate) fn cases(list: &str) -> Vec<Case> {
    let text = fs::read_to_string(guest(list)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let field = |at: usize| Some(fields[at]).filter(|field| *field != "-");
            assert_eq!(fields.len(), 7, "{line}");
            Case {
                file: fields[0].to_owned(),
                function: field(1).map(str::to_owned),
                arguments: field(2).unwrap_or_default().to_owned(),
                stdin: match field(3).unwrap_or_default().strip_prefix('@') {
                    Some(file) => fs::read(guest(file)).unwrap_or_default(),
                    None => unescape(field(3).unwrap_or_default()).into_bytes(),
                },
                end: fields[4].to_owned(),
                results: field(5).map(str::to_owned),
                stdout: unescape(field(6).unwrap_or_default()),
            }
        })
        .collect()
}

fn unescape(text: &str) -> String {
    text.replace("\\n", "\n")
        .replace("\\t", "\t")
        .replace("\\\\", "\\")
}

impl Case {
    /// Tells whether the guest is a core module.
    pub(crate) fn is_core(&self) -> bool {
        !self.file.starts_with("component")
    }

    /// Tells whether it takes a second or more, and says nothing that scale 1 does not.
    pub(crate) fn is_long(&self) -> bool {
        self.arguments == "100"
    }

    /// Tells whether it makes a million calls or more.
    pub(crate) fn is_busy(&self) -> bool {
        let busy = [
            "fib.wasm",
            "deep.wasm",
            "table.wasm",
            "shapes.wasm",
            "alloc.wasm",
            "report.wasm",
            "gowork.wasm",
            "calls.wat",
            "tailcalls.wat",
            "manyargs.wat",
            "accuracy/",
        ];
        // A text module as a command has a scale of 100.
        let is_text_command = self.file.ends_with(".wat") && self.function.is_none();
        is_text_command || busy.iter().any(|busy| self.file.starts_with(busy))
    }

    /// Tells whether it needs a host function that no WASI has.
    pub(crate) fn needs_more(&self) -> bool {
        self.file == "accuracy/guest_host.wat"
    }

    /// Profiles it, with the profile in this file, and checks that the guest did what
    /// it must.
    pub(crate) fn check(&self, place: &Place, output: &str) -> Ran {
        self.check_as(place, "profile", &format!("-o {output}"))
    }

    /// Runs it by a command of `wasmscope`'s, and checks that the guest did what it
    /// must.
    pub(crate) fn check_as(&self, place: &Place, subcommand: &str, flags: &str) -> Ran {
        let file = format!("@{}", self.file);
        self.check_file(place, &file, subcommand, flags)
    }

    /// The same with another file for the guest.
    pub(crate) fn check_file(
        &self,
        place: &Place,
        file: &str,
        subcommand: &str,
        flags: &str,
    ) -> Ran {
        let invoke = self
            .function
            .as_ref()
            .map(|name| format!("--invoke {name} "));
        let command = format!(
            "{flags} {}{file} {}",
            invoke.unwrap_or_default(),
            self.arguments
        );
        let ran = place.run_as(subcommand, &command, &self.stdin);
        let said = &ran.stderr;
        let status = match self.end.split_once(':').unwrap() {
            ("exit", status) => status.parse().unwrap(),
            ("trap", name) => {
                let words = match name {
                    "memory_out_of_bounds" => "out of bounds memory access",
                    "integer_division_by_zero" => "integer divide by zero",
                    "bad_signature" => "indirect call type mismatch",
                    "stack_overflow" => "call stack exhausted",
                    name => name,
                };
                assert!(
                    said.contains("wasm trap") && said.contains(words),
                    "{command}: {said}"
                );
                134
            }
            (end, _) => panic!("{end}"),
        };
        assert_eq!(ran.status, status, "{command}: {said}");
        // The accuracy guests' results are in a global, which nobody prints.
        let results = self
            .results
            .as_ref()
            .filter(|_| !self.file.starts_with("accuracy"));
        let printed = match (results, self.file.as_str()) {
            // Strings are quoted, as in wasmtime.
            (Some(text), "component-add.wat") if text.parse::<i64>().is_err() => {
                format!("\"{text}\"\n")
            }
            (Some(text), _) => text
                .split(' ')
                .map(|result| format!("{result}\n"))
                .collect(),
            (None, _) => String::new(),
        };
        assert_eq!(ran.stdout, printed + &self.stdout, "{command}");
        ran
    }
}

/// Checks that the profile in this file is one, and returns how many samples are in
/// it, where the format says so.
pub(crate) fn check_profile(place: &Place, output: &str) -> Option<u64> {
    if output.ends_with(".json.gz") {
        return Some(place.firefox(output).samples() as u64);
    }
    if output.ends_with(".pb.gz") {
        return Some(place.pprof(output).total().count);
    }
    let bytes = fs::read(place.path(output)).unwrap();
    if output.ends_with(".folded") {
        let meta = Meta::new("guest", SystemTime::UNIX_EPOCH);
        let profile = folded::read(&bytes, folded::Unit::Nanoseconds, meta).unwrap();
        let empty = profile.total() == Total::default();
        assert_eq!(empty, bytes.is_empty());
        return empty.then_some(0);
    }
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.starts_with("<?xml") && text.trim_end().ends_with("</svg>"),
        "{output}"
    );
    None
}

/// Returns how many samples the program says it kept.
pub(crate) fn kept(ran: &Ran) -> u64 {
    let (before, _) = ran
        .stderr
        .split_once(" kept")
        .unwrap_or_else(|| panic!("{}", ran.stderr));
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

const OUTPUTS: [&str; 4] = ["p.json.gz", "p.pb.gz", "p.folded", "p.svg"];

/// Checks one case in these formats.
fn check(case: &Case, outputs: &[&str]) {
    for output in outputs {
        let place = Place::new();
        let ran = case.check(&place, output);
        let kept = kept(&ran);
        match check_profile(&place, output) {
            Some(samples) => assert_eq!(samples == 0, kept == 0, "{} {output}", case.file),
            None => assert!(kept == 0 || fs::metadata(place.path(output)).unwrap().len() > 0),
        }
        if !output.ends_with(".folded") && !output.ends_with(".svg") {
            assert_eq!(
                check_profile(&place, output),
                Some(kept),
                "{} {output}",
                case.file
            );
        }
        assert_eq!(place.files(), [*output]);
    }
}

/// One of each kind: these leave every format, the others one in turn.
const IN_EVERY_FORMAT: [&str; 4] = ["fib.wasm", "gowork.wasm", "component.wasm", "calls.wat"];

/// The cases that fit a test, one half of them or the other, so that two run at once.
fn check_half(half: usize) {
    let cases = cases("expected.txt");
    let cases = cases
        .iter()
        .filter(|case| !case.is_long() && !case.needs_more());
    let mut seen = BTreeSet::new();
    for (at, case) in cases.enumerate().filter(|(at, _)| at % 2 == half) {
        match IN_EVERY_FORMAT.contains(&case.file.as_str()) && !case.arguments.is_empty() {
            true => check(case, &OUTPUTS),
            false => check(case, &[OUTPUTS[at / 2 % OUTPUTS.len()]]),
        }
        seen.insert(&case.file);
    }
    assert!(seen.len() >= 12, "{seen:?}");
}

#[test]
fn every_guest_does_what_it_must_and_leaves_a_profile() {
    check_half(0);
}

#[test]
fn every_other_guest_does_what_it_must_and_leaves_a_profile() {
    check_half(1);
}

#[test]
fn a_guest_that_needs_another_import_is_told_which() {
    let ran = Place::new().run("--invoke run @accuracy/guest_host.wat 1");
    assert_eq!(ran.status, 1);
    assert!(
        ran.stderr.contains("imports work from bench"),
        "{}",
        ran.stderr
    );
}
