//! Several listeners on one function: order, states, panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmscope_listen::fake::Guest;
use wasmscope_listen::{
    BoxListener, Call, Cause, Definition, Factory, FuncIndex, Listener, Values, pair,
};

use crate::tape::Tape;

const F: FuncIndex = FuncIndex(0);

fn play(factory: &dyn Factory) {
    let mut guest = Guest::new([Definition::guest(F).named("f")], factory);
    guest.call(F, &[], |_| Ok(Vec::new())).expect("returns");
    let aborted = guest.call(F, &[], |_| Err(Cause::Exception));
    assert!(aborted.is_err());
    guest
        .call(F, &[], |guest| guest.tail_call(F, &[], |_| Ok(Vec::new())))
        .expect("returns");
}

/// Makes the three lines of each event: in order, or in reverse for closes.
fn expected() -> Vec<String> {
    let events = [
        "before f[]",
        "after f[] []",
        "before f[]",
        "abort f[] exception",
        "before f[]",
        "tail_call f[]",
        "before f[]",
        "after f[] []",
    ];
    let lines = events.iter().flat_map(|event| {
        let mut marks = ["a", "b", "c"];
        if !event.starts_with("before") {
            marks.reverse();
        }
        marks.map(|mark| format!("{mark}: 0 {event}"))
    });
    lines.collect()
}

#[test]
fn closes_come_in_reverse_order_however_listeners_are_joined() {
    type Join = fn(Tape, Tape, Tape) -> Box<dyn Fn(&dyn Fn(&dyn Factory))>;
    let joins: [Join; 4] = [
        // A list of factories.
        |a, b, c| Box::new(move |play| play(&vec![a.clone(), b.clone(), c.clone()])),
        // Factories in tuples.
        |a, b, c| Box::new(move |play| play(&((a.clone(), b.clone()), c.clone()))),
        // Listeners in tuples.
        |a, b, c| {
            Box::new(move |play| play(&BoxListener::new((a.clone(), (b.clone(), c.clone())))))
        },
        // Boxed listeners in tuples.
        |a, b, c| {
            Box::new(move |play| {
                let [a, b, c] = [&a, &b, &c].map(|tape| BoxListener::new(tape.clone()));
                play(&BoxListener::new(((a, b), c)));
            })
        },
    ];
    for join in joins {
        let tape = Tape::default();
        let joined = join(tape.marked("a: "), tape.marked("b: "), tape.marked("c: "));
        joined(&play);
        assert_eq!(tape.lines(), expected());
    }
}

#[test]
fn a_factory_of_several_gives_none_when_none_of_them_does() {
    let f = Definition::guest(F);
    let none = |_: &Definition| None::<BoxListener>;
    assert!((none, none).listener(&f).is_none());
    assert!(vec![none, none].listener(&f).is_none());
    assert!((none, Tape::default()).listener(&f).is_some());
}

/// Panics in one of its events.
#[derive(Clone, Copy, PartialEq)]
enum Bomb {
    Before,
    After,
    Abort,
}

impl Listener for Bomb {
    type State = ();

    fn before(&self, _: &Call<'_>) {
        assert!(*self != Self::Before, "in before");
    }

    fn after(&self, _: &Call<'_>, _: Values<'_>, (): ()) {
        assert!(*self != Self::After, "in after");
    }

    fn abort(&self, _: &Call<'_>, _: &Cause<'_>, (): ()) {
        assert!(*self != Self::Abort, "in abort");
    }
}

#[test]
fn others_are_closed_when_one_panics() {
    for fails in [Bomb::Before, Bomb::After, Bomb::Abort] {
        for dynamic in [false, true] {
            let tape = Tape::default();
            let (a, c) = (tape.marked("a: "), tape.marked("c: "));
            let listener = if dynamic {
                let all = [
                    BoxListener::new(a),
                    BoxListener::new(fails),
                    BoxListener::new(c),
                ];
                BoxListener::new(wasmscope_listen::Fanout::new(all))
            } else {
                BoxListener::new(((a, fails), c))
            };
            let mut guest = Guest::new([Definition::guest(F).named("f")], &listener);
            let panic = catch_unwind(AssertUnwindSafe(|| {
                guest.call(F, &[], |_| match fails {
                    Bomb::Abort => Err(Cause::Unknown),
                    _ => Ok(Vec::new()),
                })
            }))
            .expect_err("the panic goes on");
            assert!(
                panic
                    .downcast_ref::<&str>()
                    .is_some_and(|m| m.starts_with("in "))
            );
            let expected: &[&str] = match fails {
                Bomb::Before => &["a: 0 before f[]", "a: 0 abort f[] panic"],
                Bomb::After => &[
                    "a: 0 before f[]",
                    "c: 0 before f[]",
                    "c: 0 after f[] []",
                    "a: 0 after f[] []",
                ],
                Bomb::Abort => &[
                    "a: 0 before f[]",
                    "c: 0 before f[]",
                    "c: 0 abort f[] unknown",
                    "a: 0 abort f[] unknown",
                ],
            };
            assert_eq!(tape.lines(), expected);
        }
    }
}

#[test]
fn two_that_panic_in_one_close_are_one_panic() {
    let tape = Tape::default();
    let bomb = || BoxListener::new(Bomb::After);
    let fanout = wasmscope_listen::Fanout::new([BoxListener::new(tape.clone()), bomb(), bomb()]);
    let tuple = ((tape.clone(), Bomb::After), Bomb::After);
    for listener in [BoxListener::new(fanout), BoxListener::new(tuple)] {
        let mut guest = Guest::new([Definition::guest(F).named("f")], &listener);
        let played = || guest.call(F, &[], |_| Ok(Vec::new()));
        assert!(catch_unwind(AssertUnwindSafe(played)).is_err());
    }
    assert_eq!(tape.lines(), ["0 before f[]", "0 after f[] []"].repeat(2));
}

#[test]
fn two_listeners_of_one_type_find_each_their_own_state() {
    struct Mine {
        owner: usize,
        value: u32,
    }
    fn listener(owner: usize, value: u32, tape: Tape) -> impl Listener {
        pair(
            move |call: &Call<'_>| {
                let found = call
                    .parent()
                    .and_then(|parent| parent.find_state(|state: &Mine| state.owner == owner))
                    .map(|state| state.value);
                tape.write(&format!("{owner} {found:?}"));
                Mine { owner, value }
            },
            |_: &Call<'_>, _, _| (),
        )
    }
    let tape = Tape::default();
    let both = BoxListener::new((listener(1, 10, tape.clone()), listener(2, 20, tape.clone())));
    let mut guest = Guest::new([Definition::guest(F)], &both);
    guest
        .call(F, &[], |guest| guest.call(F, &[], |_| Ok(Vec::new())))
        .expect("returns");
    assert_eq!(
        tape.lines(),
        ["1 None", "2 None", "1 Some(10)", "2 Some(20)"]
    );
}
