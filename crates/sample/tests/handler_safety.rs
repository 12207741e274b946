//! The signal handler neither allocates, nor maps memory, nor takes a lock.
//!
//! What it must not call ends the process within our SIGPROF handler, see `forbidden`. The
//! controls show that each of those functions does.

#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#![expect(unsafe_code, reason = "installs a signal handler")]

#[path = "support/forbidden.rs"]
mod forbidden;
#[path = "support/jit.rs"]
mod jit;

use forbidden::{FORWARDED, VIOLATIONS, in_handler, violate};
use jit::Jit;
use std::ffi::{c_int, c_void};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use wasmscope_sample::{
    Clock, FrameKind, HostFrames, Options, OsThread, Rate, Sample, Sampler, Sink, StackEnd,
    ThreadCapture, ThreadId, ThreadReport,
};

/// How often the handler ran.
static HANDLED: AtomicU64 = AtomicU64::new(0);

/// The handler that we wrap.
static WRAPPED: AtomicUsize = AtomicUsize::new(0);

/// How often the code below calls itself.
const DEPTH: u32 = 1000;

/// What a control does in the handler.
static VIOLATION: AtomicI32 = AtomicI32::new(-1);

extern "C" fn wrapper(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
    // SAFETY: what was installed with SA_SIGINFO has this signature.
    let wrapped: Handler = unsafe { std::mem::transmute(WRAPPED.load(Ordering::Relaxed)) };
    in_handler(|| {
        wrapped(signal, info, context);
        violate(VIOLATION.load(Ordering::Relaxed));
    });
    HANDLED.fetch_add(1, Ordering::Relaxed);
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
