//! Errors that go through guests of several stores, beside what each store's engine hands out and
//! beside the calls that were made.

use crate::ways::silent;
use std::cell::RefCell;
use std::num::NonZeroUsize;
use wasmscope::listen::Definition;
use wasmscope::{
    Explainer, Extent, Failure, FailureCause, FrameKind, Guest, Listened, Listening, pass_through,
};
use wasmtime::{
    AsContextMut, Caller, Config, Engine, Extern, FrameInfo, Instance, Linker, Module, Store, Trap,
    Val, WasmBacktrace,
};

/// Calls itself as often as it is told, and then the host, or fails.
const GUEST: &str = r#"(module
  (import "host" "next" (func $next))
  (import "host" "again" (func $again))
  (tag $e)
  (global $deep (export "deep") (mut i32) (i32.const 0))
  (global $end (export "end") (mut i32) (i32.const 0))
  (func $overflow (call $overflow) (call $nothing))
  (func $nothing)
  (func $end
    (if (i32.eq (global.get $end) (i32.const 0)) (then (call $next)))
    (if (i32.eq (global.get $end) (i32.const 1)) (then (call $again)))
    (if (i32.eq (global.get $end) (i32.const 2)) (then (call $next)))
    (if (i32.eq (global.get $end) (i32.const 3)) (then unreachable))
    (if (i32.eq (global.get $end) (i32.const 4)) (then (call $overflow)))
    (if (i32.eq (global.get $end) (i32.const 5)) (then (throw $e))))
  (func $down (param i32)
    (if (i32.eqz (local.get 0)) (then (call $end) (return)))
    (call $down (i32.sub (local.get 0) (i32.const 1))))
  (func $run (export "run") (call $down (global.get $deep))))"#;

/// What a guest does when it is as deep as it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// Has the host enter a guest of another store.
    Next = 0,
    /// Has the host enter itself once more.
    Again = 1,
    /// Has the host refuse.
    Refused = 2,
    Unreachable = 3,
    Overflow = 4,
    Throw = 5,
}

/// Guests that call each other, oldest first: how deep each is, and what it does there.
type Plan = Vec<(i32, End)>;

/// A guest's function, and where in its binary it is.
type Line = (String, Option<usize>);

/// Whoever plays on this thread.
struct Playing {
    plan: Plan,
    /// How many of them have been entered.
    entered: usize,
    linker: Linker<()>,
    module: Module,
    /// Whether errors are passed through.
    passes: bool,
    /// What the engine hands out of each store that an error goes through.
    through: Vec<Vec<Line>>,
}

thread_local! {
    static PLAYING: RefCell<Option<Playing>> = const { RefCell::new(None) };
}

fn playing<R>(f: impl FnOnce(&mut Playing) -> R) -> R {
    PLAYING.with_borrow_mut(|playing| f(playing.as_mut().expect("one plays")))
}

fn lines(backtrace: &WasmBacktrace) -> Vec<Line> {
    let line = |frame: &FrameInfo| {
        let name = frame.func_name().unwrap_or_default().to_owned();
        (name, frame.module_offset())
    };
    backtrace.frames().iter().map(line).collect()
}

fn next_of_plan() -> (i32, End) {
    playing(|playing| {
        playing.entered += 1;
        playing.plan[playing.entered - 1]
    })
}

/// Enters a guest of a new store.
fn next() -> wasmtime::Result<()> {
    if playing(|playing| playing.entered == playing.plan.len()) {
        return Err(wasmtime::Error::msg("there is no other store"));
    }
    let (deep, end) = next_of_plan();
    let (linker, module) = playing(|playing| (playing.linker.clone(), playing.module.clone()));
    let mut store = Store::new(module.engine(), ());
    let instance: Instance = linker.instantiate(&mut store, &module)?;
    for (name, value) in [("deep", deep), ("end", end as i32)] {
        let global = instance.get_global(&mut store, name);
        let global = global.expect("the guest exports it");
        global.set(&mut store, Val::I32(value))?;
    }
    let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
    run.call(&mut store, ())
}

