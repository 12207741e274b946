//! Knows guests, and turns errors into failures.

use super::naming::{At, Naming};
use super::passed::{self, Passed};
use super::recorded::{self, Recorded};
use super::{Extent, Failure, FailureCause};
use crate::code::Code;
use crate::guests::Guests;
use crate::{Error, Frame, Guest};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmscope_address::HostPc;
use wasmtime::{FrameInfo, ThrownException, Trap, WasmBacktrace};

/// Turns errors of guests into whole stacks.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use wasmscope::{Explainer, Extent, FailureCause, Guest};
/// use wasmtime::{Engine, Instance, Module, Store, Trap};
///
/// let bytes = wat::parse_str("(module
///     (func $down (export \"down\") (param i32)
///         (if (i32.eqz (local.get 0)) (then unreachable))
///         (call $down (i32.sub (local.get 0) (i32.const 1)))))")?;
/// let engine = Engine::default();
/// let module = Module::new(&engine, &bytes)?;
///
/// let explainer = Explainer::new();
/// let _guest = explainer.register(Guest::module("deep.wasm", &module).bytes(bytes))?;
///
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let down = instance.get_typed_func::<u32, ()>(&mut store, "down")?;
/// let error = down.call(&mut store, 999).unwrap_err();
///
/// let failure = explainer.explain(&error);
/// assert_eq!(failure.cause(), FailureCause::Trap(Trap::UnreachableCodeReached));
/// assert_eq!((failure.frames().len(), failure.extent()), (1000, Extent::Whole));
/// assert_eq!(&*failure.frames()[0].name, "down");
/// # Ok(()) }
/// ```
///
/// The engine needs no settings for it: stacks are whole, whatever
/// `Config::wasm_backtrace_max_frames` says, but `None`, which makes the engine keep no stack
/// at all. `Config::generate_address_map(false)` leaves no offsets and no lines. Cheap to
/// clone; clones know the same guests.
#[derive(Clone, Default)]
pub struct Explainer {
    guests: Arc<Mutex<Guests>>,
}

/// A guest that an [`Explainer`] knows, until this is dropped.
#[must_use = "the guest is forgotten when this is dropped"]
pub struct ExplainedGuest {
    explainer: Explainer,
    code: Arc<Code>,
}

impl Explainer {
    /// Knows no guest yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gets to know a guest. What fails in guests that are not known has names, but no
    /// lines; frames of [hidden](Guest::hidden) ones are left out.
    ///
    /// # Errors
    ///
    /// [`Error::GuestDebug`] and [`Error::Bytes`]; [`Error::Text`] when the compiled code
    /// has no usable address.
    pub fn register(&self, guest: Guest) -> Result<ExplainedGuest, Error> {
        let code = Arc::new(Code::check(guest)?);
        // By itself: the same code may be hidden, or have other bytes, in another registration.
        self.guests().add(Arc::clone(&code));
        Ok(ExplainedGuest {
            explainer: self.clone(),
            code,
        })
    }

    /// Returns the guests that it knows, sorted by the address of their text.
    pub(crate) fn known(&self) -> Vec<Arc<Code>> {
        self.guests().codes()
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says why a guest failed, and where.
    #[must_use]
    pub fn explain(&self, error: &wasmtime::Error) -> Failure {
        let cause = match error.downcast_ref::<Trap>() {
            Some(trap) => FailureCause::Trap(*trap),
            None if error.is::<ThrownException>() => FailureCause::Exception,
            None => FailureCause::Host,
        };
        let newest = error.downcast_ref::<WasmBacktrace>().into_iter();
        let stores = newest.chain(Passed::of(error));
        let stores: Vec<_> = stores.map(|it| (it, recorded::frames(it))).collect();
        let (frames, extent) = match stores.is_empty() {
            false => self.stack(cause, stores),
            true => (Vec::new(), Extent::Nothing),
        };
        Failure {
            cause,
            messages: messages(error),
            frames,
            extent,
        }
    }

    /// Names a stack: of each store all that was recorded, if that agrees with what the engine
    /// hands out, else what it hands out.
    fn stack(
        &self,
        cause: FailureCause,
        stores: Vec<(&WasmBacktrace, Option<Vec<Recorded>>)>,
    ) -> (Vec<Arc<Frame>>, Extent) {
        let codes = self.codes_of(stores.iter().flat_map(|(backtrace, _)| backtrace.frames()));
        let naming = Naming {
            cause,
            codes: &codes,
        };
        let mut extent = Extent::Whole;
        let (mut whole, mut given) = (Vec::new(), Vec::new());
        for (backtrace, recorded) in stores {
            let frames = recorded.and_then(|recorded| {
                let places = naming.places(&recorded);
                let places = naming.checked(places, backtrace.frames())?;
                let frames = places.into_iter().zip(recorded);
                Some(frames.filter(|(_, recorded)| !recorded.is_repeated))
            });
            given.push(match frames {
                Some(_) => None,
                None => Some(backtrace.frames()),
            });
            whole.push(frames.into_iter().flatten().collect::<Vec<_>>());
        }
        passed::keep_last(&mut whole);
        let whole = whole.into_iter().map(|frames| {
            let places = frames.into_iter().map(|(at, _)| at);
            places.collect::<Vec<At>>()
        });
        let whole: Vec<_> = whole.collect();
        let named = naming.named(&whole.concat());
        let mut frames = Vec::new();
        for (position, (places, given)) in whole.iter().zip(given).enumerate() {
            // An error that comes from another store comes through a function of the host.
            let calls_host = position > 0 || naming.may_fail_in_host();
            if let Some(given) = given {
                frames.extend(naming.given(given, calls_host));
                extent = Extent::Newest;
                continue;
            }
            let is_exception = cause == FailureCause::Exception;
            if position == 0 && is_exception && naming.is_rethrown(places) {
                extent = Extent::Rethrown;
            }
            frames.extend(calls_host.then(|| naming.host_frame(places)).flatten());
            frames.extend(named.frames(places));
        }
        (frames, extent)
    }

    /// Returns the guests that it knows, and those of frames that nobody registered: they have
    /// names at least.
    fn codes_of<'a>(&self, frames: impl IntoIterator<Item = &'a FrameInfo>) -> Vec<Arc<Code>> {
        let mut codes = self.known();
        for frame in frames {
            let text = HostPc(frame.module().text().as_ptr() as u64);
            let at = codes.partition_point(|code| code.range.start() < text);
            let is_known = codes.get(at).is_some_and(|code| code.range.start() == text);
            let name = frame.module().name().unwrap_or_default();
            if !is_known && let Ok(code) = Code::check(Guest::module(name, frame.module())) {
                codes.insert(at, Arc::new(code));
            }
        }
        codes
    }
}

