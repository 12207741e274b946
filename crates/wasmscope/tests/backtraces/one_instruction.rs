//! One instruction of a guest, seen from the host function before it, from a signal at it, and
//! by the engine.
//!
//! The signals' handlers walk: from their own frames, over the frame that the kernel made, to
//! the guest that was interrupted. They run where it was, on its stack.

#![expect(unsafe_code, reason = "installs handlers of signals")]

use crate::patience::Patience;
use std::cell::{Cell, RefCell};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use wasmscope::{Backtrace, BacktraceEnd, FrameKind, Guest, RawFrame, RawFrameKind, Walker};
use wasmtime::{Config, Engine, Linker, Module, Store, Trap, WasmBacktrace};

thread_local! {
    /// By what the handlers walk, and into what, while they may.
    static WALKER: RefCell<Option<(Walker, Backtrace)>> = const { RefCell::new(None) };
    static IS_ARMED: Cell<bool> = const { Cell::new(false) };
}

/// The handlers that were there, of SIGSEGV, SIGILL and SIGFPE.
static BEFORE: OnceLock<[(i32, libc::sigaction); 3]> = OnceLock::new();

/// Walks the stack, into the room that there is.
fn walk() {
    if IS_ARMED.replace(false) {
        WALKER.with_borrow_mut(|walker| {
            let (walker, backtrace) = walker.as_mut().expect("it was armed");
            walker.capture_into(backtrace);
        });
    }
}

extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    walk();
    let before = BEFORE
        .get()
        .and_then(|all| all.iter().find(|(of, _)| *of == signal));
    let Some((_, before)) = before else {
        std::process::abort();
    };
    // SAFETY: the engine's handler was installed with SA_SIGINFO, which is checked.
    let engines: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) =
        unsafe { std::mem::transmute(before.sa_sigaction) };
    engines(signal, info, context);
}

extern "C" fn on_request(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    walk();
}

fn install(
    signal: i32,
    handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void),
) -> libc::sigaction {
    // SAFETY: the structs are filled as sigaction(2) wants them; the handler works with what
    // is the thread's own, for guests that hold nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER | libc::SA_RESTART;
        let mut before: libc::sigaction = std::mem::zeroed();
        assert_eq!(
            libc::sigaction(signal, &raw const action, &raw mut before),
            0
        );
        before
    }
}

/// Installs the handlers in front of the engine's.
fn install_over(engine: &Engine) {
    BEFORE.get_or_init(|| {
        // The engine has installed its own when the first store is made.
        drop(Store::new(engine, ()));
        [libc::SIGSEGV, libc::SIGILL, libc::SIGFPE].map(|signal| {
            let before = install(signal, on_fault);
            assert!(before.sa_flags & libc::SA_SIGINFO != 0);
            assert!(![libc::SIG_DFL, libc::SIG_IGN].contains(&before.sa_sigaction));
            (signal, before)
        })
    });
}

fn compiled(text: &str) -> (Module, Vec<u8>) {
    let mut config = Config::new();
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(1_000));
    let bytes = wat::parse_str(text).unwrap();
    let module = Module::new(&Engine::new(&config).unwrap(), &bytes).unwrap();
    (module, bytes)
}

fn arm(walker: &Walker) {
    let mut backtrace = Backtrace::with_capacity(1_000, 8);
    walker.capture_into(&mut backtrace);
    WALKER.set(Some((walker.clone(), backtrace)));
    IS_ARMED.set(true);
}

/// Returns what a handler has captured, if it has.
fn captured() -> Option<Backtrace> {
    let was_armed = IS_ARMED.replace(false);
    let captured = WALKER.take().map(|(_, backtrace)| backtrace);
    captured.filter(|_| !was_armed)
}

/// The guest's functions' frames, with what is at each.
type Places = Vec<(u32, Option<usize>, u64)>;

fn places(walker: &Walker, backtrace: &Backtrace) -> Places {
    assert_eq!(backtrace.end(), BacktraceEnd::Whole);
    let frames = walker.name(backtrace);
    let guests = frames.iter().filter(|frame| frame.kind == FrameKind::Guest);
    guests
        .map(|frame| {
            let offset = frame.offset.map(|offset| offset.0 as usize);
            (frame.function.unwrap().0, offset, frame.pc.unwrap().0)
        })
        .collect()
}

fn newest_guest(backtrace: &Backtrace) -> RawFrame {
    let mut frames = backtrace.frames();
    let guest = frames.find(|frame| frame.kind() == RawFrameKind::Guest);
    guest.expect("a guest was interrupted")
}

