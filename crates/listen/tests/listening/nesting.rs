//! Values that `before` leaves reach the closes and the listeners of nested calls.

use wasmscope_listen::fake::Guest;
use wasmscope_listen::{BoxListener, Call, Cause, Definition, FuncIndex, Value, ValueType};

use crate::tape::{Depth, Tape};

const F: FuncIndex = FuncIndex(0);
const G: FuncIndex = FuncIndex(1);
const H: FuncIndex = FuncIndex(2);

fn functions() -> [Definition; 3] {
    [(F, "f"), (G, "g"), (H, "h")].map(|(index, name)| {
        Definition::guest(index)
            .named(name)
            .typed([ValueType::I32], [ValueType::I32])
    })
}

/// Plays f(1) { g(2) { h(3) h(4) } h(5) }.
fn play(guest: &mut Guest) {
    let leaf = |value: i32| move |_: &mut Guest| Ok(vec![Value::I32(value)]);
    guest
        .call(F, &[Value::I32(1)], |guest| {
            guest.call(G, &[Value::I32(2)], |guest| {
                guest.call(H, &[Value::I32(3)], leaf(30))?;
                guest.call(H, &[Value::I32(4)], leaf(40))
            })?;
            guest.call(H, &[Value::I32(5)], leaf(50))
        })
        .expect("returns");
}

#[test]
fn one_listener_shared_by_all_knows_how_deep_it_is() {
    let tape = Tape::default();
    // One listener, not one per function.
    play(&mut Guest::new(
        functions(),
        &BoxListener::new(tape.clone()),
    ));
    assert_eq!(
        tape.lines(),
        [
            "0 before f[1]",
            "1 before g[2]",
            "2 before h[3]",
            "2 after h[3] [30]",
            "2 before h[4]",
            "2 after h[4] [40]",
            "1 after g[2] [40]",
            "1 before h[5]",
            "1 after h[5] [50]",
            "0 after f[1] [50]",
        ]
    );
}

#[test]
fn calls_without_a_listener_in_between_are_no_parents() {
    let tape = Tape::default();
    let listener = BoxListener::new(tape.clone());
    let but_g = move |definition: &Definition| (definition.index != G).then(|| listener.clone());
    play(&mut Guest::new(functions(), &but_g));
    assert_eq!(
        tape.lines()[..3],
        ["0 before f[1]", "1 before h[3]", "1 after h[3] [30]"]
    );
}

#[test]
fn each_state_comes_back_to_its_own_close_in_recursion() {
    let tape = Tape::default();
    let mut guest = Guest::new(functions(), &tape);
    fn recurse(guest: &mut Guest, left: i32) -> wasmscope_listen::fake::Ended {
        guest.call(F, &[Value::I32(left)], |guest| match left {
            0 => Ok(vec![Value::I32(0)]),
            _ => recurse(guest, left - 1),
        })
    }
    recurse(&mut guest, 1000).expect("returns");
    let lines = tape.lines();
    assert_eq!(lines.len(), 2002);
    for (depth, (before, after)) in lines.iter().zip(lines.iter().rev()).take(1001).enumerate() {
        let params = 1000 - depth;
        assert_eq!(*before, format!("{depth} before f[{params}]"));
        assert_eq!(*after, format!("{depth} after f[{params}] [0]"));
    }
}

#[test]
fn a_tail_call_closes_its_caller_first_and_takes_its_place() {
    let tape = Tape::default();
    let mut guest = Guest::new(functions(), &tape);
    let ended = guest.call(F, &[Value::I32(1)], |guest| {
        guest.call(G, &[Value::I32(2)], |guest| {
            guest.tail_call(H, &[Value::I32(3)], |guest| {
                guest.tail_call(G, &[Value::I32(4)], |_| Ok(vec![Value::I32(9)]))
            })
        })
    });
    assert_eq!(ended.expect("returns"), [Value::I32(9)]);
    assert_eq!(
        tape.lines(),
        [
            "0 before f[1]",
            "1 before g[2]",
            "1 tail_call g[2]",
            "1 before h[3]",
            "1 tail_call h[3]",
            "1 before g[4]",
            "1 after g[4] [9]",
            "0 after f[1] [9]",
        ]
    );
}

#[test]
fn an_abort_closes_innermost_first_and_a_caught_one_only_what_it_unwound() {
    let tape = Tape::default();
    let mut guest = Guest::new(functions(), &tape);
    let ended = guest.call(F, &[Value::I32(1)], |guest| {
        let caught = guest.call(G, &[Value::I32(2)], |guest| {
            guest.call(H, &[Value::I32(3)], |_| Err(Cause::Exception))
        });
        assert!(matches!(caught, Err(Cause::Exception)));
        guest.call(H, &[Value::I32(4)], |_| Err(Cause::Exit(7)))
    });
    assert!(matches!(ended, Err(Cause::Exit(7))));
    assert_eq!(
        tape.lines(),
        [
            "0 before f[1]",
            "1 before g[2]",
            "2 before h[3]",
            "2 abort h[3] exception",
            "1 abort g[2] exception",
            "1 before h[4]",
            "1 abort h[4] exit 7",
            "0 abort f[1] exit 7",
        ]
    );
}

#[test]
fn parents_come_newest_first_also_through_composed_listeners() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let out = seen.clone();
    let look = move |call: &Call<'_>| {
        let parents = call.parents().map(|parent| {
            let depth = parent.state::<Depth>().map(|depth| depth.0);
            (parent.definition().debug_name(), depth)
        });
        out.lock()
            .expect("unpoisoned")
            .push(parents.collect::<Vec<_>>());
    };
    let listeners = BoxListener::new((look, Tape::default()));
    play(&mut Guest::new(functions(), &listeners));
    let f = || ("f".to_owned(), Some(0));
    let g = || ("g".to_owned(), Some(1));
    assert_eq!(
        *seen.lock().expect("unpoisoned"),
        [vec![], vec![f()], vec![g(), f()], vec![g(), f()], vec![f()]]
    );
}
