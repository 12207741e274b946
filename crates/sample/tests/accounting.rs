//! Every sample that is due is kept or lost, and none of its time is.
//!
//! What is due is computed here, from the kernel's clocks read by the test itself:
//! just outside and just inside of attaching and detaching, so that a machine that
//! is busy with others widens the bounds and does not break the test. Each case must
//! reach bounds of one sample at least once.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(
    unsafe_code,
    reason = "clock_gettime, poll and pthread_sigmask are C functions"
)]
#![expect(
    clippy::print_stderr,
    reason = "a mechanism that is not permitted is skipped loudly"
)]

use std::io::{Read, Write};
use std::time::{Duration, Instant};
use wasmscope_sample::{
    Accounting, Clock, Error, Mechanism, Options, Rate, Sample, Sampler, Sink, ThreadId,
    ThreadReport,
};

const MECHANISMS: [Mechanism; 3] = [
    Mechanism::MonotonicTimer,
    Mechanism::TaskClock,
    Mechanism::MonotonicTimerOnCpuTime,
];

/// Longer than anything here takes: only what never happens gets there.
const LONG: Duration = Duration::from_secs(600);

fn nanos(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a live place for the result.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The test's own reading of the clock that a mechanism samples.
fn clock_of(mechanism: Mechanism) -> u64 {
    nanos(match mechanism.clock() {
        Clock::Wall => libc::CLOCK_MONOTONIC,
        Clock::Cpu => libc::CLOCK_THREAD_CPUTIME_ID,
    })
}

/// Keeps what the sampler says.
#[derive(Default)]
struct Heard {
    ticks: u64,
    samples: u64,
    most_ticks: u64,
    cpu: Duration,
    in_handler: Duration,
    /// Ticks and the handler's part of them, by label.
    by_label: [(u64, Duration); 3],
    ended: Vec<ThreadReport>,
}

impl Sink for Heard {
    fn sample(&mut self, thread: ThreadId, sample: &Sample<'_>) {
        self.ticks += sample.ticks;
        self.samples += 1;
        self.most_ticks = self.most_ticks.max(sample.ticks);
        self.cpu += sample.cpu.expect("measured by default");
        self.in_handler += sample.in_handler;
        let (ticks, in_handler) = &mut self.by_label[sample.label as usize];
        *ticks += sample.ticks;
        *in_handler += sample.in_handler;
        let ended = self.ended.iter().any(|ended| ended.id == thread);
        assert!(!ended, "the last word comes after all samples");
    }

    fn detached(&mut self, thread: ThreadReport) {
        self.ended.push(thread);
    }
}

/// Starts a sampler whose ring is small, so that attaching is quick.
fn start(mechanism: Mechanism, hertz: u32) -> Sampler<Heard> {
    let options = Options {
        clock: mechanism.clock(),
        mechanism: Some(mechanism),
        rate: Rate::hertz(hertz).expect("in reach"),
        ring_bytes: 32 << 10,
        ..Options::default()
    };
    Sampler::start(options, Heard::default()).expect("starts")
}

/// What one run came to.
struct Run {
    /// Ticks that the test's clock says were due, at least and at most.
    due: std::ops::RangeInclusive<u64>,
    /// Intervals that passed meanwhile for everybody, at least.
    passed: u64,
    heard: Heard,
}

impl Run {
    fn report(&self) -> &ThreadReport {
        &self.heard.ended[0]
    }

    fn accounting(&self) -> Accounting {
        self.report().accounting
    }
}

/// Runs `work` on a new thread that is sampled; `None` when the mechanism is not
/// permitted here.
fn run(
    mechanism: Mechanism,
    hertz: u32,
    work: impl Fn(&Sampler<Heard>) + Send + Sync,
) -> Option<Run> {
    let sampler = start(mechanism, hertz);
    let interval = 1_000_000_000 / u64::from(hertz);
    let times = std::thread::scope(|scope| {
        let sampled = scope.spawn(|| {
            let outer = clock_of(mechanism);
            let guard = match sampler.attach_thread() {
                Ok(guard) => guard,
                Err(Error::Attach { source, .. }) if mechanism == Mechanism::TaskClock => {
                    eprintln!("SKIPPED: {mechanism} is not permitted here: {source}");
                    return None;
                }
                Err(error) => panic!("{mechanism}: {error}"),
            };
            let inner = clock_of(mechanism);
            let begin = Instant::now();
            work(&sampler);
            let passed = begin.elapsed();
            let inner_end = clock_of(mechanism);
            drop(guard);
            Some((outer, inner, inner_end, clock_of(mechanism), passed))
        });
        sampled.join().expect("no panic")
    });
    let (outer, inner, inner_end, outer_end, passed) = times?;
    let heard = std::mem::take(&mut *sampler.sink());
    Some(Run {
        due: (inner_end - inner) / interval..=(outer_end - outer) / interval,
        passed: passed.as_nanos() as u64 / interval,
        heard,
    })
}

/// Checks what must hold of every run, whatever the thread did.
fn check(run: &Run, mechanism: Mechanism, what: &str) {
    let Accounting {
        due, kept, lost, ..
    } = run.accounting();
    let say = format!(
        "{what}, {mechanism}: {:?} with {} unweighed, of {:?} by the test's clock",
        run.accounting(),
        run.report().unweighed,
        run.due
    );
    assert_eq!(run.report().mechanism, mechanism, "{say}");
    assert!((kept + lost).abs_diff(due) <= 1, "{say}");
    assert!(run.due.contains(&due), "{say}");
    assert!(kept + lost + 1 >= *run.due.start(), "{say}");
    assert!(kept + lost <= run.due.end() + 1, "{say}");
    assert_eq!(run.heard.samples, kept, "{say}");
    assert_eq!(
        run.heard.ticks + run.report().unweighed,
        kept + lost,
        "{say}"
    );
    // Each handler's time is taken off once, that of the last never.
    let (taken_off, in_handler) = (run.heard.in_handler, run.report().in_handler);
    assert!(
        taken_off <= in_handler,
        "{say}: {taken_off:?}, {in_handler:?}"
    );
    assert!(kept < 3 || taken_off > Duration::ZERO, "{say}");
}

/// Runs `work` until the test's clock is certain to within one sample, checking each: on a
/// busy machine that may take many times.
fn check_to_within_one(
    mechanism: Mechanism,
    hertz: u32,
    what: &str,
    work: impl Fn(&Sampler<Heard>) + Send + Sync,
    and: impl Fn(&Run),
) {
    let begin = Instant::now();
    while begin.elapsed() < LONG {
        let Some(run) = run(mechanism, hertz, &work) else {
            return;
        };
        check(&run, mechanism, what);
        and(&run);
        if run.due.end() - run.due.start() <= 1 {
            return;
        }
    }
    panic!("{what}, {mechanism}: this machine is too busy to tell");
}

/// Uses the processor for this much of the thread's own time.
fn spin(millis: u64) {
    let end = nanos(libc::CLOCK_THREAD_CPUTIME_ID) + millis * 1_000_000;
    while nanos(libc::CLOCK_THREAD_CPUTIME_ID) < end {
        std::hint::spin_loop();
    }
}

fn sleep(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// Waits for a byte in a pipe that another thread writes a while later.
fn blocked_read() {
    let (mut reader, mut writer) = std::io::pipe().expect("opens");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            sleep(100);
            writer.write_all(b"x").expect("writes");
        });
        let mut byte = [0];
        // The bare system call, once: the signal handler asks for a restart.
        assert_eq!(reader.read(&mut byte).expect("is restarted"), 1);
    });
}

