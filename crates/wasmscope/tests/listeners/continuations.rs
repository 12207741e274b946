//! Guests that switch stacks: calls pair on the stack that they are on.
#![cfg(all(target_arch = "x86_64", unix))]

use crate::balance::Balance;
use crate::heard::{Guest, Heard};
use wasmscope::ListeningBuilder;
use wasmtime::{Caller, Config, Engine, Extern, Linker};

const TYPES: &str = "
   (import \"host\" \"enter\" (func $enter))
   (type $f (func))
   (type $c (cont $f))
   (tag $pause)
   (tag $other)
   (global $kept (mut (ref null $c)) (ref.null $c))
   (func $fine (export \"fine\"))";

/// Makes a guest of a module's fields after [`TYPES`].
fn guest(builder: ListeningBuilder, fields: &str) -> Guest {
    let mut config = Config::new();
    config.wasm_stack_switching(true);
    config.wasm_function_references(true);
    config.wasm_exceptions(true);
    let engine = Engine::new(&config).expect("it can be had");
    Guest::on(
        &engine,
        builder,
        &format!("(module {TYPES} {fields})"),
        define,
    )
}

fn define(linker: &mut Linker<()>) {
    linker
        .func_wrap("host", "enter", |mut caller: Caller<'_, ()>| {
            let inner = caller.get_export("inner").and_then(Extern::into_func);
            let inner = inner.expect("it is exported").typed::<(), ()>(&caller);
            // Whether it fails is its own business.
            let _ = inner.expect("of this type").call(&mut caller, ());
        })
        .expect("the name is free");
}

const TRAP: &str = "trap: wasm trap: wasm `unreachable` instruction executed";

#[test]
fn calls_on_two_stacks_interleave() {
    let heard = Heard::default();
    let mut guest = guest(
        heard.listening(),
        "(func $pauses (suspend $pause))
         (func $within (call $pauses) (call $pauses))
         (func $body (call $within) (call $fine))
         (elem declare func $body)
         (func $step
           (block $paused (result (ref $c))
             (resume $c (on $pause $paused) (global.get $kept))
             (return))
           (global.set $kept))
         (func $run (export \"run\")
           (global.set $kept (cont.new $c (ref.func $body)))
           (call $step) (call $fine) (call $step) (call $step))",
    );
    for is_guarded in [true, false] {
        if is_guarded {
            guest.guarded("run").expect("it runs");
        } else {
            guest.call("run").expect("it runs");
        }
        assert_eq!(
            heard.take(),
            [
                "> run[]",
                "> step[]",
                "> body[]",
                "> within[]",
                "> pauses[]",
                "< step[]",
                "> fine[]",
                "< fine[]",
                "> step[]",
                "< pauses[]",
                "> pauses[]",
                "< step[]",
                "> step[]",
                "< pauses[]",
                "< within[]",
                "> fine[]",
                "< fine[]",
                "< body[]",
                "< step[]",
                "< run[]"
            ]
        );
    }
}

#[test]
fn a_guest_switches_from_stack_to_stack() {
    let heard = Heard::default();
    let mut guest = guest(
        heard.listening(),
        "(rec (type $sf (func (param (ref null $sc)))) (type $sc (cont $sf)))
         (tag $swap)
         (func $there (type $sf) (call $fine)
           (drop (switch $sc $swap (local.get 0))) (call $fine))
         (func $back (type $sf) (call $fine)
           (drop (switch $sc $swap (local.get 0))))
         (elem declare func $there $back)
         (func $here (type $sf) (call $hop) (call $fine))
         (func $hop (drop (switch $sc $swap (cont.new $sc (ref.func $there)))))
         (elem declare func $here)
         (func $run (export \"run\")
           (resume $sc (on $swap switch) (ref.null $sc) (cont.new $sc (ref.func $here))))",
    );
    guest.guarded("run").expect("it runs");
    assert_eq!(
        heard.take(),
        [
            "> run[]",
            "> here[null]",
            "> hop[]",
            "> there[cont]",
            "> fine[]",
            "< fine[]",
            "< hop[]",
            "> fine[]",
            "< fine[]",
            "< here[]",
            "< run[]"
        ]
    );
    drop(guest);
    assert_eq!(heard.take(), ["! there: store dropped"]);
}

/// One that is suspended, and two that resume each other, of which the last traps.
const NESTED: &str = "
   (func $pauses (suspend $other))
   (func $third (call $pauses))
   (func $second unreachable)
   (func $first (resume $c (cont.new $c (ref.func $second))))
   (elem declare func $first $second $third)
   (func $keeps
     (block $paused (result (ref $c))
       (resume $c (on $other $paused) (cont.new $c (ref.func $third)))
       unreachable)
     (global.set $kept))
   (func $run (export \"run\") (call $keeps) (resume $c (cont.new $c (ref.func $first))))
   (func $goes_on (export \"goes_on\") (resume $c (global.get $kept)))";

const NESTED_OPENS: [&str; 7] = [
    "> run[]",
    "> keeps[]",
    "> third[]",
    "> pauses[]",
    "< keeps[]",
    "> first[]",
    "> second[]",
];

#[test]
fn a_trap_ends_the_stacks_that_resumed_each_other_and_no_other() {
    let heard = Heard::default();
    let mut guest = guest(heard.listening(), NESTED);
    guest.guarded("run").expect_err("it traps");
    let closed = ["second", "first", "run"].map(|name| format!("! {name}: {TRAP}"));
    let opened = NESTED_OPENS.map(str::to_owned);
    assert_eq!(heard.take(), [&opened[..], &closed].concat());
    guest.guarded("goes_on").expect("it goes on");
    let expected = ["> goes_on[]", "< pauses[]", "< third[]", "< goes_on[]"];
    assert_eq!(heard.take(), expected);
    drop(guest);
    assert!(heard.take().is_empty());
}

#[test]
fn what_is_suspended_closes_with_the_store() {
    let heard = Heard::default();
    let mut guest = guest(heard.listening(), NESTED);
    guest.guarded("run").expect_err("it traps");
    heard.take();
    drop(guest);
    let closed = ["pauses", "third"].map(|name| format!("! {name}: store dropped"));
    assert_eq!(heard.take(), closed);
}

#[test]
fn an_unguarded_trap_on_a_stack_closes_with_the_next_event() {
    let heard = Heard::default();
    let mut guest = guest(heard.listening(), NESTED);
    guest.call("run").expect_err("it traps");
    assert_eq!(heard.take(), NESTED_OPENS);
    guest.call("fine").expect("it runs");
    let closed = ["second", "first", "run"].map(|name| format!("! {name}: unknown"));
    let fine = ["> fine[]", "< fine[]"].map(str::to_owned);
    assert_eq!(heard.take(), [&closed[..], &fine].concat());
}

#[test]
fn a_host_enters_again_from_a_stack() {
    let heard = Heard::default();
    let mut guest = guest(
        heard.listening(),
        "(func $inner (export \"inner\") (call $fine))
         (func $body (call $enter) (call $fine))
         (elem declare func $body)
         (func $run (export \"run\") (resume $c (cont.new $c (ref.func $body))) (call $fine))",
    );
    for is_guarded in [true, false] {
        if is_guarded {
            guest.guarded("run").expect("it runs");
        } else {
            guest.call("run").expect("it runs");
        }
        assert_eq!(
            heard.take(),
            [
                "> run[]",
                "> body[]",
                "> enter[]",
                "> inner[]",
                "> fine[]",
                "< fine[]",
                "< inner[]",
                "< enter[]",
                "> fine[]",
                "< fine[]",
                "< body[]",
                "> fine[]",
                "< fine[]",
                "< run[]"
            ],
            "{is_guarded}"
        );
    }
}

#[test]
fn an_exception_crosses_stacks() {
    let heard = Heard::default();
    let mut guest = guest(
        heard.listening(),
        "(tag $e)
         (func $throws (throw $e))
         (func $body (call $throws))
         (elem declare func $body)
         (func $catches
           (block $caught
             (try_table (catch $e $caught) (resume $c (cont.new $c (ref.func $body))))))
         (func $run (export \"run\") (call $catches) (call $fine))",
    );
    let ended = guest.guarded("run");
    let lines = heard.take();
    let opened = ["> run[]", "> catches[]", "> body[]", "> throws[]"];
    assert_eq!(lines[..4], opened, "{ended:?}");
    let closed = lines.iter().filter(|line| !line.starts_with('>')).count();
    assert_eq!(lines.len(), 2 * closed, "{lines:?}");
}

#[test]
fn many_stacks_balance() {
    // A generator in a generator, thirty deep, each resumed again and again.
    let heard = Balance::default();
    let mut guest = guest(
        heard.listening(),
        "(global $depth (mut i32) (i32.const 0))
         (func $pauses (suspend $pause))
         (func $body (local $next (ref null $c)) (local $turns i32)
           (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
           (call $pauses)
           (if (i32.lt_u (global.get $depth) (i32.const 30))
             (then
               (local.set $next (cont.new $c (ref.func $body)))
               (loop $again
                 (block $done
                   (block $paused (result (ref $c))
                     (resume $c (on $pause $paused) (local.get $next))
                     (br $done))
                   (local.set $next)
                   (call $pauses)
                   (br $again))))))
         (elem declare func $body)
         (func $run (export \"run\") (local $next (ref null $c))
           (global.set $depth (i32.const 0))
           (local.set $next (cont.new $c (ref.func $body)))
           (loop $again
             (block $done
               (block $paused (result (ref $c))
                 (resume $c (on $pause $paused) (local.get $next))
                 (br $done))
               (local.set $next)
               (call $fine)
               (br $again))))",
    );
    guest.guarded("run").expect("it runs");
    guest.call("run").expect("it runs");
    assert!(heard.opened() > 1_000, "{}", heard.opened());
    assert_eq!((heard.open(), heard.aborted()), (0, 0));
}

/// Continuations that wait are seen with their stacks, also those that wait within others,
/// each at the instruction that it left by.
#[test]
fn those_that_wait_have_stacks() {
    let heard = Heard::default();
    let mut guest = guest(
        heard.listening(),
        "(func $pauses (i32.const 0x1234567) (drop) (suspend $pause))
         (func $within (i32.const 0x1234568) (drop) (call $pauses) (call $pauses))
         (func $body (i32.const 0x1234569) (drop) (call $within))
         (func $outer (resume $c (cont.new $c (ref.func $body))))
         (elem declare func $body $outer)
         (func $step
           (block $paused (result (ref $c))
             (resume $c (on $pause $paused) (global.get $kept))
             (return))
           (global.set $kept))
         (func (export \"alone\")
           (global.set $kept (cont.new $c (ref.func $body))) (call $step))
         (func (export \"together\")
           (global.set $kept (cont.new $c (ref.func $outer))) (call $step))
         (func (export \"on\") (call $step))",
    );
    let names = |guest: &mut Guest| -> Vec<Vec<String>> {
        let stacks = guest.listening.suspended(&mut guest.store);
        let named = stacks.iter().map(|stack| {
            let frames = stack.iter();
            frames.map(|frame| frame.name.to_string()).collect()
        });
        named.collect()
    };
    assert!(names(&mut guest).is_empty(), "nothing has run");
    guest.call("alone").expect("it runs");
    assert_eq!(names(&mut guest), [["pauses", "within", "body"]]);

    // Each call is two bytes behind the number before it, which has five.
    let stacks = guest.listening.suspended(&mut guest.store);
    let offsets = stacks[0]
        .iter()
        .map(|frame| frame.offset.expect("it is known").0);
    for (offset, mark) in offsets.zip([0x0123_4567_u32, 0x0123_4568, 0x0123_4569]) {
        let bytes = &guest.bytes[..offset as usize];
        let mut number = vec![0x41];
        number.extend((0..4).map(|group| {
            let bits = (mark >> (7 * group)) as u8 & 0x7f;
            if group < 3 { bits | 0x80 } else { bits }
        }));
        number.push(0x1a);
        assert!(bytes.ends_with(&number), "{:x?}", &bytes[bytes.len() - 8..]);
    }

    guest.call("on").expect("it pauses once more");
    assert_eq!(names(&mut guest), [["pauses", "within", "body"]]);
    guest.call("on").expect("it ends");
    assert!(names(&mut guest).is_empty(), "it has ended");

    guest.call("together").expect("it runs");
    assert_eq!(names(&mut guest), [["pauses", "within", "body", "outer"]]);
    guest.call("on").expect("it pauses once more");
    guest.call("on").expect("it ends");
    assert!(names(&mut guest).is_empty(), "all have ended");
}
