//! Guests come and go while threads are sampled, and names stay right: also when a
//! module is dropped at once, and when another comes to lie where it was.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "support/patience.rs"]
mod patience;

use patience::{Patience, Stop};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wasmscope::profile::{Category, Profile, Value};
use wasmscope::{Error, Guest, Labels, Profiler, Rate};
use wasmtime::{Config, Engine, Instance, Module, Store};

/// A module whose functions' names end in `name`.
fn text(name: &str) -> String {
    format!(
        "(module
           (func $outer_{name} (export \"run\") (param i32) (call $inner_{name} (local.get 0)))
           (func $inner_{name} (param i32)
             (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"
    )
}

fn run(module: &Module, rounds: i32) {
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, module, &[]).unwrap();
    let run = instance
        .get_typed_func::<i32, ()>(&mut store, "run")
        .unwrap();
    run.call(&mut store, rounds).unwrap();
}

/// Checks that samples labelled with a module have that module's functions and no
/// others; returns how many do.
fn check_names(profile: &Profile) -> u64 {
    let mut named = 0;
    for sample in profile.samples() {
        let label = profile.labels(sample.labels).first().map(|label| {
            assert_eq!(label.key, "module");
            match &label.value {
                Value::Text(name) => name.clone(),
                Value::Number(..) => panic!("a text"),
            }
        });
        let guest: Vec<&str> = sample
            .stack
            .into_iter()
            .flat_map(|stack| profile.stack_frames(stack))
            .map(|frame| profile.function(frame.function))
            .filter(|function| function.category == Category::Guest)
            .map(|function| function.name.as_str())
            .collect();
        let Some(label) = label else {
            assert!(guest.is_empty(), "no module was being run: {guest:?}");
            continue;
        };
        let (outer, inner) = (format!("outer_{label}"), format!("inner_{label}"));
        match guest[..] {
            [] => continue,
            [one] => assert_eq!(one, outer),
            [newest, oldest] => assert_eq!((newest, oldest), (&*inner, &*outer)),
            _ => panic!("{guest:?} while {label} ran"),
        }
        named += sample.count;
    }
    named
}

#[test]
fn modules_come_and_go_while_four_threads_are_sampled() {
    let engine = Engine::default();
    let profiler = Profiler::builder()
        .rate(Rate::hertz(5000).unwrap())
        .start()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(4);
    let next = AtomicU64::new(0);
    // Which modules lay at an address.
    let seen: Mutex<HashMap<usize, u64>> = Mutex::default();
    let reused = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let _thread = profiler.attach_thread().unwrap();
                // At most so many, and so long; at least until an address is reused.
                for _ in 0..20_000 {
                    let modules = next.load(Ordering::Relaxed);
                    let reused_enough = reused.load(Ordering::Relaxed) > 10;
                    if Instant::now() > end && reused_enough && modules > 1000 {
                        break;
                    }
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let name = format!("m{number}");
                    let module = Module::new(&engine, text(&name)).unwrap();
                    let address = module.text().as_ptr() as usize;
                    if seen.lock().unwrap().insert(address, number).is_some() {
                        reused.fetch_add(1, Ordering::Relaxed);
                    }
                    let registration = profiler.register(Guest::module(&name, &module)).unwrap();
                    assert_eq!(registration.name(), name);
                    let labels = Labels::new().with("module", &name);
                    labels.scope(|| run(&module, 1_000_000));
                    // Either may go first.
                    if number.is_multiple_of(2) {
                        drop(module);
                        drop(registration);
                    } else {
                        drop(registration);
                        drop(module);
                    }
                }
            });
        }
    });
    assert!(
        reused.load(Ordering::Relaxed) > 10,
        "addresses are used again, or this test shows nothing"
    );
    let modules = next.load(Ordering::Relaxed);
    let named = check_names(&profiler.take_profile());
    assert!(named > 100, "{named} samples in {modules} modules");
}

#[test]
fn registering_the_same_module_again_and_again_never_fails() {
    let engine = Engine::default();
    let module = Module::new(&engine, text("same")).unwrap();
    let profiler = Profiler::builder().start().unwrap();
    let one = profiler.register(Guest::module("first", &module)).unwrap();
    let two = profiler.register(Guest::module("second", &module)).unwrap();
    assert_eq!((one.name(), two.name()), ("first", "second"));
    drop((one, two));
    let again = profiler.register(Guest::module("third", &module)).unwrap();
    assert_eq!(again.name(), "third");
    drop(again);
    // As a server that registers for each request does, on four threads at a time:
    // the last drop of one and the registration of the next meet.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let _thread = profiler.attach_thread().unwrap();
                let labels = Labels::new().with("module", "same");
                for _ in 0..300 {
                    let _guest = profiler.register(Guest::module("same", &module)).unwrap();
                    labels.scope(|| run(&module, 20_000));
                }
            });
        }
    });
    let _ = check_names(&profiler.take_profile());
}