/// Polls nothing for 100 ms; a signal ends each call early, as the manual says.
fn blocked_poll() {
    let end = nanos(libc::CLOCK_MONOTONIC) + 100_000_000;
    loop {
        let now = nanos(libc::CLOCK_MONOTONIC);
        let Some(left) = end.checked_sub(now) else {
            return;
        };
        // SAFETY: no descriptors at all.
        unsafe { libc::poll(std::ptr::null_mut(), 0, (left / 1_000_000) as i32 + 1) };
    }
}

#[test]
fn a_thread_that_runs() {
    for mechanism in MECHANISMS {
        for hertz in [100, 1000] {
            check_to_within_one(mechanism, hertz, "running", |_| spin(150), |_| ());
        }
    }
}

#[test]
fn a_thread_that_sleeps_or_waits() {
    let works: [(&str, fn()); 4] = [
        ("asleep", || sleep(100)),
        ("in a read", blocked_read),
        ("in a poll", blocked_poll),
        ("running and asleep", || {
            for _ in 0..10 {
                spin(5);
                sleep(5);
            }
        }),
    ];
    for mechanism in MECHANISMS {
        for (what, work) in works {
            check_to_within_one(
                mechanism,
                1000,
                what,
                |_| work(),
                |run| {
                    // What the clock says is due was asserted; that it is the right
                    // clock is seen from a thread that only sleeps.
                    match mechanism.clock() {
                        Clock::Wall => assert!(run.accounting().due >= 95, "{what}"),
                        Clock::Cpu if what == "asleep" => {
                            let due = run.accounting().due;
                            assert!(due < run.passed, "{what}: it does not run: {due}");
                        }
                        Clock::Cpu => {}
                    }
                },
            );
        }
    }
}

