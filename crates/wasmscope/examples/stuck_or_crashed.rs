//! A server that says where its guests are when one takes too long, and which were on the
//! stack when the server itself panics or crashes.
//!
//! ```sh
//! cargo run --release --example stuck_or_crashed -- panic   # or abort, or segv
//! ```

#![allow(clippy::print_stderr, reason = "a program that says what it sees")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wasmscope::{CrashHook, Guest, Walker, Watchdog};
use wasmtime::{Engine, Linker, Module, Store};

const PLUGIN: &str = "(module
    (import \"host\" \"find\" (func $find))
    (import \"host\" \"is_late\" (func $is_late (result i32)))
    (func $spin (export \"spin\") (loop (br_if 0 (i32.eqz (call $is_late)))))
    (func $lookup (call $find))
    (func $handle (export \"handle\") (call $lookup)))";

fn main() -> Result<(), Box<dyn Error>> {
    let how = std::env::args().nth(1).unwrap_or("panic".to_owned());
    run(Duration::from_secs(1), &how)
}

pub(crate) fn run(limit: Duration, how: &str) -> Result<(), Box<dyn Error>> {
    // Once in a process: what walks, what reports crashes, what watches.
    let walker = Walker::new()?;
    let _hook = CrashHook::install(&walker)?;
    let is_late = Arc::new(AtomicBool::new(false));
    let tell_guest = is_late.clone();
    let watchdog = Watchdog::with(&walker, limit, None, move |overrun| {
        eprint!("{overrun}");
        // Whether to end the guest is the host's to say; this one asks it to.
        tell_guest.store(true, Ordering::Relaxed);
    })?;

    let engine = Engine::default();
    let bytes = wat::parse_str(PLUGIN)?;
    let module = Module::new(&engine, &bytes)?;
    // For each guest: the bytes give lines, where they have any.
    let _guest = walker.register(Guest::module("plugin", &module).bytes(bytes))?;

    let how = how.to_owned();
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "is_late", move || {
        i32::from(is_late.load(Ordering::Relaxed))
    })?;
    linker.func_wrap("host", "find", move || match how.as_str() {
        "abort" => std::process::abort(),
        "segv" => crash(),
        _ => panic!("a bug of the host's"),
    })?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    let spin = instance.get_typed_func::<(), ()>(&mut store, "spin")?;
    let handle = instance.get_typed_func::<(), ()>(&mut store, "handle")?;

    watchdog.watch("request 1", || spin.call(&mut store, ()))?;
    watchdog.watch("request 2", || handle.call(&mut store, ()))?;
    Ok(())
}

/// Dies as a bug in unsafe code of the host's would.
#[expect(unsafe_code, reason = "faults on purpose")]
fn crash() {
    // SAFETY: there is none; this is what crashes.
    unsafe { std::ptr::null_mut::<u64>().write_volatile(1) }
}
