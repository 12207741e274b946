//! States of every size are handed over whole and dropped exactly once.

use std::cell::Cell;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmscope_listen::fake::{FakeInstance, Guest};
use wasmscope_listen::{
    BoxListener, Call, Cause, Close, Definition, Frame, Frames, FuncIndex, Slot, Values, bench,
    pair,
};

const F: FuncIndex = FuncIndex(0);

/// Counts its drops, beside a payload that decides how big it is.
struct Counted<P> {
    payload: P,
    drops: Arc<AtomicUsize>,
}

impl<P> Drop for Counted<P> {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the close does with the state.
#[derive(Clone, Copy)]
enum Then {
    Keep,
    Panic,
}

/// Makes a listener whose state holds `payload`, with its count of drops.
fn counting<P>(payload: P, then: Then) -> (BoxListener, Arc<AtomicUsize>)
where
    P: Copy + PartialEq + Debug + Send + Sync + 'static,
{
    let drops = Arc::new(AtomicUsize::new(0));
    let count = drops.clone();
    let listener = pair(
        move |call: &Call<'_>| {
            if let Some(parent) = call.parent() {
                let state = parent.state::<Counted<P>>().expect("left by before");
                assert_eq!(state.payload, payload);
            }
            Counted {
                payload,
                drops: count.clone(),
            }
        },
        move |_: &Call<'_>, _: Close<'_>, state: Counted<P>| {
            assert_eq!(state.payload, payload);
            if let Then::Panic = then {
                panic!("in a close");
            }
        },
    );
    (BoxListener::new(listener), drops)
}

fn guest(listener: &BoxListener) -> Guest {
    Guest::new([Definition::guest(F).named("f")], listener)
}

fn dropped_once<P>(payload: P)
where
    P: Copy + PartialEq + Debug + Send + Sync + 'static,
{
    let ends: [fn(&mut Guest); 3] = [
        |guest| {
            assert!(guest.call(F, &[], |_| Ok(Vec::new())).is_ok());
        },
        |guest| {
            assert!(guest.call(F, &[], |_| Err(Cause::Unknown)).is_err());
        },
        |guest| {
            let ended = guest.call(F, &[], |guest| guest.tail_call(F, &[], |_| Ok(Vec::new())));
            assert!(ended.is_ok());
        },
    ];
    for (end, calls) in ends.into_iter().zip([1, 1, 2]) {
        let (listener, drops) = counting(payload, Then::Keep);
        let mut dropped = guest(&listener);
        end(&mut dropped);
        assert_eq!(drops.load(Ordering::Relaxed), calls, "{payload:?}");
        drop(dropped);
        assert_eq!(drops.load(Ordering::Relaxed), calls, "{payload:?}");

        // The first close panics, and ends the play with it.
        let (listener, drops) = counting(payload, Then::Panic);
        let mut dropped = guest(&listener);
        catch_unwind(AssertUnwindSafe(|| end(&mut dropped))).expect_err("the close panics");
        assert_eq!(drops.load(Ordering::Relaxed), 1, "{payload:?}");
        drop(dropped);
        assert_eq!(drops.load(Ordering::Relaxed), 1, "{payload:?}");
    }
    // Never closed: a store that is dropped.
    let (listener, drops) = counting(payload, Then::Keep);
    let mut dropped = guest(&listener);
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        dropped.call(F, &[], |guest| {
            guest.call(F, &[], |_| panic!("in the guest"))
        })
    }));
    assert!(unwound.is_err());
    assert_eq!(drops.load(Ordering::Relaxed), 0, "{payload:?}");
    drop(dropped);
    assert_eq!(drops.load(Ordering::Relaxed), 2, "{payload:?}");
}

#[test]
fn states_of_every_size_are_dropped_exactly_once() {
    #[derive(Clone, Copy, PartialEq, Debug)]
    #[repr(align(64))]
    struct Aligned(u8);

    // With the pointer to the count: 1, 2, 3 and 4 words, a vector, a page, far aligned.
    dropped_once(());
    dropped_once(1_u64);
    dropped_once([1_u64, 2]);
    dropped_once([1_u64, 2, 3]);
    dropped_once(1_u128);
    dropped_once([7_u64; 512]);
    dropped_once(Aligned(9));
}

#[test]
fn states_without_bytes_and_states_that_are_not_shared() {
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    let listener = BoxListener::new(pair(
        |call: &Call<'_>| {
            if let Some(cell) = call.parent().and_then(|parent| parent.state::<Cell<u8>>()) {
                cell.set(cell.get() + 1);
            }
            Cell::new(0_u8)
        },
        move |_: &Call<'_>, _: Close<'_>, children: Cell<u8>| {
            count.fetch_add(usize::from(children.get()), Ordering::Relaxed);
        },
    ));
    let ended = guest(&listener).call(F, &[], |guest| {
        guest.call(F, &[], |_| Ok(Vec::new()))?;
        guest.call(F, &[], |_| Ok(Vec::new()))
    });
    assert!(ended.is_ok());
    assert_eq!(heard.load(Ordering::Relaxed), 2);
}

#[test]
fn a_slot_of_another_listener_is_not_touched() {
    let text = BoxListener::new(pair(
        |_: &Call<'_>| String::from("mine"),
        |_: &Call<'_>, _: Close<'_>, state: String| assert_eq!(state, "mine"),
    ));
    let number = BoxListener::new(pair(
        |_: &Call<'_>| 1_u64,
        |_: &Call<'_>, _: Close<'_>, _: u64| panic!("this state is not in the slot"),
    ));
    let closed_by_another = pair(
        move |call: &Call<'_>| {
            let mut slot = Slot::new();
            assert!(slot.is_empty());
            text.before(call, &mut slot);
            number.after(call, Values::default(), &mut slot);
            number.abort(call, &Cause::Unknown, &mut slot);
            assert!(!slot.is_empty());
            text.tail_call(call, &mut slot);
            assert!(slot.is_empty());
            // A second close is not heard.
            text.after(call, Values::default(), &mut slot);
        },
        |_: &Call<'_>, _, ()| (),
    );
    let frames = Frames::new([Frame::new(Definition::guest(F), [], [])]);
    let listener = BoxListener::new(closed_by_another);
    bench(1, &listener, &FakeInstance::new(), &frames).expect("one frame");
}

#[test]
fn a_slot_takes_no_more_than_four_words() {
    assert_eq!(size_of::<Slot>(), 32);
}