/// Code is hidden in all its registrations or in none. Who is refused may meet the last drop of
/// the registration that stood against it.
#[test]
fn contradicting_registrations_are_refused_and_leave_nothing_behind() {
    let engine = Engine::default();
    let module = Module::new(&engine, text("same")).unwrap();
    let profiler = Profiler::builder().start().unwrap();
    let guest = |is_hidden: bool| match Guest::module("same", &module) {
        guest if is_hidden => guest.hidden(),
        guest => guest,
    };
    for is_hidden in [false, true] {
        let known = profiler.register(guest(is_hidden)).unwrap();
        let refused = profiler.register(guest(!is_hidden));
        assert!(matches!(refused, Err(Error::Hidden { .. })));
        drop(known);
    }
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (guest, profiler) = (&guest, &profiler);
            scope.spawn(move || {
                for _ in 0..5000 {
                    match profiler.register(guest(thread % 2 == 0)) {
                        Ok(registration) => drop(registration),
                        Err(Error::Hidden { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
    });
    for is_hidden in [false, true] {
        drop(profiler.register(guest(is_hidden)).unwrap());
    }
}

#[test]
fn a_guest_that_runs_may_be_registered_and_unregistered() {
    let engine = Engine::default();
    let module = Module::new(&engine, text("running")).unwrap();
    let profiler = Profiler::builder()
        .rate(Rate::hertz(5000).unwrap())
        .start()
        .unwrap();
    let stop = AtomicBool::new(false);
    let rounds = AtomicU64::new(0);
    let (mut known, mut unknown) = (0, 0);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            let _thread = profiler.attach_thread().unwrap();
            let labels = Labels::new().with("module", "running");
            labels.scope(|| {
                while !stop.load(Ordering::Relaxed) {
                    run(&module, 1_000_000);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
        // Five milliseconds, and longer where the guest does not come to run meanwhile.
        let a_while = || {
            let before = rounds.load(Ordering::Relaxed);
            let patience = Patience::for_what("a guest that runs");
            std::thread::sleep(Duration::from_millis(5));
            while rounds.load(Ordering::Relaxed) < before + 2 {
                patience.check();
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        for _ in 0..50 {
            let guest = profiler
                .register(Guest::module("running", &module))
                .unwrap();
            a_while();
            drop(guest);
            known += check_names(&profiler.take_profile());
            a_while();
            let profile = profiler.take_profile();
            assert_eq!(check_names(&profile), 0, "unknown while not registered");
            unknown += profile.total().count;
        }
    });
    assert!(known > 0 && unknown > 0, "{known} {unknown}");
}

#[test]
fn a_recording_knows_names_after_everything_is_gone() {
    let recording = {
        let engine = Engine::default();
        let module = Module::new(&engine, text("gone")).unwrap();
        let profiler = Profiler::builder()
            .rate(Rate::hertz(5000).unwrap())
            .start()
            .unwrap();
        let guest = profiler.register(Guest::module("gone", &module)).unwrap();
        let thread = profiler.attach_thread().unwrap();
        let labels = Labels::new().with("module", "gone");
        labels.scope(|| {
            for _ in 0..100 {
                run(&module, 1_000_000);
            }
        });
        drop((labels, thread));
        let recording = profiler.take();
        drop((guest, profiler, module));
        recording
    };
    assert!(check_names(&recording.profile()) > 0);
}

#[test]
fn an_engine_that_interprets_is_refused() {
    let profiler = Profiler::builder().start().unwrap();

    let mut config = Config::new();
    config.target("pulley64").unwrap();
    let module = Module::new(&Engine::new(&config).unwrap(), text("pulley")).unwrap();
    let refused = profiler.register(Guest::module("interpreted", &module));
    let error = refused.expect_err("it is interpreted");
    assert!(matches!(&error, Error::Pulley { guest } if guest == "interpreted"));
    assert!(error.to_string().contains("OnDemand"), "{error}");
}

#[test]
fn bytes_that_are_not_a_binary_are_refused() {
    let engine = Engine::default();
    let module = Module::new(&engine, text("text")).unwrap();
    let profiler = Profiler::builder().start().unwrap();
    let guest = Guest::module("texts", &module).bytes(text("text"));
    let refused = profiler.register(guest).unwrap_err().to_string();
    assert!(
        refused.contains("texts") && refused.contains("binary"),
        "{refused}"
    );
}

#[test]
fn an_engine_with_guest_debug_is_refused() {
    let mut config = wasmtime::Config::new();
    let engine = Engine::new(config.guest_debug(true)).unwrap();
    let module = Module::new(&engine, text("debugged")).unwrap();
    let profiler = Profiler::builder().start().unwrap();
    let refused = profiler.register(Guest::module("debugged", &module));
    assert!(matches!(refused, Err(wasmscope::Error::GuestDebug { .. })));
    let interval = std::time::Duration::from_millis(1);
    let refused = wasmscope::OnDemand::new(interval, [Guest::module("debugged", &module)]);
    let said = refused.unwrap_err().to_string();
    assert!(
        said.contains("debugged") && said.contains("guest_debug"),
        "{said}"
    );
}
