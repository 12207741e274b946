//! Walks from host code that a guest called: down to the thread's first frame, to
//! the end of a fiber, and through a signal handler.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![expect(
    unsafe_code,
    reason = "asks the kernel for words of memory, and installs a signal handler"
)]

use std::ops::ControlFlow;
use std::sync::{Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use wasmscope_address::{HostPc, TextRange};
use wasmscope_walk::host::{HostCache, HostObjects, HostUnwinder, here};
use wasmscope_walk::{Cut, End, FrameKind, MemoryFn, Text, Windows, X86_64, walk, x86_64};
use wasmtime::{Engine, Linker, Module, Store};

/// Reads this process's memory by asking the kernel, which cannot fault.
fn read(address: u64) -> Option<u64> {
    let mut word = 0u64;
    let local = libc::iovec {
        iov_base: (&raw mut word).cast(),
        iov_len: 8,
    };
    let remote = libc::iovec {
        iov_base: address as *mut _,
        iov_len: 8,
    };
    // SAFETY: the local side is a live word; the kernel checks the other.
    let read = unsafe {
        libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0)
    };
    (read == 8).then_some(word)
}

/// What a walk saw.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    guests: usize,
    hosts: usize,
    end: End,
}

/// Walks from the caller on. Inlined nowhere, so that its frame is there to unwind.
#[inline(never)]
fn walk_from_here(module: &Module) -> Seen {
    static OBJECTS: OnceLock<HostObjects> = OnceLock::new();
    let text = module.text();
    let functions = module
        .functions()
        .map(|function| function.offset as u32..(function.offset + function.len) as u32);
    let windows = Windows::<X86_64>::classify(text, functions);
    let text = Text {
        range: TextRange::new(HostPc(text.as_ptr() as u64), text.len() as u32)
            .expect("does not wrap"),
        windows: &windows,
    };
    let mut cache = HostCache::new();
    let mut host = HostUnwinder::new(OBJECTS.get_or_init(HostObjects::load), &mut cache);
    let mut seen = Seen {
        guests: 0,
        hosts: 0,
        end: End::Stopped,
    };
    seen.end = walk::<X86_64>(here(), &MemoryFn(read), &text, &mut host, |frame| {
        match frame.kind {
            FrameKind::Guest => seen.guests += 1,
            FrameKind::Host => seen.hosts += 1,
        }
        ControlFlow::Continue(())
    });
    seen
}

const GUEST: &str = r#"(module
    (import "host" "look" (func $look))
    (func $down (param i32)
        (if (i32.eqz (local.get 0)) (then (call $look) (return)))
        (call $down (i32.sub (local.get 0) (i32.const 1))))
    (func (export "run") (call $down (i32.const 3))))"#;

/// The trampolines out and in, `run`, and four times `$down`.
const GUESTS: usize = 7;

#[test]
fn host_code_is_crossed_to_the_first_frame() {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST).expect("compiles");
    let mut linker = Linker::<Option<Seen>>::new(&engine);
    let of_guest = module.clone();
    linker
        .func_wrap(
            "host",
            "look",
            move |mut caller: wasmtime::Caller<'_, Option<Seen>>| {
                *caller.data_mut() = Some(walk_from_here(&of_guest));
            },
        )
        .expect("a new name");
    let mut store = Store::new(&engine, None);
    let instance = linker
        .instantiate(&mut store, &module)
        .expect("instantiates");
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .expect("an export");
    run.call(&mut store, ()).expect("runs");
    let seen = store.into_data().expect("it was called");
    assert_eq!((seen.guests, seen.end), (GUESTS, End::Root));
    assert!(seen.hosts > 10, "{seen:?}");
}

#[test]
fn a_fiber_ends_where_it_ends() {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST).expect("compiles");
    let mut linker = Linker::<Option<Seen>>::new(&engine);
    let of_guest = module.clone();
    linker
        .func_wrap_async("host", "look", move |mut caller, (): ()| {
            *caller.data_mut() = Some(walk_from_here(&of_guest));
            Box::new(async {})
        })
        .expect("a new name");
    let mut store = Store::new(&engine, None);
    {
        let mut body = Box::pin(async {
            let instance = linker.instantiate_async(&mut store, &module).await?;
            let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
            run.call_async(&mut store, ()).await
        });
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(outcome) = body.as_mut().poll(&mut context) else {
            panic!("nothing in it waits")
        };
        outcome.expect("runs");
    }
    let seen = store.into_data().expect("it was called");
    assert_eq!((seen.guests, seen.end), (GUESTS, End::Fiber));
}

static IN_HANDLER: Mutex<Option<(Module, Option<Seen>)>> = Mutex::new(None);

extern "C" fn handler(_: i32) {
    // The signal is raised by this thread, outside any lock: nothing is interrupted.
    let mut state = IN_HANDLER.lock().expect("not poisoned");
    if let Some((module, seen)) = state.as_mut() {
        *seen = Some(walk_from_here(module));
    }
}

#[test]
fn a_signal_handler_is_crossed_to_what_it_interrupted() {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST).expect("compiles");
    *IN_HANDLER.lock().expect("not poisoned") = Some((module.clone(), None));
    // SAFETY: a handler of the right signature, on this thread's own stack.
    unsafe { libc::signal(libc::SIGUSR2, handler as *const () as usize) };
    let mut linker = Linker::<()>::new(&engine);
    linker
        .func_wrap("host", "look", || {
            // SAFETY: the handler is installed.
            unsafe { libc::raise(libc::SIGUSR2) };
        })
        .expect("a new name");
    let mut store = Store::new(&engine, ());
    let instance = linker
        .instantiate(&mut store, &module)
        .expect("instantiates");
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .expect("an export");
    run.call(&mut store, ()).expect("runs");
    let state = IN_HANDLER.lock().expect("not poisoned").take();
    let seen = state.and_then(|(_, seen)| seen).expect("it was raised");
    assert_eq!((seen.guests, seen.end), (GUESTS, End::Root));
}

#[test]
fn code_without_tables_ends_the_walk() {
    let objects = HostObjects::load();
    let mut cache = HostCache::new();
    let mut host = HostUnwinder::new(&objects, &mut cache);
    let text = Text::<X86_64> {
        range: TextRange::new(HostPc(0x1000), 0).expect("does not wrap"),
        windows: &[],
    };
    // Data of this program's: an object is there, but no code.
    let pc = HostPc((&raw const IN_HANDLER) as u64);
    let registers = x86_64::Registers { pc, ..here() };
    let end = walk::<X86_64>(registers, &MemoryFn(read), &text, &mut host, |_| {
        ControlFlow::Continue(())
    });
    assert_eq!(end, End::Cut(Cut::UnknownCode));
}