impl Drop for ExplainedGuest {
    fn drop(&mut self) {
        self.explainer.guests().remove(&self.code);
    }
}

impl fmt::Debug for Explainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explainer")
            .field("codes", &self.known())
            .finish()
    }
}

impl fmt::Debug for ExplainedGuest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExplainedGuest")
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

/// Returns what an error and its causes say, without what the engine says of the stack and of
/// the store.
fn messages(error: &wasmtime::Error) -> Vec<String> {
    let backtrace = error
        .downcast_ref::<WasmBacktrace>()
        .map(ToString::to_string);
    #[cfg(feature = "coredump")]
    let dump = error
        .downcast_ref::<wasmtime::WasmCoreDump>()
        .map(ToString::to_string);
    #[cfg(not(feature = "coredump"))]
    let dump = None;
    let passed = error.downcast_ref::<Passed>().map(ToString::to_string);
    let is_stack = |message: &String| {
        let message = Some(message);
        [&backtrace, &dump, &passed]
            .iter()
            .any(|it| it.as_ref() == message)
    };
    let messages = error.chain().map(ToString::to_string);
    let mut messages: Vec<String> = messages.filter(|it| !is_stack(it)).collect();
    messages.dedup();
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FrameKind;
    use wasmtime::{Engine, Linker, Module, Store};

    /// Ends in the host, 31 frames deep.
    const DEEP: &str = "(module (import \"host\" \"fail\" (func $fail))
        (func $down (param i32)
          (if (i32.eqz (local.get 0)) (then (call $fail)))
          (call $down (i32.sub (local.get 0) (i32.const 1))))
        (func $run (export \"run\") (call $down (i32.const 29))))";

    fn fail() -> (Module, Vec<u8>, wasmtime::Error) {
        let engine = Engine::default();
        let bytes = wat::parse_str(DEEP).unwrap();
        let module = Module::new(&engine, &bytes).unwrap();
        let mut linker = Linker::new(&engine);
        let refuse = || -> wasmtime::Result<()> { Err(wasmtime::Error::msg("refused")) };
        linker.func_wrap("host", "fail", refuse).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let run = instance
            .get_typed_func::<(), ()>(&mut store, "run")
            .unwrap();
        let error = run.call(&mut store, ()).unwrap_err();
        (module, bytes, error)
    }

    /// What cannot be read, or does not agree with the engine, is not believed: then there are
    /// the frames that the engine hands out, and that is said.
    #[test]
    fn without_the_recorded_stack_there_are_the_newest_frames() {
        let (module, bytes, error) = fail();
        let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
        let recorded = recorded::frames(backtrace).unwrap();
        assert_eq!(recorded.len(), 31);
        let explainer = Explainer::new();
        let stack = |recorded| explainer.stack(FailureCause::Host, vec![(backtrace, recorded)]);
        let functions = |frames: &[Arc<Frame>]| -> Vec<_> {
            let frames = frames.iter().filter(|it| it.kind == FrameKind::Guest);
            frames
                .map(|it| (it.name.clone(), it.function, it.offset))
                .collect()
        };
        for is_known in [false, true] {
            let guest = Guest::module("deep.wasm", &module).bytes(bytes.clone());
            let _guest = is_known.then(|| explainer.register(guest).unwrap());
            let (whole, extent) = stack(Some(recorded.clone()));
            assert_eq!((functions(&whole).len(), extent), (31, Extent::Whole));
            let elsewhere = |by: u64| {
                let mut recorded = recorded.clone();
                recorded[7].pc.0 = recorded[7].pc.0.wrapping_add(by);
                recorded
            };
            let forged = [
                None,
                Some(recorded[..19].to_vec()),
                Some(elsewhere(0x1_0000_0000)),
                Some(elsewhere(16)),
                Some(elsewhere(16_u64.wrapping_neg())),
            ];
            for forged in forged {
                let (newest, extent) = stack(forged);
                assert_eq!(extent, Extent::Newest);
                assert_eq!(functions(&newest), functions(&whole)[..20]);
                // Without the bytes nobody knows what was called.
                let host = newest.first().filter(|it| it.kind == FrameKind::Host);
                assert_eq!(host.map(|it| &*it.name), is_known.then_some("host::fail"));
            }
        }
    }
}
