//! An event allocates nothing, as long as a listener's state is no more than three words.
//!
//! A test program of its own, because it counts all allocations of its process.
#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmscope_listen::fake::FakeInstance;
use wasmscope_listen::listeners::{CallTimer, Latency};
use wasmscope_listen::{
    BoxListener, Call, Close, Definition, Factory, Frame, Frames, FuncIndex, Value, ValueType,
    bench, pair,
};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Returns how many allocations each of 1,000 calls makes, and panics when they differ.
fn per_call(listener: &BoxListener) -> u64 {
    let f = Definition::guest(FuncIndex(0)).typed([ValueType::I32], [ValueType::I32]);
    let frame = Frame::new(f, [Value::I32(1)], [Value::I32(2)]);
    let frames = Frames::new(vec![frame; 18]);
    let instance = FakeInstance::new();
    let run = |times| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        bench(times, listener, &instance, &frames).expect("there are frames");
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    // The first call may make room, the helper itself takes some.
    let few = run(1).min(run(1));
    let more = run(1_001) - few;
    assert_eq!(more % 1_000, 0, "{more} allocations in 1,000 calls");
    more / 1_000
}

fn with_state<S: Copy + Send + Sync + 'static>(state: S) -> BoxListener {
    BoxListener::new(pair(
        move |call: &Call<'_>| {
            for frame in call.stack() {
                black_box((frame.pc(), frame.params()));
            }
            black_box((call.params().get(0), call.parents().count()));
            state
        },
        |_: &Call<'_>, close: Close<'_>, state: S| {
            black_box((close, state));
        },
    ))
}

#[test]
fn small_states_and_walks_allocate_nothing() {
    assert_eq!(per_call(&with_state(())), 0);
    assert_eq!(per_call(&with_state(1_u8)), 0);
    assert_eq!(per_call(&with_state([1_u64, 2, 3])), 0);
    // Shows that the count works: one is too big, one wants more alignment than words have.
    assert_eq!(per_call(&with_state([1_u64, 2, 3, 4])), 1);
    assert_eq!(per_call(&with_state(1_u128)), 1);

    // A tuple's states are one state.
    let noop = || |_: &Call<'_>| 1_u64;
    assert_eq!(per_call(&BoxListener::new((noop(), (noop(), noop())))), 0);

    let f = Definition::guest(FuncIndex(0));
    let timer = CallTimer::new().listener(&f).expect("listens to all");
    assert_eq!(per_call(&timer), 0);
    let latency = Latency::with(|| 0).listener(&f).expect("listens to all");
    assert_eq!(per_call(&latency), 0);
}
