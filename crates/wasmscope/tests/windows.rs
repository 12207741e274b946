//! Consecutive recordings cut time into pieces, of which none is lost or counted
//! twice, whatever threads do meanwhile.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "support/patience.rs"]
mod patience;

use patience::{Patience, Stop};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use wasmscope::profile::{Accounting, Category};
use wasmscope::{Clock, Guest, Labels, Profiler, Rate, Recording};
use wasmtime::{Engine, Instance, Module, Store};

const SPIN: &str = "(module (func $spin (export \"spin\") (param i32)
    (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))";

fn tid() -> u64 {
    // The kernel's own name for the calling thread: /proc/PID/task/TID.
    let link = std::fs::read_link("/proc/thread-self").unwrap();
    let number = link.file_name().unwrap().to_str().unwrap();
    number.parse().unwrap()
}

/// Adds up the windows of each thread.
fn per_thread(recordings: &[Recording]) -> HashMap<u64, (Accounting, u64, Duration)> {
    let mut sums: HashMap<u64, (Accounting, u64, Duration)> = HashMap::new();
    for recording in recordings {
        let profile = recording.profile();
        for (_, thread) in profile.threads() {
            let sum = sums.entry(thread.id).or_default();
            sum.0 = sum.0.plus(thread.accounting.unwrap_or_default());
        }
        for sample in profile.samples() {
            let sum = sums.entry(profile.thread(sample.thread).id).or_default();
            sum.1 += sample.count;
            sum.2 += sample.weight;
        }
    }
    sums
}

#[test]
fn windows_partition_time_while_threads_come_and_go() {
    const INTERVAL: u64 = 1_000_000;
    let profiler = Profiler::builder().clock(Clock::Wall).start().unwrap();
    let begin = Instant::now();
    let stop = AtomicBool::new(false);
    // What each thread's own clock says: at least and at most so many were due.
    let due: Mutex<HashMap<u64, (u64, u64)>> = Mutex::default();
    let sampled = |millis: u64| {
        let outer = Instant::now();
        let guard = profiler.attach_thread().unwrap();
        let inner = Instant::now();
        while inner.elapsed() < Duration::from_millis(millis) && !stop.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        let least = inner.elapsed().as_nanos() as u64 / INTERVAL;
        drop(guard);
        let most = outer.elapsed().as_nanos() as u64 / INTERVAL;
        due.lock().unwrap().insert(tid(), (least, most));
    };
    let mut recordings = Vec::new();
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| sampled(u64::MAX));
        scope.spawn(|| {
            // Short lives, so that many end while a recording is taken.
            while !stop.load(Ordering::Relaxed) {
                std::thread::scope(|scope| {
                    for millis in [3, 5, 8] {
                        let sampled = &sampled;
                        scope.spawn(move || sampled(millis));
                    }
                });
            }
        });
        let patience = Patience::for_what("more than 20 threads that ended");
        while recordings.len() < 400 || due.lock().unwrap().len() <= 20 {
            patience.check();
            std::thread::sleep(Duration::from_millis(3));
            recordings.push(profiler.take());
        }
    });
    recordings.push(profiler.take());

    let sums = per_thread(&recordings);
    let due = due.into_inner().unwrap();
    assert!(due.len() > 20);
    let in_handler: Duration = recordings.iter().map(Recording::in_handler).sum();
    for (tid, (least, most)) in due {
        let (sum, samples, weight) = sums.get(&tid).copied().unwrap_or_default();
        let say = format!("{sum:?}, {samples} samples of {weight:?}, due {least} to {most}");
        assert!(sum.due.abs_diff(sum.kept + sum.lost) <= 1, "{say}");
        // Each window rounds down what is due; the whole is not further off.
        assert!((least..=most).contains(&sum.due), "{say}");
        assert_eq!(samples, sum.kept, "{say}");
        let time = |ticks| Duration::from_nanos(ticks * INTERVAL);
        assert!(weight <= time(sum.kept + sum.lost), "{say}");
        assert!(weight + in_handler >= time(sum.kept), "{say}");
    }
    // The pieces lie end to end and make up the whole.
    let profiles: Vec<_> = recordings.iter().map(Recording::profile).collect();
    for pair in profiles.windows(2) {
        assert_eq!(
            pair[0].meta().start + pair[0].meta().duration,
            pair[1].meta().start
        );
    }
    let whole: Duration = recordings.iter().map(Recording::duration).sum();
    assert!(whole <= begin.elapsed() && whole >= Duration::from_millis(1200));
    for profile in &profiles {
        for sample in profile.samples() {
            assert!(sample.time <= profile.meta().duration);
        }
    }
}

#[test]
fn a_snapshot_changes_nothing() {
    let profiler = Profiler::builder().start().unwrap();
    let thread = profiler.attach_thread().unwrap();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(50) {}
    drop(thread);
    let snapshot = profiler.snapshot().profile();
    let again = profiler.snapshot().profile();
    let taken = profiler.take_profile();
    for profile in [&again, &taken] {
        assert_eq!(profile.total(), snapshot.total());
        assert_eq!(profile.accounting(), snapshot.accounting());
        assert_eq!(profile.meta().start, snapshot.meta().start);
    }
    let empty = profiler.take_profile();
    assert_eq!(empty.total().count, 0);
    assert_eq!(empty.threads().len(), 0);
}

