//! What the walker sees is what the host knows, and what the engine sees.

use crate::guest::Guest as Played;
use crate::host::{Compiled, is_on_fiber, play};
use crate::record::{Begin, Entry, Limits, Play};
use crate::{DEEP, DEEP_AND_MIXED, MIXED, guests, with_room};
use std::cell::Cell;
use std::rc::Rc;
use wasmscope::{
    Backtrace, BacktraceEnd, Cursor, Frame, FrameKind, Guest, HostFrames, Listening, StoreId,
    Walker,
};
use wasmtime::{AsContext, AsContextMut, StoreContextMut, WasmBacktrace};

fn walker(host_frames: HostFrames, compiled: [&Rc<Compiled>; 2]) -> (Walker, Vec<impl Sized>) {
    let walker = Walker::builder().host_frames(host_frames).build().unwrap();
    let guests = ["here", "fibers"]
        .into_iter()
        .zip(compiled)
        .map(|(name, compiled)| {
            let guest = Guest::module(name, &compiled.module);
            let guest = guest.bytes(compiled.guest.bytes.clone());
            walker.register(guest).unwrap()
        });
    let guests = guests.collect();
    (walker, guests)
}

/// The guests' frames are those that were entered, oldest first, each at its call.
fn same<'a>(
    frames: &[std::sync::Arc<Frame>],
    entered: impl DoubleEndedIterator<Item = &'a Entry>,
    here: &Played,
    on_fibers: &Played,
) {
    let mut entered = entered.rev();
    for frame in frames.iter().filter(|frame| frame.kind == FrameKind::Guest) {
        let entry = entered.next().expect("no more frames than were entered");
        let (name, guest) = if is_on_fiber(entry.store) {
            ("fibers", on_fibers)
        } else {
            ("here", here)
        };
        assert_eq!(frame.module.as_deref(), Some(name));
        assert_eq!(frame.function, Some(entry.function.index()));
        assert_eq!(frame.offset, Some(guest.site(entry.function, entry.step)));
    }
    assert_eq!(entered.count(), 0, "frames are missing");
}

fn plays(host_frames: HostFrames, limits: Limits, seeds: std::ops::Range<u64>) {
    with_room(move || {
        let (here, on_fibers) = guests(None);
        let (walker, _guests) = walker(host_frames, [&here, &on_fibers]);
        let seen = Rc::new(Cell::new(0));
        for seed in seeds {
            let (walker, seen) = (walker.clone(), Rc::clone(&seen));
            let (h, f) = (Rc::clone(&here), Rc::clone(&on_fibers));
            let look = move |store: StoreContextMut<'_, u32>, play: &Play| {
                whole_thread(&walker, play, &h.guest, &f.guest);
                let mut store = store;
                stores(&walker, store.as_context_mut(), play);
                one_store(&walker, store, play, &h.guest, &f.guest);
                seen.set(seen.get() + 1);
            };
            let played = play(seed, limits, &here, &on_fibers, Rc::new(look));
            assert!(played.looks > 5, "{} looks", played.looks);
            assert!(played.deepest >= limits.frames, "{}", played.deepest);
        }
        assert!(seen.get() > 5);
    });
}

fn whole_thread(walker: &Walker, play: &Play, here: &Played, on_fibers: &Played) {
    let backtrace = walker.capture();
    assert_eq!(backtrace.end(), BacktraceEnd::Whole);
    same(
        &walker.name(&backtrace),
        play.entries.iter(),
        here,
        on_fibers,
    );
}

/// The activations have the stores that the host entered them with, but for those on
/// continuations, which are known of the store at hand alone.
fn stores(walker: &Walker, mut store: StoreContextMut<'_, u32>, play: &Play) {
    let entered = play.entries.iter().rev();
    let begun = entered.filter(|entry| entry.begin != Begin::Called);
    let begun: Vec<_> = begun
        .map(|entry| (entry.begin, play.stores[&entry.store]))
        .collect();
    let at_hand = StoreId::of(&store);
    assert_eq!(Some(&at_hand), play.stores.get(store.data()));
    let found = walker.capture_with_stores();
    let with_one = walker.capture_from(&mut store);
    for (backtrace, at_hand) in [(found, None), (with_one, Some(at_hand))] {
        assert_eq!(backtrace.end(), BacktraceEnd::Whole);
        assert_eq!(backtrace.activations().len(), begun.len());
        for (activation, &(begin, store)) in backtrace.activations().zip(&begun) {
            let is_known = begin != Begin::OnContinuation || at_hand == Some(store);
            assert_eq!(activation.store(), is_known.then_some(store), "{begin:?}");
        }
    }
}

