//! When the host dies, the guests on its stack are written; guests' own traps stay traps.
//! Each death is a process of its own.

#![expect(
    unsafe_code,
    reason = "faults on purpose, and installs a signal handler"
)]
#![expect(clippy::print_stderr, reason = "the child says how far it has come")]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use wasmscope::{CrashHook, Guest, Walker};
use wasmtime::{Caller, Engine, Linker, Module, Store, Trap};

const CHILD: &str = "WASMSCOPE_CRASH";

const TEXT: &str = "(module
  (import \"host\" \"die\" (func $die))
  (memory 1)
  (func $inner (call $die))
  (func $again (export \"again\") (call $inner))
  (func $run (export \"run\") (call $again))
  (func (export \"unreachable\") (unreachable))
  (func (export \"oob\") (drop (i32.load (i32.const 0x7fff0000))))
  (func (export \"divide\") (param i32) (drop (i32.div_u (i32.const 1) (local.get 0))))
  (func $overflow (export \"overflow\") (call $overflow)))";

fn fault() {
    // SAFETY: there is none: this is to crash.
    unsafe { std::ptr::without_provenance_mut::<u64>(8).write_volatile(1) }
}

#[inline(never)]
fn host_overflow(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 64]);
    if here[2] == u64::MAX {
        return 0;
    }
    host_overflow(here[1] + 1) + here[0]
}

extern "C" fn of_the_embedder(_signal: libc::c_int) {
    let said = b"the embedder's own handler\n";
    // SAFETY: live bytes.
    unsafe { libc::write(2, said.as_ptr().cast(), said.len()) };
}

/// What the child does in the host function, or instead of calling it.
fn die(how: &str) {
    match how {
        "segv" | "fiber" => fault(),
        "abort" | "own" => std::process::abort(),
        // SAFETY: has no preconditions.
        "sent" => drop(unsafe { libc::raise(libc::SIGSEGV) }),
        "overflow" => drop(std::hint::black_box(host_overflow(0))),
        "panic" | "dropped" | "caught" => panic!("a bug of the host's"),
        _ => {}
    }
}

/// The child: installs the hook before or after the engine is made, and dies.
fn child(how: &str, is_first: bool) {
    let walker = Walker::new().unwrap();
    if how == "own" {
        // SAFETY: a handler that does nothing but write.
        unsafe { libc::signal(libc::SIGABRT, of_the_embedder as *const () as usize) };
    }
    let mut hook = is_first.then(|| CrashHook::install(&walker).unwrap());
    let engine = Engine::default();
    if !is_first {
        hook = Some(CrashHook::install(&walker).unwrap());
    }
    let bytes = wat::parse_str(TEXT).unwrap();
    let module = Module::new(&engine, &bytes).unwrap();
    let guest = Guest::module("victim", &module).bytes(bytes.clone());
    let _guest = walker.register(guest).unwrap();
    if how == "dropped" {
        drop(hook.take());
    }
    // Another guest came and went.
    let other = Module::new(&engine, "(module (func))").unwrap();
    drop(walker.register(Guest::module("other", &other)).unwrap());

    let mut linker = Linker::new(&engine);
    let what = how.to_owned();
    linker
        .func_wrap("host", "die", move |mut caller: Caller<'_, u32>| {
            // Once more into the guest, so that two activations are on the stack.
            *caller.data_mut() += 1;
            if *caller.data() == 1 {
                let again = caller.get_export("again").unwrap().into_func().unwrap();
                again.call(&mut caller, &[], &mut []).unwrap();
            }
            die(&what);
        })
        .unwrap();
    // On a fiber the host does not call the guest again.
    let mut store = Store::new(&engine, if how == "fiber" { 1 } else { 0 });
    let instance = linker.instantiate(&mut store, &module).unwrap();

    // Traps first: they are the guest's, and go on.
    for (export, trap) in [
        ("unreachable", Trap::UnreachableCodeReached),
        ("oob", Trap::MemoryOutOfBounds),
        ("overflow", Trap::StackOverflow),
    ] {
        let func = instance
            .get_typed_func::<(), ()>(&mut store, export)
            .unwrap();
        let error = func.call(&mut store, ()).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&trap), "{error:?}");
    }
    let divide = instance
        .get_typed_func::<i32, ()>(&mut store, "divide")
        .unwrap();
    let error = divide.call(&mut store, 0).unwrap_err();
    assert_eq!(
        error.downcast_ref::<Trap>(),
        Some(&Trap::IntegerDivisionByZero)
    );
    eprintln!("traps are traps");

    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .unwrap();
    if how == "fiber" {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(run.call_async(&mut store, ())).unwrap();
    }
    if how == "caught" {
        let call = std::panic::AssertUnwindSafe(|| run.call(&mut store, ()));
        assert!(std::panic::catch_unwind(call).is_err());
        std::process::exit(7);
    }
    run.call(&mut store, ()).unwrap();
}

#[test]
fn in_a_child() {
    if let Ok(how) = std::env::var(CHILD) {
        let (how, order) = how.split_once(' ').unwrap();
        child(how, order == "first");
    }
}

fn run(how: &str, order: &str) -> (Output, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crashes::in_a_child",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, format!("{how} {order}"))
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("traps are traps"), "{how} {order}: {said}");
    let (before, _) = said.split_once("traps are traps").unwrap();
    assert!(!before.contains("wasmscope:"), "a trap is no crash: {said}");
    (output, said)
}

/// The guests' frames that were written, of the first report.
fn frames(said: &str) -> Vec<String> {
    let report = said
        .lines()
        .skip_while(|line| !line.starts_with("wasmscope: "));
    report
        .skip(1)
        .take_while(|line| line.starts_with("    "))
        .map(|line| line.trim().to_owned())
        .collect()
}

/// What the binary says: functions by index, and where in them the calls are.
fn expected() -> Vec<String> {
    let bytes = wat::parse_str(TEXT).unwrap();
    let mut offsets = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(&bytes) {
        if let wasmparser::Payload::CodeSectionEntry(body) = payload.unwrap() {
            let mut operators = body.get_operators_reader().unwrap();
            offsets.push(operators.original_position());
            operators.read().unwrap();
        }
    }
    let frame = |name: &str, index: usize| {
        format!(
            "victim!{name} (function {index}, offset {:#x})",
            offsets[index - 1]
        )
    };
    vec![
        frame("inner", 1),
        frame("again", 2),
        "(host)".to_owned(),
        frame("inner", 1),
        frame("again", 2),
        frame("run", 3),
    ]
}

#[test]
fn a_crash_in_a_host_function_names_the_guests() {
    for order in ["first", "last"] {
        for (how, what, signal) in [
            ("segv", "SIGSEGV", libc::SIGSEGV),
            ("sent", "SIGSEGV", libc::SIGSEGV),
            ("abort", "SIGABRT", libc::SIGABRT),
            ("overflow", "SIGABRT", libc::SIGABRT),
        ] {
            let (output, said) = run(how, order);
            assert_eq!(
                output.status.signal(),
                Some(signal),
                "{how} {order}: {said}"
            );
            let header = format!("wasmscope: {what} on thread ");
            assert_eq!(
                said.matches("wasmscope: ").count(),
                1,
                "{how} {order}: {said}"
            );
            assert!(said.contains(&header), "{how} {order}: {said}");
            assert_eq!(frames(&said), expected(), "{how} {order}: {said}");
        }
    }
}

#[test]
fn a_panic_names_the_guests_and_goes_on() {
    for order in ["first", "last"] {
        let (output, said) = run("panic", order);
        assert_eq!(output.status.code(), Some(101), "{said}");
        assert!(said.contains("a bug of the host's"), "{said}");
        assert!(said.contains("wasmscope: a panic on thread "), "{said}");
        assert_eq!(frames(&said), expected(), "{order}: {said}");
        let (output, said) = run("caught", order);
        assert_eq!(output.status.code(), Some(7), "{said}");
        assert_eq!(frames(&said), expected(), "{order}: {said}");
    }
}

#[test]
fn a_hook_that_was_dropped_says_nothing() {
    for order in ["first", "last"] {
        let (output, said) = run("dropped", order);
        assert_eq!(output.status.code(), Some(101), "{said}");
        assert!(!said.contains("wasmscope:"), "{said}");
    }
}

#[test]
fn the_embedder_s_own_handler_still_runs() {
    let (output, said) = run("own", "first");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{said}");
    assert!(said.contains("the embedder's own handler"), "{said}");
    assert_eq!(frames(&said), expected(), "{said}");
}

#[test]
fn a_crash_on_a_fiber_names_the_guest() {
    for order in ["first", "last"] {
        let (output, said) = run("fiber", order);
        assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{said}");
        assert_eq!(frames(&said), expected()[3..], "{order}: {said}");
    }
}