/// Enters the guest that has called.
fn again(mut caller: Caller<'_, ()>) -> wasmtime::Result<()> {
    let (deep, end) = next_of_plan();
    for (name, value) in [("deep", deep), ("end", end as i32)] {
        let global = caller.get_export(name).and_then(Extern::into_global);
        let global = global.expect("the guest exports it");
        global.set(caller.as_context_mut(), Val::I32(value))?;
    }
    let run = caller.get_export("run").and_then(Extern::into_func);
    let run = run
        .expect("the guest exports it")
        .typed::<(), ()>(&caller)?;
    run.call(&mut caller, ())
}

/// What came of a plan.
struct Played {
    failure: Failure,
    /// The frames that the engine hands out, newest first.
    handed_out: Vec<Line>,
}

impl Played {
    /// Returns the frames of guests.
    fn lines(&self) -> Vec<Line> {
        let frames = self.failure.frames().iter();
        let guests = frames.filter(|frame| frame.kind == FrameKind::Guest);
        let line = guests.map(|frame| {
            let offset = frame.offset.map(|offset| offset.0 as usize);
            (frame.name.to_string(), offset)
        });
        line.collect()
    }

    /// Returns all names, but those of the frames of an overflow, of which there are thousands.
    fn names(&self) -> Vec<&str> {
        let names = self.failure.frames().iter().map(|frame| &*frame.name);
        let mut names = names.peekable();
        while names
            .next_if(|name| ["overflow", "nothing"].contains(name))
            .is_some()
        {}
        names.collect()
    }
}

/// The settings of an engine that hands out this many frames.
fn engine(frames: Option<usize>) -> Engine {
    let mut config = Config::new();
    if let Some(frames) = frames.and_then(NonZeroUsize::new) {
        config.wasm_backtrace_max_frames(Some(frames));
    }
    Engine::new(&config).unwrap()
}

/// Plays a plan, in which the last fails.
fn play(plan: &Plan, engine: &Engine, passes: bool, listening: Option<&Listening>) -> Played {
    let bytes = wat::parse_str(GUEST).unwrap();
    let mut linker = Linker::new(engine);
    let pass = |caller: Caller<'_, ()>| -> wasmtime::Result<()> {
        if playing(|playing| playing.plan[playing.entered - 1].1 == End::Refused) {
            return Err(wasmtime::Error::msg("the host refuses"));
        }
        next().map_err(|error| {
            let record = lines(&WasmBacktrace::capture(&caller));
            match playing(|playing| {
                playing.through.push(record);
                playing.passes
            }) {
                true => pass_through(&caller, error),
                false => error,
            }
        })
    };
    linker.func_wrap("host", "next", pass).unwrap();
    linker.func_wrap("host", "again", again).unwrap();
    let listened: Option<Listened> = listening.map(|listening| {
        listening.add_to_linker(&mut linker).unwrap();
        listening.compile(engine, bytes.clone()).unwrap()
    });
    let module = match &listened {
        Some(listened) => listened.module().clone(),
        None => Module::new(engine, &bytes).unwrap(),
    };
    let guest = match &listened {
        Some(listened) => Guest::listened("guest", listened),
        None => Guest::module("guest", &module).bytes(bytes),
    };
    PLAYING.set(Some(Playing {
        plan: plan.clone(),
        entered: 0,
        linker,
        module,
        passes,
        through: Vec::new(),
    }));
    let error = next().unwrap_err();
    let playing = PLAYING.take().unwrap();
    let explainer = Explainer::new();
    let _guest = explainer.register(guest).unwrap();
    let mut handed_out = lines(error.downcast_ref().unwrap());
    if plan.last().unwrap().1 == End::Next {
        // No guest had run when it came to be, so this is of the first store it went through.
        assert_eq!(handed_out, playing.through[0]);
        handed_out.clear();
    }
    handed_out.extend(playing.through.concat());
    Played {
        failure: explainer.explain(&error),
        handed_out,
    }
}

/// Returns the names that the stack of a plan must have.
fn expected(plan: &Plan) -> Vec<&'static str> {
    let mut names = Vec::new();
    for (deep, end) in plan.iter().rev() {
        match end {
            End::Next | End::Refused => names.push("host::next"),
            End::Again | End::Unreachable | End::Overflow | End::Throw => {}
        }
        names.push("end");
        names.extend(vec!["down"; *deep as usize + 1]);
        names.push("run");
    }
    names
}

