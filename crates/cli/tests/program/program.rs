//! Runs the program, and reads what it leaves.

use flate2::read::GzDecoder;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use wasmscope::Profile;

/// Longer than anything here takes, on any machine; only a test that hangs gets there.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// What the program said and left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A directory in which the program runs.
#[derive(Debug)]
pub(crate) struct Place {
    directory: TempDir,
}

/// Returns the path of a guest.
pub(crate) fn guest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../guests")
        .join(name)
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the names of the files in it.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of("profile", arguments)
    }

    /// Returns a command of `wasmscope`'s, to be run in this directory.
    pub(crate) fn command_of(&self, subcommand: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wasmscope"));
        command
            .arg(subcommand)
            .args(arguments)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `wasmscope profile` with these arguments, separated by spaces; `@NAME`
    /// is a guest.
    pub(crate) fn run(&self, arguments: &str) -> Ran {
        self.run_with(arguments, b"")
    }

    /// The same with something on standard input.
    pub(crate) fn run_with(&self, arguments: &str, stdin: &[u8]) -> Ran {
        self.run_as("profile", arguments, stdin)
    }

    /// Runs `wasmscope trace` with these arguments.
    pub(crate) fn trace(&self, arguments: &str) -> Ran {
        self.run_as("trace", arguments, b"")
    }

    /// Runs a command of `wasmscope`'s.
    pub(crate) fn run_as(&self, subcommand: &str, arguments: &str, stdin: &[u8]) -> Ran {
        let arguments = expand(arguments);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut child = self
            .command_of(subcommand, &arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let stdin = stdin.to_vec();
        let writer = std::thread::spawn(move || {
            // A guest that does not read its input may be gone first.
            let _ = pipe.write_all(&stdin);
        });
        let ran = finish(child);
        writer.join().unwrap();
        ran
    }

    /// Starts it and lets it run.
    pub(crate) fn start(&self, arguments: &str) -> Child {
        let arguments = expand(arguments);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.command(&arguments).spawn().unwrap()
    }

    /// Reads the Firefox profile of this name.
    pub(crate) fn firefox(&self, name: &str) -> Firefox {
        Firefox::read(&self.path(name))
    }

    /// Reads the pprof profile of this name.
    pub(crate) fn pprof(&self, name: &str) -> Profile {
        let bytes = fs::read(self.path(name)).unwrap();
        wasmscope::profile::pprof::read(&bytes).unwrap()
    }
}

fn expand(arguments: &str) -> Vec<String> {
    let guest = |argument: &str| match argument.strip_prefix('@') {
        Some(name) => guest(name).to_str().unwrap().to_owned(),
        None => argument.to_owned(),
    };
    arguments.split_whitespace().map(guest).collect()
}

/// Waits for the program's end.
pub(crate) fn finish(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    use std::os::unix::process::ExitStatusExt;
    let status = output.status.code();
    Ran {
        // As a shell has it.
        status: status.unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Waits until a file is there and whole, since it is renamed into its place.
pub(crate) fn wait_for(path: &Path) {
    let begin = Instant::now();
    while !path.exists() {
        assert!(
            begin.elapsed() < LONG,
            "{} never came to be",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A Firefox profile, as far as tests look into it.
#[derive(Debug)]
pub(crate) struct Firefox {
    pub(crate) json: Value,
}

/// A function of a Firefox profile.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) file: String,
    /// The lines that were sampled.
    pub(crate) lines: Vec<u64>,
    pub(crate) category: String,
}

/// A marker of a Firefox profile, with its times in milliseconds.
#[derive(Debug)]
pub(crate) struct Marker {
    pub(crate) name: String,
    pub(crate) category: String,
    pub(crate) duration: f64,
    pub(crate) data: Value,
}

impl Firefox {
    pub(crate) fn read(path: &Path) -> Self {
        let mut text = String::new();
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        GzDecoder::new(file).read_to_string(&mut text).unwrap();
        let json = serde_json::from_str(&text).unwrap();
        Self { json }
    }

    /// The guest's thread; there is no other.
    fn thread(&self) -> &Value {
        let threads = self.json["threads"].as_array().unwrap();
        assert_eq!(threads.len(), 1);
        &threads[0]
    }

    fn string(&self, index: &Value) -> String {
        let index = usize::try_from(index.as_u64().unwrap()).unwrap();
        self.thread()["stringArray"][index]
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn category(&self, index: &Value) -> String {
        let index = usize::try_from(index.as_u64().unwrap()).unwrap();
        self.json["meta"]["categories"][index]["name"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) fn samples(&self) -> usize {
        self.thread()["samples"]["stack"].as_array().unwrap().len()
    }

    pub(crate) fn functions(&self) -> Vec<Function> {
        let (functions, frames) = (&self.thread()["funcTable"], &self.thread()["frameTable"]);
        let mut found: Vec<Function> = (0..column(functions, "name").len())
            .map(|at| Function {
                name: self.string(&functions["name"][at]),
                file: match &functions["fileName"][at] {
                    Value::Null => String::new(),
                    file => self.string(file),
                },
                lines: Vec::new(),
                category: String::new(),
            })
            .collect();
        for at in 0..column(frames, "func").len() {
            let function = usize::try_from(frames["func"][at].as_u64().unwrap()).unwrap();
            found[function].category = self.category(&frames["category"][at]);
            found[function].lines.extend(frames["line"][at].as_u64());
        }
        found
    }

    pub(crate) fn function(&self, name: &str) -> Function {
        let functions = self.functions();
        let names: Vec<String> = functions
            .iter()
            .map(|function| function.name.clone())
            .collect();
        let found = functions.into_iter().find(|function| function.name == name);
        found.unwrap_or_else(|| panic!("no {name} among {names:?}"))
    }

    /// The markers, that with the accounting among them.
    pub(crate) fn markers(&self) -> Vec<Marker> {
        let markers = &self.thread()["markers"];
        let time = |name: &str, at: usize| markers[name][at].as_f64().unwrap();
        (0..column(markers, "name").len())
            .map(|at| Marker {
                name: self.string(&markers["name"][at]),
                category: self.category(&markers["category"][at]),
                duration: time("endTime", at) - time("startTime", at),
                data: markers["data"][at].clone(),
            })
            .collect()
    }

    /// Returns how many samples were due, kept and lost.
    pub(crate) fn accounting(&self) -> (u64, u64, u64) {
        let markers = self.markers();
        let marker = markers
            .iter()
            .find(|marker| marker.name == "Sampling")
            .unwrap();
        let count = |name: &str| marker.data[name].as_f64().unwrap() as u64;
        (count("due"), count("kept"), count("lost"))
    }
}

fn column<'a>(table: &'a Value, name: &str) -> &'a Vec<Value> {
    table[name].as_array().unwrap()
}
