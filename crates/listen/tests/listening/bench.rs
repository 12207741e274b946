//! The bench helper calls what it says, as often as it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmscope_listen::fake::FakeInstance;
use wasmscope_listen::{
    BoxListener, Call, Close, Definition, EmptyStack, Frame, Frames, FuncIndex, Value, ValueType,
    bench, pair,
};

#[test]
fn an_empty_stack_is_refused() {
    let listener = BoxListener::new(|_: &Call<'_>| ());
    let refused = bench(1, &listener, &FakeInstance::new(), &Frames::default());
    assert_eq!(refused, Err(EmptyStack));
}

#[test]
fn each_call_is_heard_with_all_frames_and_results() {
    let frame = |index, param: i32| {
        let definition =
            Definition::guest(FuncIndex(index)).typed([ValueType::I32], [ValueType::I64]);
        Frame::new(definition, [Value::I32(param)], [Value::I64(7)])
    };
    let frames = Frames::new([frame(0, 1), frame(1, 2), frame(2, 3)]);
    let sum = Arc::new(AtomicU64::new(0));
    let (opened, closed) = (sum.clone(), sum.clone());
    let listener = pair(
        move |call: &Call<'_>| {
            let params = call
                .stack()
                .map(|frame| frame.params().expect("given").words()[0]);
            opened.fetch_add(params.sum(), Ordering::Relaxed);
        },
        move |_: &Call<'_>, close: Close<'_>, ()| match close {
            Close::Return(results) => {
                assert_eq!(results.iter().collect::<Vec<_>>(), [Value::I64(7)]);
                closed.fetch_add(1000, Ordering::Relaxed);
            }
            other => panic!("it returns: {other:?}"),
        },
    );
    bench(
        100,
        &BoxListener::new(listener),
        &FakeInstance::new(),
        &frames,
    )
    .expect("three frames");
    assert_eq!(sum.load(Ordering::Relaxed), 100 * (1 + 2 + 3) + 100 * 1000);
}