fn cause(end: End) -> FailureCause {
    match end {
        End::Refused | End::Next => FailureCause::Host,
        End::Unreachable => FailureCause::Trap(Trap::UnreachableCodeReached),
        End::Overflow => FailureCause::Trap(Trap::StackOverflow),
        End::Throw => FailureCause::Exception,
        End::Again => unreachable!("it is not the last"),
    }
}

/// Plans of one to six guests, of which none is deep or some are.
fn plans(lasts: &[End], count: usize) -> Vec<Plan> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = move |end: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % end
    };
    let plan = |number: usize| -> Plan {
        let mut plan = Vec::new();
        for _ in 0..below(6) {
            let end = if below(3) == 0 { End::Again } else { End::Next };
            plan.push((below(60) as i32, end));
        }
        plan.push((below(60) as i32, lasts[number % lasts.len()]));
        plan
    };
    (0..count).map(plan).collect()
}

const ENDS: [End; 4] = [End::Refused, End::Unreachable, End::Overflow, End::Throw];

#[test]
fn every_store_is_in_the_stack() {
    let (all, usual) = (engine(Some(1 << 20)), engine(None));
    for plan in plans(&ENDS, 120) {
        let whole = play(&plan, &all, true, None);
        let last = plan.last().unwrap().1;
        assert_eq!(whole.failure.cause(), cause(last), "{plan:?}");
        assert_eq!(whole.failure.extent(), Extent::Whole, "{plan:?}");
        assert_eq!(whole.names(), expected(&plan), "{plan:?}");
        assert_eq!(whole.lines(), whole.handed_out, "{plan:?}");
        // What the engine hands out of each store makes no difference.
        let played = play(&plan, &usual, true, None);
        assert_eq!(played.failure.extent(), Extent::Whole, "{plan:?}");
        assert_eq!(played.names(), whole.names(), "{plan:?}");
        if last != End::Overflow {
            assert_eq!(played.lines(), whole.lines(), "{plan:?}");
        }
        assert_eq!(played.failure.messages(), whole.failure.messages());
    }
}

/// Such an error has no stack until it goes through a guest, and then has that of the engine's own
/// as well; no frame is there twice.
#[test]
fn an_error_that_no_guest_caused() {
    let (all, usual) = (engine(Some(1 << 20)), engine(None));
    for plan in plans(&[End::Next], 40) {
        let whole = play(&plan, &all, true, None);
        assert_eq!(whole.failure.cause(), FailureCause::Host, "{plan:?}");
        assert_eq!(whole.failure.messages(), ["there is no other store"]);
        assert_eq!(whole.names(), expected(&plan), "{plan:?}");
        assert_eq!(whole.lines(), whole.handed_out, "{plan:?}");
        let played = play(&plan, &usual, true, None);
        assert_eq!(played.lines(), whole.lines(), "{plan:?}");
        assert_eq!(played.failure.extent(), Extent::Whole, "{plan:?}");
    }
}

#[test]
fn what_is_not_passed_through_is_not_made_up() {
    let usual = engine(None);
    for plan in plans(&ENDS, 40) {
        let played = play(&plan, &usual, false, None);
        let of_one_store = plan.iter().rposition(|(_, end)| *end == End::Next);
        let newest = plan[of_one_store.map_or(0, |at| at + 1)..].to_vec();
        assert_eq!(played.names(), expected(&newest), "{plan:?}");
        let said = play(&plan, &usual, true, None).failure;
        assert_eq!(played.failure.messages(), said.messages(), "{plan:?}");
    }
}

/// What was rewritten is shown as if it had not been.
#[test]
fn stores_of_rewritten_guests() {
    let usual = engine(None);
    let listening = Listening::new(|_: &Definition| Some(silent()));
    for plan in plans(&[End::Refused, End::Unreachable], 40) {
        let plain = play(&plan, &usual, true, None);
        let rewritten = play(&plan, &usual, true, Some(&listening));
        assert_eq!(rewritten.names(), expected(&plan), "{plan:?}");
        assert_eq!(rewritten.lines(), plain.lines(), "{plan:?}");
        assert_eq!(rewritten.failure.extent(), Extent::Whole, "{plan:?}");
    }
}