#[test]
fn signals_that_are_blocked_come_as_weight() {
    for mechanism in MECHANISMS {
        let blocked = |_: &Sampler<Heard>| {
            spin(10);
            // SAFETY: a signal set of this thread's own, live throughout.
            unsafe {
                let mut set = std::mem::zeroed();
                libc::sigemptyset(&raw mut set);
                libc::sigaddset(&raw mut set, libc::SIGPROF);
                libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
                spin(50);
                libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
            }
            spin(10);
        };
        check_to_within_one(mechanism, 1000, "blocked for 50 ms", blocked, |run| {
            assert!(run.accounting().lost >= 48, "{:?}", run.accounting());
            assert!(
                run.heard.most_ticks >= 48,
                "one sample stands for the time in which none could be taken"
            );
        });
    }
}

#[test]
fn a_rate_beyond_what_the_machine_can_do() {
    for mechanism in MECHANISMS {
        // An interval is so short here that the bounds rarely are within one.
        for _ in 0..3 {
            let Some(run) = run(mechanism, 20_000, |_| spin(100)) else {
                break;
            };
            check(&run, mechanism, "20 kHz");
            assert!(run.accounting().due >= 1900, "{:?}", run.accounting());
        }
    }
}

#[test]
fn a_ring_that_is_full_loses_samples_and_no_time() {
    for mechanism in MECHANISMS {
        let starve = |sampler: &Sampler<Heard>| {
            spin(5);
            let kept_and_lost = || {
                let accounting = sampler.threads()[0].accounting;
                (accounting.kept, accounting.lost)
            };
            // Nobody drains while the sink is held.
            let held = sampler.sink();
            let mut full_since = kept_and_lost();
            for _ in 0..10_000 {
                spin(1);
                let now = kept_and_lost();
                if now.0 != full_since.0 {
                    full_since = now;
                } else if now.1 >= full_since.1 + 100 {
                    break;
                }
            }
            assert!(kept_and_lost().1 >= full_since.1 + 100, "the ring fills");
            drop(held);
            let kept_before = kept_and_lost().0;
            for _ in 0..10_000 {
                drop(sampler.sink());
                spin(1);
                if kept_and_lost().0 >= kept_before + 5 {
                    return;
                }
            }
            panic!("sampling goes on once there is room");
        };
        check_to_within_one(mechanism, 1000, "full ring", starve, |run| {
            assert!(run.accounting().lost >= 100);
            assert!(
                run.heard.most_ticks >= 100,
                "the next sample stands for them"
            );
        });
    }
}

#[test]
fn samples_say_how_much_cpu_time_passed() {
    for mechanism in MECHANISMS {
        let Some(run) = run(mechanism, 1000, |_| {
            spin(50);
            sleep(50);
            spin(50);
        }) else {
            continue;
        };
        let cpu = run.heard.cpu;
        assert!(cpu >= Duration::from_millis(90), "{mechanism}: {cpu:?}");
        match mechanism.clock() {
            Clock::Wall => assert!(cpu <= run.accounting().sampled, "{mechanism}: {cpu:?}"),
            // The last sample comes before the end.
            Clock::Cpu => assert!(
                cpu <= run.accounting().sampled + Duration::from_millis(1),
                "{mechanism}: {cpu:?} of {:?}",
                run.accounting().sampled
            ),
        }
    }
}

