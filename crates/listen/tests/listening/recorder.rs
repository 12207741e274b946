//! The argument recorder: what it keeps, and how much.

use wasmscope_listen::fake::Guest;
use wasmscope_listen::listeners::{End, Recorder};
use wasmscope_listen::{Cause, Definition, FuncIndex, Value, ValueType};

const F: FuncIndex = FuncIndex(0);
const G: FuncIndex = FuncIndex(1);

fn guest(recorder: &Recorder) -> Guest {
    let f = |index| Definition::guest(index).typed([ValueType::I32], [ValueType::I32]);
    Guest::new([f(F), f(G)], recorder)
}

#[test]
fn every_end_is_kept_with_the_parameters() {
    let recorder = Recorder::new(10);
    let mut guest = guest(&recorder);
    let ended = guest.call(F, &[Value::I32(1)], |guest| {
        guest.call(G, &[Value::I32(2)], |_| Ok(vec![Value::I32(20)]))?;
        guest.tail_call(G, &[Value::I32(3)], |_| Err(Cause::Exit(4)))
    });
    assert!(ended.is_err());
    let records: Vec<_> = recorder
        .records()
        .into_iter()
        .map(|record| (record.definition.index, record.params, record.end))
        .collect();
    assert_eq!(
        records,
        [
            (G, vec![Value::I32(2)], End::Returned(vec![Value::I32(20)])),
            (F, vec![Value::I32(1)], End::TailCalled),
            (G, vec![Value::I32(3)], End::Aborted("exit 4".into())),
        ]
    );
    assert_eq!(recorder.lost(), 0);
}

#[test]
fn the_oldest_make_way_and_are_counted() {
    for capacity in [0, 1, 3] {
        let recorder = Recorder::new(capacity);
        let mut guest = guest(&recorder);
        for i in 0..10 {
            let ended = guest.call(F, &[Value::I32(i)], |_| Ok(vec![Value::I32(0)]));
            assert!(ended.is_ok());
        }
        let kept: Vec<_> = recorder
            .records()
            .into_iter()
            .map(|record| record.params)
            .collect();
        let newest: Vec<_> = (0..10).map(|i| vec![Value::I32(i)]).collect();
        assert_eq!(kept, newest[10 - capacity..]);
        assert_eq!(recorder.lost(), 10 - capacity as u64);
    }
}