/// Runs a guest that calls the host and then traps in the same function, by hardware.
fn traps_at(instruction: &str, trap: Trap) {
    let (module, bytes) = compiled(&format!(
        "(module (import \"host\" \"look\" (func $look)) (memory 1)
            (func $down (param i32 i32)
                (if (i32.eqz (local.get 0))
                    (then (call $look) {instruction})
                    (else (call $down (i32.sub (local.get 0) (i32.const 1)) (local.get 1)))))
            (func $run (export \"run\") (param i32 i32) (call $down (local.get 0) (local.get 1))))"
    ));
    install_over(module.engine());
    let walker = Walker::new().unwrap();
    let guest = Guest::module("guest", &module).bytes(bytes);
    let _guest = walker.register(guest).unwrap();
    let mut linker = Linker::new(module.engine());
    let looks = walker.clone();
    let look = move |mut caller: wasmtime::Caller<'_, Option<Backtrace>>| {
        *caller.data_mut() = Some(looks.capture());
        arm(&looks);
    };
    linker.func_wrap("host", "look", look).unwrap();
    let mut store = Store::new(module.engine(), None);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<(i32, i32), ()>(&mut store, "run")
        .unwrap();
    for depth in [0, 1, 20, 300] {
        let error = run.call(&mut store, (depth, 0)).unwrap_err();
        let interrupted = captured().expect("a signal came");
        assert_eq!(error.downcast_ref::<Trap>(), Some(&trap));
        assert!(!newest_guest(&interrupted).is_return_address());
        let from_signal = places(&walker, &interrupted);
        let from_host = places(&walker, &store.data_mut().take().unwrap());
        assert_eq!(from_signal.len(), depth as usize + 2);

        let engines = error
            .downcast_ref::<WasmBacktrace>()
            .unwrap()
            .frames()
            .iter();
        let engines = engines.map(|frame| (frame.func_index(), frame.module_offset()));
        let ours = from_signal
            .iter()
            .map(|(function, offset, _)| (*function, *offset));
        assert!(ours.eq(engines), "{from_signal:x?} {error:?}");

        // The host function was called by the same frame, a little before.
        assert_eq!(from_host[1..], from_signal[1..]);
        let (called, trapped) = (from_host[0], from_signal[0]);
        assert_eq!(called.0, trapped.0);
        assert!(called.1 < trapped.1 && called.1.is_some());
    }
}

#[test]
fn an_instruction_that_traps() {
    traps_at("unreachable", Trap::UnreachableCodeReached);
    traps_at("(drop (i32.load (i32.const -8)))", Trap::MemoryOutOfBounds);
    traps_at(
        "(drop (i32.div_u (i32.const 1) (local.get 1)))",
        Trap::IntegerDivisionByZero,
    );
}

/// A signal that another thread sends comes at some instruction of a loop.
#[test]
fn an_instruction_that_is_interrupted() {
    static GOES_ON: AtomicBool = AtomicBool::new(true);
    /// The other thread must not go on when this one ends, however it does.
    struct Stops;
    impl Drop for Stops {
        fn drop(&mut self) {
            GOES_ON.store(false, Ordering::Relaxed);
        }
    }
    let (module, bytes) = compiled(
        "(module (import \"host\" \"look\" (func $look)) (import \"host\" \"goes_on\" (func $goes_on (result i32)))
            (func $spin (param i32)
                (loop $again
                    (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                    (br_if $again (local.get 0))))
            (func $down (param i32)
                (if (i32.eqz (local.get 0))
                    (then (call $look) (call $spin (i32.const 200000)))
                    (else (call $down (i32.sub (local.get 0) (i32.const 1))))))
            (func $run (export \"run\") (param i32)
                (loop $again (call $down (local.get 0)) (br_if $again (call $goes_on)))))",
    );
    let walker = Walker::new().unwrap();
    let guest = Guest::module("guest", &module).bytes(bytes);
    let _guest = walker.register(guest).unwrap();
    install(libc::SIGUSR1, on_request);
    let mut linker = Linker::new(module.engine());
    let looks = walker.clone();
    let look = move |mut caller: wasmtime::Caller<'_, (Places, usize)>| {
        caller.data_mut().0 = places(&looks, &looks.capture());
        arm(&looks);
    };
    linker.func_wrap("host", "look", look).unwrap();
    let looks = walker.clone();
    let goes_on = move |mut caller: wasmtime::Caller<'_, (Places, usize)>| {
        let (from_host, interrupted) = caller.data_mut();
        if let Some(backtrace) = captured()
            && let from_signal = places(&looks, &backtrace)
            && from_signal.len() == from_host.len() + 1
            && !newest_guest(&backtrace).is_return_address()
        {
            // It was in the function that the one before calls next, at an instruction.
            assert_eq!(from_signal[0].0, 2);
            assert_eq!(from_signal[1].0, from_host[0].0);
            assert!(from_host[0].1 < from_signal[1].1);
            assert_eq!(from_signal[2..], from_host[1..]);
            *interrupted += 1;
        }
        i32::from(*interrupted < 50)
    };
    linker.func_wrap("host", "goes_on", goes_on).unwrap();
    // SAFETY: has no preconditions.
    let (process, thread) = unsafe { (libc::getpid(), libc::gettid()) };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let patience = Patience::for_what("fifty interrupts");
            while GOES_ON.load(Ordering::Relaxed) {
                // SAFETY: the thread waits for this one to end.
                unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR1) };
                std::thread::sleep(std::time::Duration::from_micros(100));
                patience.check();
            }
        });
        let _stops = Stops;
        let mut store = Store::new(module.engine(), (Places::new(), 0));
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let run = instance
            .get_typed_func::<i32, ()>(&mut store, "run")
            .unwrap();
        run.call(&mut store, 12).unwrap();
        assert_eq!(store.data().1, 50);
    });
}