#[test]
fn many_threads_each_have_their_own_accounting() {
    let sampler = start(Mechanism::MonotonicTimer, 1000);
    let bounds = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8u64)
            .map(|number| {
                let sampler = &sampler;
                scope.spawn(move || {
                    let outer = nanos(libc::CLOCK_MONOTONIC);
                    let guard = sampler.attach_thread().expect("attaches");
                    let inner = nanos(libc::CLOCK_MONOTONIC);
                    let id = guard.id();
                    if number % 2 == 0 {
                        spin(20 + number);
                    } else {
                        sleep(20 * number);
                    }
                    let inner_end = nanos(libc::CLOCK_MONOTONIC);
                    drop(guard);
                    let outer_end = nanos(libc::CLOCK_MONOTONIC);
                    let due = (inner_end - inner) / 1_000_000..=(outer_end - outer) / 1_000_000;
                    (id, due)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect::<Vec<_>>()
    });
    let mut heard = sampler.sink();
    let heard = std::mem::take(&mut *heard);
    assert_eq!(heard.ended.len(), 8);
    let (mut accounted, mut unweighed) = (0, 0);
    for (id, due) in bounds {
        let report = heard
            .ended
            .iter()
            .find(|report| report.id == id)
            .expect("each thread is reported");
        let Accounting { kept, lost, .. } = report.accounting;
        assert!(due.contains(&report.accounting.due), "{due:?} {report:?}");
        assert!(
            report.accounting.due.abs_diff(kept + lost) <= 1,
            "{report:?}"
        );
        accounted += kept + lost;
        unweighed += report.unweighed;
    }
    assert_eq!(heard.ticks + unweighed, accounted);
}

#[test]
fn a_thread_has_one_sampler_at_a_time_and_may_come_back() {
    let one = start(Mechanism::MonotonicTimer, 1000);
    let two = start(Mechanism::MonotonicTimer, 1000);
    let guard = one.attach_thread().expect("attaches");
    assert!(matches!(one.attach_thread(), Err(Error::AlreadyAttached)));
    assert!(matches!(two.attach_thread(), Err(Error::AlreadyAttached)));
    drop(guard);
    for round in 1..=5 {
        let guard = two.attach_thread().expect("attaches again");
        spin(5);
        drop(guard);
        let heard = &two.sink().ended;
        assert_eq!(heard.len(), round);
    }
}

#[inline(never)]
fn at_depth(depth: u32, work: &mut dyn FnMut()) -> u32 {
    if depth == 0 {
        work();
        return 0;
    }
    // Not a tail call: each frame stays.
    std::hint::black_box(at_depth(depth - 1, work)) + 1
}

/// Walking 20,000 frames takes longer than a tick of 50 microseconds: without a
/// rest the thread would do nothing else, for ever.
#[test]
fn a_stack_too_deep_for_the_rate_does_not_stop_the_thread() {
    for mechanism in [
        Mechanism::MonotonicTimer,
        Mechanism::MonotonicTimerOnCpuTime,
    ] {
        let options = Options {
            clock: mechanism.clock(),
            mechanism: Some(mechanism),
            rate: Rate::MAX,
            host_frames: wasmscope_sample::HostFrames::Keep,
            ring_bytes: 1 << 20,
            ..Options::default()
        };
        let sampler = Sampler::start(options, Heard::default()).expect("starts");
        let (done, finished) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let sampler = &sampler;
            std::thread::Builder::new()
                .stack_size(64 << 20)
                .spawn_scoped(scope, move || {
                    let guard = sampler.attach_thread().expect("attaches");
                    at_depth(20_000, &mut || {
                        for turn in 0..50_000_000u64 {
                            std::hint::black_box(turn);
                        }
                    });
                    drop(guard);
                    done.send(()).expect("somebody waits");
                })
                .expect("spawns");
            // A thread that makes no progress cannot be joined: end the process.
            if finished.recv_timeout(LONG).is_err() {
                eprintln!("{mechanism}: the thread makes no progress");
                std::process::abort();
            }
        });
        let heard = sampler.sink();
        let accounting = heard.ended[0].accounting;
        assert!(accounting.lost > 0, "some ticks are given up");
        assert!(accounting.due.abs_diff(accounting.kept + accounting.lost) <= 1);
        assert!(heard.ticks <= accounting.kept + accounting.lost);
    }
}

/// The same work, in turn with nothing below it and with 2,000 frames, whose walk is
/// longer than a tick. By ticks the deep half takes longer than the other; less the
/// handler's time it does not.
///
/// The turns are short and many: what else runs on the machine slows both halves. Work
/// without a label, longer than a handler's rest, comes before and after each on the same
/// stack: ticks that the rest puts off go over the border as often at the one end as at
/// the other.
#[test]
fn the_handler_s_time_is_not_the_thread_s() {
    const ROUNDS: u32 = 60;
    let options = Options {
        clock: Clock::Cpu,
        rate: Rate::MAX,
        host_frames: wasmscope_sample::HostFrames::Keep,
        ring_bytes: 1 << 20,
        ..Options::default()
    };
    let interval = options.rate.interval();
    let sampler = Sampler::start(options, Heard::default()).expect("starts");
    let turns = |turns: u64| {
        for turn in 0..turns {
            std::hint::black_box(turn);
        }
    };
    let work = |label| {
        turns(4_000_000);
        wasmscope_sample::set_label(label);
        turns(8_000_000);
        wasmscope_sample::set_label(0);
        turns(4_000_000);
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(64 << 20)
            .spawn_scoped(scope, || {
                let guard = sampler.attach_thread().expect("attaches");
                for _ in 0..ROUNDS {
                    work(1);
                    at_depth(2_000, &mut || work(2));
                }
                drop(guard);
            })
            .expect("spawns");
    });
    let heard = sampler.sink();
    let [_, shallow, deep] = heard.by_label.map(|(ticks, in_handler)| {
        let all = interval * u32::try_from(ticks).expect("a short run");
        (all, all.saturating_sub(in_handler))
    });
    let off = |shallow: Duration, deep: Duration| {
        let share = deep.as_secs_f64() / (shallow + deep).as_secs_f64();
        (share - 0.5).abs()
    };
    let (by_ticks, own) = (off(shallow.0, deep.0), off(shallow.1, deep.1));
    assert!(own < by_ticks, "{shallow:?} {deep:?}: {own} {by_ticks}");
}
