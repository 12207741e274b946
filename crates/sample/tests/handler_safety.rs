//! The signal handler neither allocates, nor maps memory, nor takes a lock.
//!
//! This test binary defines `malloc` and its family, `mmap`, `munmap`, the lock
//! functions of the C library, `dl_iterate_phdr` (which takes the loader's lock) and
//! `syscall` (through which the standard library reaches the futex) itself; the
//! linker and the loader prefer these to the C library's. Each forwards, except
//! within our SIGPROF handler, where it ends the process. The controls show that
//! each of them does.

#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#![expect(
    unsafe_code,
    reason = "defines C functions and installs a signal handler"
)]

#[path = "support/jit.rs"]
mod jit;

use jit::Jit;
use std::cell::Cell;
use std::ffi::{CStr, c_int, c_long, c_void};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use wasmscope_sample::{
    Clock, FrameKind, HostFrames, Options, OsThread, Rate, Sample, Sampler, Sink, StackEnd,
    ThreadCapture, ThreadId, ThreadReport,
};

thread_local! {
    static IN_HANDLER: Cell<bool> = const { Cell::new(false) };
}

/// How often the handler ran, and how often a function below was called elsewhere.
static HANDLED: AtomicU64 = AtomicU64::new(0);
static FORWARDED: AtomicU64 = AtomicU64::new(0);

/// Ends the process when called in the handler.
fn check(what: &str) {
    if IN_HANDLER.get() {
        // One write, so that what two threads say does not mix.
        let part = |text: &str| libc::iovec {
            iov_base: text.as_ptr().cast_mut().cast(),
            iov_len: text.len(),
        };
        let parts = [
            part("called in the signal handler: "),
            part(what),
            part("\n"),
        ];
        // SAFETY: three live texts, which are only read.
        unsafe { libc::writev(2, parts.as_ptr(), 3) };
        // SAFETY: has no preconditions.
        unsafe { libc::abort() };
    }
    FORWARDED.fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(old: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_free(old: *mut c_void);
    fn __libc_memalign(align: usize, size: usize) -> *mut c_void;
}

/// Returns the function of this name that ours stands in front of.
fn next(name: &CStr, known: &AtomicUsize) -> usize {
    if known.load(Ordering::Relaxed) == 0 {
        // SAFETY: looks up a name that ends in zero.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
        known.store(found as usize, Ordering::Relaxed);
    }
    known.load(Ordering::Relaxed)
}

// SAFETY of all of these: each has the signature and meaning of the C function that
// it stands in for, because it calls that function's implementation.

#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    check("malloc");
    // SAFETY: forwards.
    unsafe { __libc_malloc(size) }
}

