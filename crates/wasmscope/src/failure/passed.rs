//! Errors that go through several stores.
//!
//! ```text
//!   a guest of store A     called by the host, and
//!        |                 calling a function of it,
//!   that function          in which a guest of another store runs:
//!        |                 its error has the stack of B alone;
//!   a guest of store B     pass_through adds that of A
//! ```
//!
//! The engine attaches one stack to an error, of the store where it came to be, and none of those
//! that it goes through: to an engine the guests of other stores are the host's own code. The
//! host's function between the two is the only one that sees both, so it has to say so.

use super::recorded::Recorded;
use std::collections::HashSet;
use std::fmt;
use wasmtime::{AsContext, WasmBacktrace};

/// Adds the stack of a store's guests to an error that a function of the host returns to them: an
/// error of another store, whose stack is the only one that the engine keeps.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use wasmscope::{Explainer, Guest, pass_through};
/// use wasmtime::{Caller, Engine, Instance, Linker, Module, Store};
///
/// # let engine = Engine::default();
/// # let plugin_bytes = wat::parse_str("(module (func $inner (export \"run\") unreachable))")?;
/// # let outer_bytes = wat::parse_str("(module (import \"host\" \"plugin\" (func $plugin))
/// #     (func $outer (export \"run\") (call $plugin)))")?;
/// # let plugin = Module::new(&engine, &plugin_bytes)?;
/// # let outer = Module::new(&engine, &outer_bytes)?;
/// let explainer = Explainer::new();
/// let _plugin = explainer.register(Guest::module("plugin", &plugin).bytes(plugin_bytes))?;
/// let _outer = explainer.register(Guest::module("outer", &outer).bytes(outer_bytes))?;
///
/// let mut linker = Linker::new(&engine);
/// linker.func_wrap("host", "plugin", move |caller: Caller<'_, ()>| {
///     let mut store = Store::new(caller.engine(), ());
///     let instance = Instance::new(&mut store, &plugin, &[])?;
///     let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
///     run.call(&mut store, ()).map_err(|error| pass_through(&caller, error))
/// })?;
///
/// let mut store = Store::new(&engine, ());
/// let run = linker.instantiate(&mut store, &outer)?;
/// let run = run.get_typed_func::<(), ()>(&mut store, "run")?;
/// let error = run.call(&mut store, ()).unwrap_err();
/// let failure = explainer.explain(&error);
/// let names: Vec<_> = failure.frames().iter().map(|frame| &*frame.name).collect();
/// assert_eq!(names, ["inner", "host::plugin", "outer"]);
/// # Ok(()) }
/// ```
///
/// Each function of the host that an error goes through has to do so. What `error` is, and what
/// it can be downcast to, stays as it is. Where `Config::wasm_backtrace_max_frames` is `None` for
/// the store, nothing is added; neither is it where none of its guests are on the stack. Where
/// the explainer has only the engine's own frames, as with `Config::guest_debug`, a store that the
/// error goes through twice shows its older frames twice.
#[must_use]
pub fn pass_through(store: impl AsContext, mut error: wasmtime::Error) -> wasmtime::Error {
    let backtrace = WasmBacktrace::capture(store);
    if backtrace.frames().is_empty() {
        return error;
    }
    match error.downcast_mut::<Passed>() {
        Some(passed) => {
            passed.0.push(backtrace);
            error
        }
        None => error.context(Passed(vec![backtrace])),
    }
}

/// The stacks of the stores that an error went through, in that order.
#[derive(Debug)]
pub(super) struct Passed(Vec<WasmBacktrace>);

impl Passed {
    /// Returns the stacks of the stores that an error went through.
    pub(super) fn of(error: &wasmtime::Error) -> &[WasmBacktrace] {
        error
            .downcast_ref::<Self>()
            .map_or(&[], |passed| passed.0.as_slice())
    }
}

/// For whoever prints the error as it is.
impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("passed on through another store")?;
        for backtrace in &self.0 {
            write!(f, ": {backtrace}")?;
        }
        Ok(())
    }
}

/// Keeps each frame where it was seen last. A store of which there are older guests on the stack,
/// beyond those of another store, shows them from the beginning; they still were there when the
/// error went through the store between them, so they are older than its frames.
///
/// Frames that were there before are all that such a store shows then. Where there are others
/// too, it is another one, and frames that look alike are of another time: an error may be kept
/// and handed on from elsewhere.
pub(super) fn keep_last<T>(stores: &mut [Vec<(T, Recorded)>]) {
    let place = |frame: &Recorded| (frame.pc, frame.fp);
    let shown = |frames: &Vec<(T, Recorded)>| -> HashSet<_> {
        frames.iter().map(|(_, frame)| place(frame)).collect()
    };
    let shown: Vec<_> = stores.iter().map(shown).collect();
    for (number, frames) in stores.iter_mut().enumerate() {
        for later in &shown[number + 1..] {
            if later.is_subset(&shown[number]) {
                frames.retain(|(_, frame)| !later.contains(&place(frame)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmscope_address::HostPc;

    /// A guest failed before, and where its first frame was is another's now.
    #[test]
    fn frames_of_another_time_are_no_repetition() {
        let frame = |pc: u64, fp: u64| {
            let frame = Recorded {
                pc: HostPc(pc),
                fp,
                is_repeated: false,
            };
            ((pc, fp), frame)
        };
        let failed = vec![frame(3, 30), frame(2, 20), frame(1, 10)];
        let through = vec![frame(4, 35), frame(1, 10)];
        let mut seen = [failed, through];
        keep_last(&mut seen);
        assert_eq!(seen.map(|frames| frames.len()), [3, 2]);
    }

    /// Stores take turns on one stack, from the newest frame (0) on. When the error goes through
    /// one of them, what is left of its frames is shown again.
    #[test]
    fn frames_of_stores_that_took_turns_are_in_order() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |end: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % end
        };
        for _ in 0..2000 {
            // Which store each frame belongs to; runs of one store are activations.
            let count = 1 + below(30);
            let owners: Vec<u64> = (0..count).map(|_| below(3)).collect();
            let frame = |at: usize| Recorded {
                pc: HostPc(7),
                fp: at as u64,
                is_repeated: false,
            };
            let of = |store: u64, from: usize| -> Vec<(usize, Recorded)> {
                let all = owners.iter().enumerate().skip(from);
                let own = all.filter(|(_, owner)| **owner == store);
                own.map(|(at, _)| (at, frame(at))).collect()
            };
            let mut seen = vec![of(owners[0], 0)];
            for at in 1..owners.len() {
                if owners[at] != owners[at - 1] {
                    seen.push(of(owners[at], at));
                }
            }
            keep_last(&mut seen);
            let order: Vec<usize> = seen.into_iter().flatten().map(|(at, _)| at).collect();
            assert_eq!(order, (0..owners.len()).collect::<Vec<_>>(), "{owners:?}");
        }
    }
}