fn one_store(
    walker: &Walker,
    mut store: StoreContextMut<'_, u32>,
    play: &Play,
    here: &Played,
    on_fibers: &Played,
) {
    let number = *store.data();
    let backtrace = walker.capture_store(&mut store);
    assert_eq!(backtrace.end(), BacktraceEnd::Whole);
    let entered = play.entries.iter().filter(|entry| entry.store == number);
    same(&walker.name(&backtrace), entered, here, on_fibers);
    beside_the_engine(walker, &backtrace, &store);
    let id = StoreId::of(&store);
    assert!(backtrace.activations().all(|each| each.store() == Some(id)));

    // A cursor over each activation comes by the same frames.
    let mut cursors = Cursor::of_activations(&mut store).unwrap();
    assert_eq!(cursors.len(), backtrace.activations().len());
    for (cursor, activation) in cursors.iter_mut().zip(backtrace.activations()) {
        for frame in activation.frames() {
            assert_eq!(cursor.frame(), Some(*frame));
            cursor.advance();
        }
        assert!(cursor.is_done() && cursor.frame().is_none());
        cursor.advance();
        assert!(cursor.is_done());
    }
}

/// The engine's own backtrace has the same functions and offsets, frame by frame.
fn beside_the_engine(walker: &Walker, backtrace: &Backtrace, store: impl AsContext) {
    let engines = WasmBacktrace::force_capture(store);
    let ours = walker.name(backtrace);
    let ours = ours.iter().filter(|frame| frame.kind == FrameKind::Guest);
    let ours: Vec<_> = ours
        .map(|frame| {
            let offset = frame.offset.map(|offset| offset.0 as usize);
            (frame.function.unwrap().0, offset)
        })
        .collect();
    let theirs = engines.frames().iter();
    let theirs: Vec<_> = theirs
        .map(|frame| (frame.func_index(), frame.module_offset()))
        .collect();
    assert_eq!(ours, theirs);
}

#[test]
fn a_walker_sees_ten_thousand_frames() {
    plays(HostFrames::Omit, DEEP, 1..2);
}

#[test]
fn a_walker_sees_stores_fibers_and_continuations() {
    plays(HostFrames::Omit, MIXED, 1..7);
    plays(HostFrames::Omit, DEEP_AND_MIXED, 20..23);
}

#[test]
fn a_walker_sees_them_between_each_host_frame() {
    plays(HostFrames::Keep, MIXED, 9..12);
}

/// Rewritten modules report what the original would.
#[test]
fn a_walker_sees_original_offsets() {
    with_room(|| {
        let listening = Listening::new(|_: &wasmscope::listen::Definition| {
            Some(wasmscope::listen::BoxListener::new(
                |_: &wasmscope::listen::Call<'_>| {},
            ))
        });
        let (here, on_fibers) = guests(Some(&listening));
        let walker = Walker::new().unwrap();
        let _guests = [("here", &here), ("fibers", &on_fibers)].map(|(name, compiled)| {
            let listened = compiled.listened.as_ref().expect("it is listened to");
            let guest = Guest::listened(name, listened);
            walker.register(guest).unwrap()
        });
        let (h, f) = (Rc::clone(&here), Rc::clone(&on_fibers));
        let look = move |_: StoreContextMut<'_, u32>, play: &Play| {
            whole_thread(&walker, play, &h.guest, &f.guest);
        };
        let played = play(7, MIXED, &here, &on_fibers, Rc::new(look));
        assert!(played.looks > 5, "{} looks", played.looks);
    });
}
