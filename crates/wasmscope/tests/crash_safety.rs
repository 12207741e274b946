//! What reports a crash neither allocates, nor maps memory, nor takes a lock.
//!
//! What it must not call ends the process within the handlers, see `forbidden`; the controls show
//! that each of those functions does. The handlers are those of the crash hook, with the engine's
//! before or after them. Each death is a process of its own.

#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#![expect(
    unsafe_code,
    reason = "faults on purpose, and puts a handler around those that are there"
)]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "../../sample/tests/support/forbidden.rs"]
mod forbidden;

use forbidden::{FORWARDED, VIOLATIONS, in_handler, violate};
use std::ffi::{c_int, c_void};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use wasmscope::{CrashHook, Guest, Walker};
use wasmtime::{Engine, Linker, Module, Store};

/// What a child does: how it dies, whether the hook or the engine is there first, and which
/// forbidden function it calls, if any.
const CHILD: &str = "WASMSCOPE_CRASH_SAFETY";

/// A hundred calls deep when it calls the host.
const TEXT: &str = "(module
  (import \"host\" \"die\" (func $die))
  (func $down (param i32)
    (if (i32.eqz (local.get 0)) (then (call $die) (return)))
    (call $down (i32.sub (local.get 0) (i32.const 1))))
  (func $run (export \"run\") (call $down (i32.const 99))))";

const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGABRT];

/// The handlers that are there, by their number in [`SIGNALS`].
static WRAPPED: [AtomicUsize; SIGNALS.len()] = [const { AtomicUsize::new(0) }; SIGNALS.len()];

/// What a control does in the handler.
static VIOLATION: AtomicI32 = AtomicI32::new(-1);

extern "C" fn wrapper(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
    let number = usize::from(signal == SIGNALS[1]);
    // SAFETY: what was installed with SA_SIGINFO has this signature.
    let wrapped: Handler = unsafe { std::mem::transmute(WRAPPED[number].load(Ordering::Relaxed)) };
    in_handler(|| {
        // Once: it ends the process, by a signal that comes here as well.
        violate(VIOLATION.swap(-1, Ordering::Relaxed));
        wrapped(signal, info, context);
    });
}

/// Puts [`wrapper`] around the handlers that are there.
fn wrap_handlers() {
    for (signal, wrapped) in SIGNALS.into_iter().zip(&WRAPPED) {
        // SAFETY: sigaction is plain data; the handler that it names goes on to be called, with
        // what it expects.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let read = libc::sigaction(signal, std::ptr::null(), &raw mut action);
            assert_eq!(read, 0);
            assert_ne!(action.sa_flags & libc::SA_SIGINFO, 0, "it takes three");
            wrapped.store(action.sa_sigaction, Ordering::Relaxed);
            action.sa_sigaction = wrapper as *const () as usize;
            let written = libc::sigaction(signal, &raw const action, std::ptr::null_mut());
            assert_eq!(written, 0);
        }
    }
}

fn child(how: &str, is_first: bool) {
    let walker = Walker::new().unwrap();
    let mut hook = is_first.then(|| CrashHook::install(&walker).unwrap());
    let engine = Engine::default();
    hook.get_or_insert_with(|| CrashHook::install(&walker).unwrap());
    let bytes = wat::parse_str(TEXT).unwrap();
    let module = Module::new(&engine, &bytes).unwrap();
    let guest = Guest::module("victim", &module).bytes(bytes);
    let _guest = walker.register(guest).unwrap();
    let mut linker = Linker::new(&engine);
    let how = how.to_owned();
    let die = move || {
        assert_ne!(FORWARDED.load(Ordering::Relaxed), 0, "ours are called");
        wrap_handlers();
        match how.as_str() {
            // SAFETY: there is none: this is to crash.
            "segv" => unsafe { std::ptr::without_provenance_mut::<u64>(8).write_volatile(1) },
            _ => std::process::abort(),
        }
    };
    linker.func_wrap("host", "die", die).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    run.call(&mut store, ()).unwrap();
}

#[test]
fn in_a_child() {
    let Ok(what) = std::env::var(CHILD) else {
        return;
    };
    let what: Vec<&str> = what.split(' ').collect();
    let [how, order, violation] = what[..] else {
        panic!("{what:?}");
    };
    let which = VIOLATIONS.iter().position(|known| *known == violation);
    VIOLATION.store(which.map_or(-1, |which| which as c_int), Ordering::Relaxed);
    child(how, order == "first");
}

fn run(how: &str, order: &str, violation: &str) -> (Output, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_a_child", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{how} {order} {violation}"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

#[test]
fn a_report_neither_allocates_nor_locks() {
    for order in ["first", "last"] {
        for (how, name, signal) in [
            ("segv", "SIGSEGV", libc::SIGSEGV),
            ("abort", "SIGABRT", libc::SIGABRT),
        ] {
            let (output, said) = run(how, order, "none");
            assert!(!said.contains("called in the signal handler"), "{said}");
            assert_eq!(output.status.signal(), Some(signal), "{order}: {said}");
            // It was made, from end to end.
            let header = format!("wasmscope: {name} on thread ");
            assert!(said.contains(&header), "{how} {order}: {said}");
            assert_eq!(said.matches("    victim!down (function 1").count(), 100);
            assert_eq!(said.matches("    victim!run (function 2").count(), 1);
            assert!(!said.contains("frames are missing"), "{said}");
        }
    }
}

#[test]
fn each_control_is_caught() {
    for violation in VIOLATIONS {
        let (output, said) = run("segv", "last", violation);
        let message = format!("called in the signal handler: {violation}\n");
        assert!(said.contains(&message), "{violation}: {said}");
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{violation}");
    }
}