#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    check("calloc");
    // SAFETY: forwards.
    unsafe { __libc_calloc(count, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(old: *mut c_void, size: usize) -> *mut c_void {
    check("realloc");
    // SAFETY: forwards.
    unsafe { __libc_realloc(old, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(old: *mut c_void) {
    check("free");
    // SAFETY: forwards.
    unsafe { __libc_free(old) }
}

#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    check("aligned_alloc");
    // SAFETY: forwards.
    unsafe { __libc_memalign(align, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> c_int {
    check("posix_memalign");
    // SAFETY: forwards, and the caller gave a place for the result.
    unsafe {
        *out = __libc_memalign(align, size);
        if (*out).is_null() { libc::ENOMEM } else { 0 }
    }
}

/// Makes a system call as the C library's `syscall` does.
unsafe fn kernel(number: c_long, args: [c_long; 6]) -> c_long {
    let result: c_long;
    // SAFETY: the system call's own preconditions are the caller's.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _,
        );
        if (-4095..0).contains(&result) {
            *libc::__errno_location() = -result as c_int;
            return -1;
        }
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mmap(
    at: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: i64,
) -> *mut c_void {
    check("mmap");
    let args = [
        at as c_long,
        len as c_long,
        protection.into(),
        flags.into(),
        fd.into(),
        offset,
    ];
    // SAFETY: forwards.
    unsafe { kernel(libc::SYS_mmap, args) as *mut c_void }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn munmap(at: *mut c_void, len: usize) -> c_int {
    check("munmap");
    // SAFETY: forwards.
    unsafe { kernel(libc::SYS_munmap, [at as c_long, len as c_long, 0, 0, 0, 0]) as c_int }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_lock(lock: *mut c_void) -> c_int {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    check("pthread_mutex_lock");
    // SAFETY: forwards to a function of this signature.
    unsafe {
        let next: unsafe extern "C" fn(*mut c_void) -> c_int =
            std::mem::transmute(next(c"pthread_mutex_lock", &NEXT));
        next(lock)
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_rdlock(lock: *mut c_void) -> c_int {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    check("pthread_rwlock_rdlock");
    // SAFETY: forwards to a function of this signature.
    unsafe {
        let next: unsafe extern "C" fn(*mut c_void) -> c_int =
            std::mem::transmute(next(c"pthread_rwlock_rdlock", &NEXT));
        next(lock)
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_wrlock(lock: *mut c_void) -> c_int {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    check("pthread_rwlock_wrlock");
    // SAFETY: forwards to a function of this signature.
    unsafe {
        let next: unsafe extern "C" fn(*mut c_void) -> c_int =
            std::mem::transmute(next(c"pthread_rwlock_wrlock", &NEXT));
        next(lock)
    }
}

type PerObject = unsafe extern "C" fn(*mut libc::dl_phdr_info, usize, *mut c_void) -> c_int;

#[unsafe(no_mangle)]
unsafe extern "C" fn dl_iterate_phdr(visit: PerObject, data: *mut c_void) -> c_int {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    check("dl_iterate_phdr");
    // SAFETY: forwards to a function of this signature.
    unsafe {
        let next: unsafe extern "C" fn(PerObject, *mut c_void) -> c_int =
            std::mem::transmute(next(c"dl_iterate_phdr", &NEXT));
        next(visit, data)
    }
}

/// Variadic in C; on this machine six integer arguments arrive alike.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    if number == libc::SYS_futex {
        check("futex");
    }
    // SAFETY: forwards.
    unsafe { kernel(number, [a, b, c, d, e, f]) }
}

/// The handler that we wrap.
static WRAPPED: AtomicUsize = AtomicUsize::new(0);

/// How often the code below calls itself.
const DEPTH: u32 = 1000;

/// What a control does in the handler.
static VIOLATION: AtomicI32 = AtomicI32::new(-1);

const VIOLATIONS: [&str; 10] = [
    "malloc",
    "calloc",
    "realloc",
    "free",
    "posix_memalign",
    "mmap",
    "munmap",
    "pthread_mutex_lock",
    "dl_iterate_phdr",
    "futex",
];

extern "C" fn wrapper(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
    // SAFETY: what was installed with SA_SIGINFO has this signature.
    let wrapped: Handler = unsafe { std::mem::transmute(WRAPPED.load(Ordering::Relaxed)) };
    IN_HANDLER.set(true);
    wrapped(signal, info, context);
    violate(VIOLATION.load(Ordering::Relaxed));
    IN_HANDLER.set(false);
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Calls one of the functions above, by the C library's name for it.
fn violate(which: c_int) {
    extern "C" fn visit(_: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
        0
    }
    // Opaque: a compiler that knows it is null makes other calls of these.
    let null = std::hint::black_box(std::ptr::null_mut());
    let mut place = null;
    // SAFETY: each call is of a function that ends the process before it does
    // anything.
    unsafe {
        match which {
            0 => drop(std::hint::black_box(Box::new(1))),
            1 => drop(std::hint::black_box(libc::calloc(1, 8))),
            2 => drop(std::hint::black_box(libc::realloc(null, 8))),
            3 => libc::free(null),
            4 => drop(libc::posix_memalign(&raw mut place, 64, 64)),
            5 => drop(libc::mmap(
                null,
                4096,
                0,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )),
            6 => drop(libc::munmap(null, 0)),
            7 => drop(libc::pthread_mutex_lock(null.cast())),
            8 => drop(libc::dl_iterate_phdr(Some(visit), null)),
            9 => {
                // A lock of the standard library that is held: this waits.
                static HELD: std::sync::Mutex<()> = std::sync::Mutex::new(());
                let held = HELD.lock();
                let again = HELD.lock();
                drop((held, again));
            }
            _ => {}
        }
    }
}

/// Puts [`wrapper`] around the handler that a sampler installed, once.
fn wrap_handler() {
    static WRAP: std::sync::Once = std::sync::Once::new();
    WRAP.call_once(|| {
        // SAFETY: sigaction is plain data; the handler that it names goes on to be
        // called, with what it expects.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            assert_eq!(
                libc::sigaction(libc::SIGPROF, std::ptr::null(), &raw mut action),
                0
            );
            assert_ne!(
                action.sa_flags & libc::SA_SIGINFO,
                0,
                "ours takes three arguments"
            );
            WRAPPED.store(action.sa_sigaction, Ordering::Relaxed);
            action.sa_sigaction = wrapper as *const () as usize;
            assert_eq!(
                libc::sigaction(libc::SIGPROF, &raw const action, std::ptr::null_mut()),
                0
            );
        }
    });
}

/// Notes the deepest stack and how the walks ended.
#[derive(Default)]
struct Seen {
    samples: u64,
    deepest_guest: usize,
    with_host: u64,
    cut: u64,
}

impl Sink for Seen {
    fn sample(&mut self, _thread: ThreadId, sample: &Sample<'_>) {
        self.samples += 1;
        let guest = sample
            .frames
            .iter()
            .filter(|frame| !frame.is_host())
            .count();
        self.deepest_guest = self.deepest_guest.max(guest);
        self.with_host += u64::from(guest < sample.frames.len());
        self.cut += u64::from(sample.end == StackEnd::Cut);
    }

    fn detached(&mut self, _thread: ThreadReport) {}
}

/// Calls itself `depth` times in host code, then runs `inner`.
#[inline(never)]
fn host_deep(depth: u32, inner: &dyn Fn()) -> u32 {
    if depth == 0 {
        inner();
        return 0;
    }
    std::hint::black_box(host_deep(std::hint::black_box(depth - 1), inner)) + 1
}

/// Longer than anything here takes: only what never happens gets there.
const LONG: Duration = Duration::from_secs(600);

/// What threads answered that were asked for their stacks.
#[derive(Default)]
struct Answers {
    count: AtomicU64,
    /// The most guest frames of one.
    deepest: AtomicUsize,
}

impl Answers {
    fn suffice(&self) -> bool {
        self.count.load(Ordering::Relaxed) >= 100
            && self.deepest.load(Ordering::Relaxed) > DEPTH as usize
    }
}

/// Asks `threads` for their stacks until it is to stop.
fn ask(
    sampler: &Sampler<Seen>,
    threads: &Mutex<Vec<OsThread>>,
    stop: &AtomicBool,
    answers: &Answers,
) {
    let capture = ThreadCapture::new().expect("installs");
    let code = Arc::new(sampler.code());
    let mut frames = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let threads = threads.lock().expect("no panic").clone();
        for thread in threads {
            let within = LONG;
            match capture.capture(thread, &code, 1 << 16, within, &mut frames) {
                Ok(_) => answers.count.fetch_add(1, Ordering::Relaxed),
                Err(wasmscope_sample::Error::ThreadGone { .. }) => continue,
                Err(error) => panic!("{error}"),
            };
            let guest = |frame: &&wasmscope_sample::Frame| frame.kind == FrameKind::Guest;
            let guests = frames.iter().filter(guest).count();
            answers.deepest.fetch_max(guests, Ordering::Relaxed);
        }
    }
}

#[test]
fn the_handler_neither_allocates_nor_locks() {
    if let Ok(violation) = std::env::var("WASMSCOPE_VIOLATE") {
        let which = VIOLATIONS.iter().position(|known| *known == violation);
        VIOLATION.store(which.expect("known") as c_int, Ordering::Relaxed);
    }
    let jit = Jit::new();
    for clock in [Clock::Wall, Clock::Cpu] {
        for host_frames in [HostFrames::Omit, HostFrames::Keep] {
            let options = Options {
                clock,
                host_frames,
                rate: Rate::hertz(2000).expect("in reach"),
                // Small, so that it fills and the drain thread is woken as well.
                ring_bytes: 64 << 10,
                drain_period: Duration::from_millis(100),
                ..Options::default()
            };
            let sampler = Sampler::start(options, Seen::default()).expect("starts");
            wrap_handler();
            sampler
                .add_code(jit.range(), Jit::windows())
                .expect("nothing there yet");
            let before = HANDLED.load(Ordering::Relaxed);
            let threads = Mutex::new(Vec::new());
            let stop = AtomicBool::new(false);
            let answers = Answers::default();
            std::thread::scope(|scope| {
                // The same threads are asked for their stacks as well.
                let asked = scope.spawn(|| ask(&sampler, &threads, &stop, &answers));
                let workers = [(); 3].map(|()| {
                    scope.spawn(|| {
                        let guard = sampler.attach_thread().expect("attaches");
                        let here = OsThread::current().expect("proc");
                        threads.lock().expect("no panic").push(here);
                        // A number of samples, not a time: machines differ.
                        let enough = before + 600;
                        let begin = Instant::now();
                        while (HANDLED.load(Ordering::Relaxed) < enough || !answers.suffice())
                            && begin.elapsed() < LONG
                        {
                            jit.run(DEPTH, 50_000);
                            jit.run(3, 50_000);
                            host_deep(50, &|| jit.run(10, 50_000));
                            // Interrupted in the allocator, whose lock is held.
                            let bytes: Vec<_> = (1..50).map(|n| vec![0u8; n * 64]).collect();
                            std::hint::black_box(bytes);
                        }
                        threads.lock().expect("no panic").retain(|one| *one != here);
                        drop(guard);
                    })
                });
                for worker in workers {
                    worker.join().expect("no panic");
                }
                stop.store(true, Ordering::Relaxed);
                asked.join().expect("no panic");
            });
            assert!(HANDLED.load(Ordering::Relaxed) >= before + 600);
            assert!(answers.suffice());
            assert_eq!(answers.deepest.into_inner(), DEPTH as usize + 1);
            let seen = sampler.sink();
            assert!(seen.samples > 0);
            assert_eq!(
                seen.deepest_guest,
                DEPTH as usize + 1,
                "{clock} {host_frames:?}"
            );
            assert!(seen.with_host > 0, "walks go on into the host");
            assert!(
                seen.samples > 10 * seen.cut,
                "{} of {}",
                seen.cut,
                seen.samples
            );
        }
    }
    assert!(
        FORWARDED.load(Ordering::Relaxed) > 1000,
        "ours are the functions called"
    );
}

#[test]
fn each_control_is_caught() {
    for violation in VIOLATIONS {
        let output = Command::new(std::env::current_exe().expect("known"))
            .args([
                "--exact",
                "the_handler_neither_allocates_nor_locks",
                "--nocapture",
            ])
            .env("WASMSCOPE_VIOLATE", violation)
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&output.stderr);
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(
            output.status.signal(),
            Some(libc::SIGABRT),
            "{violation}: {said}"
        );
        assert!(
            said.contains(&format!("called in the signal handler: {violation}\n")),
            "{violation}: {said}"
        );
    }
}