#[test]
fn a_capture_lasts_as_long_as_asked_and_has_nothing_from_before() {
    let engine = Engine::default();
    let module = Module::new(&engine, SPIN).unwrap();
    let profiler = Profiler::builder().start().unwrap();
    let _guest = profiler.register(Guest::module("spin", &module)).unwrap();
    let stop = AtomicBool::new(false);
    let (attached, is_attached) = std::sync::mpsc::channel();
    let (before, captured) = std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        let (profiler, engine, module, stop) = (&profiler, &engine, &module, &stop);
        scope.spawn(move || {
            let _thread = profiler.attach_thread().unwrap();
            attached.send(()).unwrap();
            let mut store = Store::new(engine, ());
            let instance = Instance::new(&mut store, module, &[]).unwrap();
            let spin = instance
                .get_typed_func::<i32, ()>(&mut store, "spin")
                .unwrap();
            while !stop.load(Ordering::Relaxed) {
                spin.call(&mut store, 1_000_000).unwrap();
            }
        });
        is_attached.recv().unwrap();
        // Something from before that is not to be there.
        std::thread::sleep(Duration::from_millis(100));
        let before = SystemTime::now();
        let captured = profiler.capture(Duration::from_millis(200));
        (before, captured)
    });
    assert!(captured.duration() >= Duration::from_millis(200));
    let profile = captured.profile();
    // The calendar's clock may be set meanwhile, by a little.
    assert!(profile.meta().start + Duration::from_millis(100) > before);
    let accounting = profile.accounting().unwrap();
    assert!(accounting.due >= 199, "{accounting:?}");
    assert!(accounting.due <= captured.duration().as_millis() as u64 + 1);
    // What is from before is in no sample, but for what the first one's interval has.
    let first = profile.samples().map(|sample| sample.time).min().unwrap();
    let of_first = profile.samples().filter(|sample| sample.time == first);
    let longest: Duration = of_first.map(|sample| sample.weight).sum();
    let total = profile.total();
    assert!(total.weight <= captured.duration() + longest, "{total:?}");
    assert!(profile.category_totals()[&Category::Guest].count > 0);
}

#[test]
fn labels_that_were_dropped_are_still_known() {
    let profiler = Profiler::builder().start().unwrap();
    let thread = profiler.attach_thread().unwrap();
    for request in 0..10 {
        let labels = Labels::new().with_number("request", request);
        // Until a sample was taken, which may be long where others run instead.
        let samples = || profiler.snapshot().profile().total().count;
        let patience = Patience::for_what("a sample with this label");
        labels.scope(|| {
            let before = samples();
            while samples() == before {
                patience.check();
            }
        });
    }
    drop(thread);
    let profile = profiler.take_profile();
    let mut requests: Vec<String> = profile
        .samples()
        .flat_map(|sample| profile.labels(sample.labels))
        .map(|label| format!("{} {:?}", label.key, label.value))
        .collect();
    requests.dedup();
    assert_eq!(requests.len(), 10, "{requests:?}");
}

#[test]
fn recordings_may_be_taken_with_nothing_in_them() {
    let profiler = Profiler::builder().start().unwrap();
    let profile = profiler.take_profile();
    assert_eq!((profile.total().count, profile.accounting()), (0, None));
    // While attached, but before any tick.
    let thread = profiler.attach_thread().unwrap();
    let profile = profiler.take_profile();
    assert!(profile.total().count <= 1_000);
    drop(profiler);
    drop(thread);
    // A profiler ends while threads are attached: they go on unharmed.
    let profiler = Profiler::builder()
        .rate(Rate::hertz(5000).unwrap())
        .start()
        .unwrap();
    let thread = profiler.attach_thread().unwrap();
    drop(profiler);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(20) {}
    drop(thread);
}

#[test]
fn stores_of_one_name_have_a_counter_each() {
    let profiler = Profiler::builder().cpu_time(false).start().unwrap();
    let sizes = |profiler: &Profiler| {
        let profile = profiler.take_profile();
        let counters = profile.counters().map(|(_, counter)| {
            assert_eq!(counter.name, "guest");
            let points = counter.points.iter().map(|(_, bytes)| *bytes);
            points.collect::<Vec<i64>>()
        });
        counters.collect::<Vec<_>>()
    };
    let mut one = profiler.memory_track("guest");
    let mut two = profiler.memory_track("guest");
    one.grown(0, 100);
    two.grown(0, 7);
    one.grown(100, 300);
    assert_eq!(sizes(&profiler), [vec![100, 300], vec![7]]);
    drop(one);
    two.grown(7, 9);
    assert_eq!(sizes(&profiler), [vec![300, 0], vec![7, 9]]);
    assert_eq!(sizes(&profiler), [vec![9]]);
}

#[test]
fn a_memory_keeps_its_size_over_windows_until_its_store_is_gone() {
    use wasmtime::ResourceLimiter;
    let profiler = Profiler::builder().cpu_time(false).start().unwrap();
    let mut track = profiler.memory_track("guest");
    let last = |profiler: &Profiler| {
        let profile = profiler.take_profile();
        let counter = profile.counters().next()?;
        counter.1.points.last().map(|(_, bytes)| *bytes)
    };
    assert!(track.memory_growing(0, 1 << 16, None).unwrap());
    assert!(track.memory_growing(1 << 16, 3 << 16, None).unwrap());
    assert_eq!(last(&profiler), Some(3 << 16));
    assert_eq!(last(&profiler), Some(3 << 16), "nothing grew since");
    track.growth_failed();
    assert_eq!(last(&profiler), Some(1 << 16));
    drop(track);
    assert_eq!(last(&profiler), Some(0));
    assert_eq!(last(&profiler), None);
}
