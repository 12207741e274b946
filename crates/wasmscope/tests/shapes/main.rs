//! Stacks of any shape: guest, host, the same store again, another store, fibers and
//! continuations, in any nesting, against what the host knows because it said each step.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers below small limits"
)]

mod guest;
mod host;
mod record;
mod walker;

use guest::Guest;
use host::{Compiled, config, play};
use record::{Limits, Play};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasmscope::Listening;
use wasmscope::listen::{BoxListener, Call, Definition, Stack};
use wasmtime::{StoreContextMut, WasmBacktrace};

/// Deep stacks need room.
fn with_room(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(256 << 20);
    let ran = thread.spawn(test).unwrap().join();
    if let Err(panic) = ran {
        std::panic::resume_unwind(panic);
    }
}

fn guests(listening: Option<&Listening>) -> (Rc<Compiled>, Rc<Compiled>) {
    let mut switching = config();
    switching
        .wasm_function_references(true)
        .wasm_exceptions(true)
        .wasm_stack_switching(true);
    (
        Compiled::here(&switching, listening),
        Compiled::on_fibers(&config(), listening),
    )
}

/// One run of guest frames, ten thousand deep.
const DEEP: Limits = Limits {
    frames: 10_000,
    steps: 40_000,
    entries: 1,
    fibers: 0,
    continuations: 0,
    one_in: 10,
    look_one_in: 2_000,
};

/// Everything there is, many times.
const MIXED: Limits = Limits {
    frames: 500,
    steps: 20_000,
    entries: 40,
    fibers: 8,
    continuations: 20,
    one_in: 10,
    look_one_in: 200,
};

/// Everything there is, ten thousand frames deep.
const DEEP_AND_MIXED: Limits = Limits {
    frames: 10_000,
    steps: 60_000,
    one_in: 250,
    look_one_in: 4_000,
    ..MIXED
};

/// The record itself is right: the engine says the same where it can, in one store.
#[test]
fn the_record_is_the_engines() {
    with_room(|| {
        let (here, on_fibers) = guests(None);
        let switching = Limits {
            continuations: 20,
            entries: 1,
            ..MIXED
        };
        for (seed, limits) in [(1, DEEP), (2, switching), (3, switching)] {
            let guest = Rc::clone(&here);
            let look = move |store: StoreContextMut<'_, u32>, play: &Play| {
                let engines = WasmBacktrace::force_capture(&store);
                assert_eq!(engines.frames().len(), play.entries.len());
                for (frame, entry) in engines.frames().iter().zip(play.entries.iter().rev()) {
                    assert_eq!(frame.func_index(), entry.function.index().0);
                    let site = guest.guest.site(entry.function, entry.step);
                    assert_eq!(frame.module_offset(), Some(site.0 as usize));
                }
            };
            let played = play(seed, limits, &here, &on_fibers, Rc::new(look));
            assert!(played.looks > 5, "{} looks", played.looks);
            assert!(played.deepest >= limits.frames, "{}", played.deepest);
        }
    });
}

/// What a listener sees is what the host knows.
fn check(stack: Stack<'_>, play: &Play, here: &Guest, on_fibers: &Guest) {
    let mut entries = play.entries.iter().rev();
    // The first frame is the call that is heard.
    for frame in stack.skip(1) {
        let definition = frame.definition().expect("all modules are known");
        if definition.is_host() {
            continue;
        }
        let entry = entries.next().expect("no more frames than were entered");
        let guest = if host::is_on_fiber(entry.store) {
            on_fibers
        } else {
            here
        };
        assert_eq!(definition.index, entry.function.index());
        let site = guest.site(entry.function, entry.step);
        assert_eq!(frame.source_offset().map(|at| at.module), Some(site));
    }
    assert_eq!(entries.len(), 0, "frames are missing");
}

fn listeners_see(plays: &[Limits]) {
    let checked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&checked);
    let listening = Listening::new(move |function: &Definition| {
        let import = function.import.as_ref();
        let is_look = import.is_some_and(|import| import.name == "capture");
        let (here, on_fibers) = (Guest::new("here", true), Guest::new("fibers", false));
        let count = Arc::clone(&count);
        Some(BoxListener::new(move |call: &Call<'_>| {
            if is_look {
                host::with_play(|play| check(call.stack(), play, &here, &on_fibers));
                count.fetch_add(1, Ordering::Relaxed);
            }
        }))
    });
    let (here, on_fibers) = guests(Some(&listening));
    for (seed, limits) in plays.iter().enumerate() {
        let before = checked.load(Ordering::Relaxed);
        let played = play(
            seed as u64,
            *limits,
            &here,
            &on_fibers,
            Rc::new(|_, _: &Play| {}),
        );
        assert_eq!(checked.load(Ordering::Relaxed) - before, played.looks);
        assert!(played.looks > 5, "{} looks", played.looks);
        assert!(played.deepest >= limits.frames, "{}", played.deepest);
    }
}

#[test]
fn listeners_see_ten_thousand_frames() {
    with_room(|| listeners_see(&[DEEP]));
}

#[test]
fn listeners_see_stores_in_stores() {
    let stores = Limits {
        fibers: 0,
        continuations: 0,
        ..MIXED
    };
    with_room(move || listeners_see(&[stores; 5]));
}

#[test]
fn listeners_see_continuations() {
    let continuations = Limits {
        fibers: 0,
        entries: 1,
        ..MIXED
    };
    with_room(move || listeners_see(&[continuations; 5]));
}

#[test]
fn listeners_see_fibers() {
    let fibers = Limits {
        continuations: 0,
        ..MIXED
    };
    with_room(move || listeners_see(&[fibers; 5]));
}

#[test]
fn listeners_see_any_shape() {
    with_room(|| listeners_see(&[MIXED; 10]));
    with_room(|| listeners_see(&[DEEP_AND_MIXED; 3]));
}
