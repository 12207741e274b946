//! The C library's functions that no signal handler may call, which end the process in one.
//!
//! A test binary that has this file defines `malloc` and its family, `mmap`, `munmap`, the lock
//! functions of the C library, `dl_iterate_phdr` (which takes the loader's lock) and `syscall`
//! (through which the standard library reaches the futex) itself; the linker and the loader
//! prefer these to the C library's. Each forwards, except within what [`in_handler`] runs, where
//! it ends the process and says its name. [`violate`] calls each, as a control.

#![expect(unsafe_code, reason = "defines C functions, and calls them")]

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_long, c_void};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

thread_local! {
    static IN_HANDLER: Cell<bool> = const { Cell::new(false) };
}

/// How often a function below was called elsewhere.
pub(crate) static FORWARDED: AtomicU64 = AtomicU64::new(0);

/// Runs what a signal handler does.
pub(crate) fn in_handler(run: impl FnOnce()) {
    IN_HANDLER.set(true);
    run();
    IN_HANDLER.set(false);
}

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

/// What [`violate`] calls, by number.
pub(crate) const VIOLATIONS: [&str; 10] = [
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

/// Calls one of the functions above, by the C library's name for it.
pub(crate) fn violate(which: c_int) {
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
