//! The stack of another thread: whole wherever the thread is, and an error that says why
//! where there is none.

#![cfg(all(target_os = "linux", target_arch = "x86_64", not(wasmscope_portable)))]
#![expect(
    unsafe_code,
    reason = "blocks signals, and asks the C library for stacks"
)]

#[path = "support/jit.rs"]
mod jit;

use jit::Jit;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};
use wasmscope_sample::{
    CodeMap, End, Error, Frame, FrameKind, Options, OsThread, Rate, Sample, Sampler, Sink,
    ThreadCapture, ThreadId, ThreadReport,
};

/// Far more than any answer takes, on a machine as busy as may be; a test that waits so long
/// has failed.
const LONG: Duration = Duration::from_secs(600);

/// Panics when `begin` is so long ago.
fn be_patient(begin: Instant, what: &str) {
    assert!(begin.elapsed() < LONG, "there is still not: {what}");
}

struct Asking {
    capture: ThreadCapture,
    code: Arc<CodeMap>,
}

impl Asking {
    fn new(jits: &[&Jit]) -> Self {
        let mut code = CodeMap::default();
        for jit in jits {
            code = code.with(jit.range(), Jit::windows()).expect("apart");
        }
        Self {
            capture: ThreadCapture::new().expect("installs"),
            code: Arc::new(code),
        }
    }

    fn stack(&self, thread: OsThread, within: Duration) -> Result<(Vec<Frame>, End), Error> {
        let mut frames = Vec::new();
        let end = self
            .capture
            .capture(thread, &self.code, 1 << 20, within, &mut frames)?;
        Ok((frames, end))
    }
}

/// Starts a thread that runs `work`, and hands out its number first.
fn start<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> (OsThread, std::thread::JoinHandle<T>) {
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        tell.send(OsThread::current().expect("proc"))
            .expect("is waited for");
        work()
    });
    (told.recv().expect("starts"), thread)
}

/// Checks that the guest frames are those of one run of the code at some depth.
fn is_run_of(jit: &Jit, frames: &[Frame], end: End, depth: usize) -> usize {
    assert_eq!(end, End::Root, "{frames:x?}");
    let guest: Vec<_> = frames
        .iter()
        .filter(|frame| frame.kind == FrameKind::Guest)
        .collect();
    assert!(guest.len() <= depth + 1, "{}", guest.len());
    if let Some((newest, callers)) = guest.split_first() {
        assert!(jit.range().contains(newest.pc));
        for caller in callers {
            assert_eq!(caller.pc.0, jit.start + 0x0f, "returns from the inner call");
        }
        // No two frames overlap, and they follow each other: 16 bytes each.
        for pair in callers.windows(2) {
            assert_eq!(
                pair[1].base.expect("read"),
                pair[0].base.expect("read") + 16
            );
        }
        // After the guest the host, to the thread's first frame.
        assert!(frames.len() > guest.len() + 2);
    }
    guest.len()
}

#[test]
fn a_guest_s_stack_is_whole_at_any_instruction() {
    const DEPTH: usize = 300;
    let jit = Arc::new(Jit::new());
    let asking = Asking::new(&[&jit]);
    let stop = Arc::new(AtomicBool::new(false));
    let (thread, joined) = start({
        let (jit, stop) = (jit.clone(), stop.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                jit.run(DEPTH as u32, 2000);
            }
        }
    });
    // Until it was met in both: how often depends on who runs when.
    let begin = Instant::now();
    let (mut whole, mut between) = (0, 0);
    while whole < 1000 || between == 0 {
        be_patient(begin, "1000 whole stacks and one while it goes down or up");
        let (frames, end) = asking.stack(thread, LONG).expect("answers");
        match is_run_of(&jit, &frames, end, DEPTH) {
            guest if guest == DEPTH + 1 => whole += 1,
            _ => between += 1,
        }
    }
    stop.store(true, Ordering::Relaxed);
    joined.join().expect("no panic");
}

