//! The examples do what they say. They are compiled into this test, so that what runs
//! is what is read.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[allow(
    dead_code,
    reason = "their `main` reads arguments; what it calls runs here"
)]
#[path = "../examples/on_demand.rs"]
mod on_demand;
#[allow(dead_code, reason = "as above")]
#[path = "../examples/stuck_or_crashed.rs"]
mod stuck_or_crashed;
#[allow(dead_code, reason = "as above")]
#[path = "../examples/sync_host.rs"]
mod sync_host;
#[allow(dead_code, reason = "as above")]
#[path = "../examples/tokio_server.rs"]
mod tokio_server;

use std::path::PathBuf;
use std::time::Duration;
use wasmscope::profile::pprof;

/// A directory that is removed when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("wasmscope-example-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn firefox(path: &str) -> serde_json::Value {
    let file = std::fs::File::open(path).unwrap();
    serde_json::from_reader(flate2::read::GzDecoder::new(file)).unwrap()
}

#[test]
fn sync_host_writes_a_profile_with_lines() {
    let scratch = Scratch::new("sync");
    let path = scratch.path("profile.json.gz");
    let guest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/report.wasm");
    sync_host::run(guest, &path, "20").unwrap();
    let profile = firefox(&path);
    let text = profile.to_string();
    assert!(text.contains(".rs"), "source files are named");
}

#[test]
fn tokio_server_gives_each_tenant_its_own() {
    let scratch = Scratch::new("tokio");
    tokio_server::run(&scratch.path("")).unwrap();
    for (tenant, other) in [("a", "b"), ("b", "a")] {
        let text = firefox(&scratch.path(&format!("tenant-{tenant}.json.gz"))).to_string();
        assert!(text.contains(&format!("count_{tenant}")), "{tenant}");
        for of_other in ["count", "handle", "plugin"] {
            for between in ["_", "-"] {
                assert!(
                    !text.contains(&format!("{of_other}{between}{other}")),
                    "{tenant}"
                );
            }
        }
    }
}

#[test]
fn on_demand_captures_what_it_is_asked_for() {
    let scratch = Scratch::new("demand");
    let path = scratch.path("capture.pb.gz");
    // On a busy machine the guests run for a part of it: until there are samples enough.
    for half_seconds in [1, 4, 16, 64] {
        on_demand::run(half_seconds * Duration::from_millis(500), &path).unwrap();
        let profile = pprof::read(&std::fs::read(&path).unwrap()).unwrap();
        let named = |wanted: &str| {
            profile
                .functions()
                .any(|(_, function)| function.name == wanted)
        };
        if profile.total().count > 50 {
            assert!(named("parse") && named("render"));
            return;
        }
    }
    panic!("hardly a sample in half a minute");
}

#[test]
fn stuck_or_crashed_says_where_the_guest_is() {
    const CHILD: &str = "WASMSCOPE_EXAMPLE_CHILD";
    if let Ok(millis) = std::env::var(CHILD) {
        let limit = Duration::from_millis(millis.parse().unwrap());
        stuck_or_crashed::run(limit, "panic").unwrap();
        return;
    }
    let test = "stuck_or_crashed_says_where_the_guest_is";
    // On a busy machine the guest may not have come to its loop when its time is over.
    for millis in ["100", "1000", "30000"] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, millis)
            .output()
            .unwrap();
        assert!(!output.status.success(), "the panic goes on");
        let said = String::from_utf8_lossy(&output.stderr);
        for expected in [
            "wasmscope: request 1 has taken ",
            "wasmscope: a panic on thread ",
            "    plugin!lookup (function ",
        ] {
            assert!(said.contains(expected), "{expected}: {said}");
        }
        if said.contains("    plugin!spin (") {
            return;
        }
    }
    panic!("where it spins is never said");
}
