//! Finding the programs of others that check our formats.
//!
//! `guests/fetch-tools` puts them into `guests/real/tools`. A test that does not
//! find its program says so and passes, unless `WASMSCOPE_REQUIRE_REAL=1` asks
//! for all of them.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use wasmscope_profile::{Format, Profile};

/// Returns the path of a tool below the folder of tools, if it is there.
pub(crate) fn find(relative: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("WASMSCOPE_TOOLS") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests/real/tools"),
    };
    if let Ok(path) = folder.join(relative).canonicalize() {
        return Some(path);
    }
    let message = format!("{relative} is not in guests/real/tools; run guests/fetch-tools");
    if std::env::var_os("WASMSCOPE_REQUIRE_REAL").is_some_and(|value| value == "1") {
        panic!("{message}");
    }
    // Not `eprintln!`: that would be shown only when the test fails.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {message}");
    None
}

/// Runs a program that must succeed, and returns what it printed.
pub(crate) fn output(program: impl AsRef<OsStr>, configure: impl FnOnce(&mut Command)) -> String {
    let mut command = Command::new(program);
    configure(&mut command);
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Saves a profile under a name in a new directory.
pub(crate) fn saved(profile: &Profile, name: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    let format = Format::from_path(&path).unwrap();
    profile.save(&path, format).unwrap();
    (directory, path)
}