#[test]
fn deep_stacks_have_room() {
    const DEPTH: usize = 50_000;
    let jit = Arc::new(Jit::new());
    let asking = Asking::new(&[&jit]);
    let stop = Arc::new(AtomicBool::new(false));
    let (thread, joined) = start({
        let (jit, stop) = (jit.clone(), stop.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                jit.run(DEPTH as u32, 100_000_000);
            }
        }
    });
    let begin = Instant::now();
    loop {
        be_patient(begin, "a whole stack");
        let (frames, end) = asking.stack(thread, LONG).expect("answers");
        if is_run_of(&jit, &frames, end, DEPTH) == DEPTH + 1 {
            break;
        }
    }
    // It may be between two runs, where there are not as many as are asked for.
    let mut frames = Vec::new();
    loop {
        be_patient(begin, "a stack of as many as asked for");
        let end = asking
            .capture
            .capture(thread, &asking.code, 100, LONG, &mut frames)
            .expect("answers");
        match frames.len() {
            100 if end == End::Stopped => break,
            fewer => assert!(fewer <= 100 && end == End::Root, "{fewer} {end:?}"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    joined.join().expect("no panic");
}

#[test]
fn a_thread_that_sleeps_answers_and_sleeps_on() {
    let asking = Asking::new(&[]);
    let (reader, writer) = std::io::pipe().expect("pipes");
    let (thread, joined) = start(move || {
        let mut byte = 0u8;
        // SAFETY: an open descriptor, and one byte of room.
        let read = unsafe { libc::read(reader.as_raw_fd(), (&raw mut byte).cast(), 1) };
        (read, byte)
    });
    for _ in 0..200 {
        let (frames, end) = asking.stack(thread, LONG).expect("answers");
        assert_eq!(end, End::Root);
        assert!(frames.len() > 3);
    }
    // SAFETY: an open descriptor, and one byte to write.
    let written = unsafe { libc::write(writer.as_raw_fd(), [7u8].as_ptr().cast(), 1) };
    assert_eq!(written, 1);
    assert_eq!(joined.join().expect("no panic"), (1, 7), "begun again");
}

#[test]
fn this_thread_may_ask_itself() {
    let asking = Asking::new(&[]);
    let here = OsThread::current().expect("proc");
    let (frames, end) = asking.stack(here, LONG).expect("answers");
    assert_eq!(end, End::Root);
    assert!(frames.len() > 5);
}

#[test]
fn a_thread_with_hardly_an_alternate_stack_answers() {
    let asking = Asking::new(&[]);
    let barrier = Arc::new(Barrier::new(2));
    let (thread, joined) = start({
        let barrier = barrier.clone();
        move || {
            let none = libc::stack_t {
                ss_sp: std::ptr::null_mut(),
                ss_flags: libc::SS_DISABLE,
                ss_size: 0,
            };
            let mut before = none;
            // SAFETY: takes the runtime's alternate stack out of use for a while.
            unsafe { libc::sigaltstack(&raw const none, &raw mut before) };
            barrier.wait();
            barrier.wait();
            // SAFETY: puts it back.
            unsafe { libc::sigaltstack(&raw const before, std::ptr::null_mut()) };
        }
    });
    let (_, end) = asking.stack(thread, LONG).expect("with the runtime's");
    assert_eq!(end, End::Root);
    barrier.wait();
    let (_, end) = asking.stack(thread, LONG).expect("with none");
    assert_eq!(end, End::Root);
    barrier.wait();
    joined.join().expect("no panic");
}

#[test]
fn a_thread_that_is_gone_is_an_error() {
    let asking = Asking::new(&[]);
    let (thread, joined) = start(|| ());
    joined.join().expect("no panic");
    while thread.is_alive() {
        std::thread::yield_now();
    }
    let error = asking.stack(thread, LONG).expect_err("it has ended");
    assert!(matches!(error, Error::ThreadGone { tid } if tid == thread.tid()));
}

#[test]
fn threads_that_end_meanwhile_are_gone_or_answer() {
    let asking = Asking::new(&[]);
    let (mut answered, mut gone) = (0u64, 0u64);
    let begin = Instant::now();
    // Each lives longer than the one before: until one lives long enough to be asked.
    let mut life = 0;
    while gone < 300 || answered == 0 {
        be_patient(begin, "a thread that answers");
        life += 1000;
        let (thread, joined) = start(move || {
            for turn in 0..life {
                std::hint::black_box(turn);
            }
        });
        loop {
            match asking.stack(thread, LONG) {
                Ok((frames, _)) => {
                    assert!(!frames.is_empty());
                    answered += 1;
                }
                Err(Error::ThreadGone { .. }) => {
                    gone += 1;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        joined.join().expect("no panic");
    }
}

/// Blocks or unblocks the signal on the calling thread.
fn block(how: libc::c_int) {
    // SAFETY: a set that is filled before it is read.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGPROF);
        assert_eq!(
            libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()),
            0
        );
    }
}

#[test]
fn a_thread_that_blocks_the_signal_is_an_error_and_late_answers_do_no_harm() {
    let asking = Asking::new(&[]);
    let (go, wait) = mpsc::channel::<bool>();
    let (done, is_done) = mpsc::channel();
    let (thread, joined) = start(move || {
        block(libc::SIG_BLOCK);
        done.send(()).expect("is waited for");
        for blocked in wait {
            block(if blocked {
                libc::SIG_BLOCK
            } else {
                libc::SIG_UNBLOCK
            });
            done.send(()).expect("is waited for");
        }
    });
    is_done.recv().expect("answers");
    for _ in 0..50 {
        let error = asking
            .stack(thread, Duration::from_millis(3))
            .expect_err("it cannot answer");
        assert!(
            matches!(error, Error::ThreadBlocks { tid } if tid == thread.tid()),
            "{error}"
        );
        // The signal that is pending still arrives with a question that is closed.
        go.send(false).expect("listens");
        is_done.recv().expect("answers");
        let (frames, end) = asking.stack(thread, LONG).expect("answers");
        assert_eq!(end, End::Root);
        assert!(frames.len() > 3);
        go.send(true).expect("listens");
        is_done.recv().expect("answers");
    }
    drop(go);
    joined.join().expect("no panic");
}

/// Counts ticks.
#[derive(Default)]
struct Ticks(u64);

impl Sink for Ticks {
    fn sample(&mut self, _thread: ThreadId, sample: &Sample<'_>) {
        self.0 += sample.ticks;
    }

    fn detached(&mut self, _thread: ThreadReport) {}
}

#[test]
fn many_ask_many_beside_a_sampler() {
    const DEPTH: usize = 40;
    const ENOUGH: u64 = 1500;
    let jit = Arc::new(Jit::new());
    let options = Options {
        rate: Rate::hertz(5000).expect("in reach"),
        ..Options::default()
    };
    let sampler = Sampler::start(options, Ticks::default()).expect("starts");
    sampler
        .add_code(jit.range(), Jit::windows())
        .expect("nothing there yet");
    let asking = Asking::new(&[&jit]);
    let stop = AtomicBool::new(false);
    let whole = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        for sampled in [true, true, false] {
            let (tell, jit, stop, sampler) = (tell.clone(), &jit, &stop, &sampler);
            scope.spawn(move || {
                let _guard = sampled.then(|| sampler.attach_thread().expect("attaches"));
                tell.send(OsThread::current().expect("proc"))
                    .expect("is waited for");
                while !stop.load(Ordering::Relaxed) {
                    jit.run(DEPTH as u32, 1000);
                }
            });
        }
        let threads: Arc<[_]> = told.iter().take(3).collect();
        let askers: Vec<_> = (0..4)
            .map(|first| {
                let threads = threads.clone();
                let (asking, jit, whole) = (&asking, &jit, &whole);
                scope.spawn(move || {
                    let begin = Instant::now();
                    for turn in first.. {
                        be_patient(begin, "whole stacks enough");
                        let thread = threads[turn % threads.len()];
                        let (frames, end) = asking.stack(thread, LONG).expect("answers");
                        if is_run_of(jit, &frames, end, DEPTH) == DEPTH + 1 {
                            whole.fetch_add(1, Ordering::Relaxed);
                        }
                        if whole.load(Ordering::Relaxed) >= ENOUGH {
                            break;
                        }
                    }
                })
            })
            .collect();
        let results: Vec<_> = askers.into_iter().map(|asker| asker.join()).collect();
        // Also when one has panicked: the scope waits for the threads that were asked.
        stop.store(true, Ordering::Relaxed);
        for result in results {
            result.expect("no panic");
        }
    });
    assert!(sampler.sink().0 > 0, "ticks arrived all the while");
}
