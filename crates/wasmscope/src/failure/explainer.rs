//! Knows guests, and turns errors into failures.

use super::recorded::{self, Recorded};
use super::{Extent, Failure, FailureCause};
use crate::code::{Code, Place, Resolved, ResolvedFunction};
use crate::{Error, Frame, FrameKind, Guest};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmscope_address::{FuncIndex, HostPc, TextOffset, WasmOffset};
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
    /// By the address of their text.
    codes: Arc<Mutex<Vec<Arc<Code>>>>,
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
        let mut codes = self.codes();
        let at = codes.partition_point(|other| other.range.start() <= code.range.start());
        codes.insert(at, Arc::clone(&code));
        drop(codes);
        Ok(ExplainedGuest {
            explainer: self.clone(),
            code,
        })
    }

    /// Returns the guests that it knows, sorted by the address of their text.
    #[cfg(feature = "coredump")]
    pub(crate) fn known(&self) -> Vec<Arc<Code>> {
        self.codes().clone()
    }

    fn codes(&self) -> MutexGuard<'_, Vec<Arc<Code>>> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says why a guest failed, and where.
    #[must_use]
    pub fn explain(&self, error: &wasmtime::Error) -> Failure {
        let cause = match error.downcast_ref::<Trap>() {
            Some(trap) => FailureCause::Trap(*trap),
            None if error.is::<ThrownException>() => FailureCause::Exception,
            None => FailureCause::Host,
        };
        let (frames, extent) = match error.downcast_ref::<WasmBacktrace>() {
            Some(backtrace) => self.stack(cause, backtrace, recorded::frames(backtrace)),
            None => (Vec::new(), Extent::Nothing),
        };
        Failure {
            cause,
            messages: messages(error),
            frames,
            extent,
        }
    }

    /// Names a stack: all that was recorded, if that agrees with what the engine hands out,
    /// else what it hands out.
    fn stack(
        &self,
        cause: FailureCause,
        backtrace: &WasmBacktrace,
        recorded: Option<Vec<Recorded>>,
    ) -> (Vec<Arc<Frame>>, Extent) {
        let given = backtrace.frames();
        let mut codes = self.codes().clone();
        // Guests that nobody registered have names at least.
        for frame in given {
            let text = HostPc(frame.module().text().as_ptr() as u64);
            let at = codes.partition_point(|code| code.range.start() < text);
            let is_known = codes.get(at).is_some_and(|code| code.range.start() == text);
            let name = frame.module().name().unwrap_or_default();
            if !is_known && let Ok(code) = Code::check(Guest::module(name, frame.module())) {
                codes.insert(at, Arc::new(code));
            }
        }
        let naming = Naming {
            cause,
            codes: &codes,
        };
        let whole = recorded.and_then(|recorded| {
            let places = naming.checked(naming.places(&recorded), given)?;
            let frames = places.into_iter().zip(recorded);
            let once = frames.filter(|(_, recorded)| !recorded.is_repeated);
            Some(once.map(|(at, _)| at).collect::<Vec<At>>())
        });
        match whole {
            Some(places) => {
                let mut frames = naming.frames(&places);
                let host = naming.host_frame(&places);
                frames.splice(0..0, host);
                (frames, Extent::Whole)
            }
            None => (naming.given(given), Extent::Newest),
        }
    }
}

impl Drop for ExplainedGuest {
    fn drop(&mut self) {
        let mut codes = self.explainer.codes();
        codes.retain(|code| !Arc::ptr_eq(code, &self.code));
    }
}

impl fmt::Debug for Explainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes = self.codes();
        f.debug_struct("Explainer").field("codes", &*codes).finish()
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
    let is_engine_s = |message: &String| [&backtrace, &dump].contains(&&Some(message.clone()));
    let messages = error.chain().map(ToString::to_string);
    let mut messages: Vec<String> = messages.filter(|it| !is_engine_s(it)).collect();
    messages.dedup();
    messages
}

/// A place in the code of one guest, by its number, or an address that is in none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Code(usize, Place),
    Unknown(HostPc),
}

/// Names the places of one stack.
struct Naming<'a> {
    cause: FailureCause,
    codes: &'a [Arc<Code>],
}

impl Naming<'_> {
    /// Finds the code of each address. All are taken to be return addresses.
    fn places(&self, recorded: &[Recorded]) -> Vec<At> {
        let place = |pc: HostPc| {
            let before = HostPc(pc.0.wrapping_sub(1));
            let after = self
                .codes
                .partition_point(|code| code.range.start() <= before);
            let number = after.checked_sub(1)?;
            let offset = self.codes.get(number)?.range.offset_of(before)?;
            let place = Place {
                offset: TextOffset(offset.0.wrapping_add(1)),
                is_return_address: true,
            };
            Some(At::Code(number, place))
        };
        recorded
            .iter()
            .map(|frame| place(frame.pc).unwrap_or(At::Unknown(frame.pc)))
            .collect()
    }

    /// Compares places with what the engine says of the newest of them, and finds out
    /// whether the newest of all is where a trap happened, which is no return address.
    fn checked(&self, mut places: Vec<At>, given: &[FrameInfo]) -> Option<Vec<At>> {
        if places.len() < given.len() {
            return None;
        }
        let mut asked: HashMap<usize, BTreeSet<Place>> = HashMap::new();
        for at in places.iter().take(given.len()) {
            let At::Code(number, place) = *at else {
                return None;
            };
            let asked = asked.entry(number).or_default();
            asked.insert(place);
            asked.insert(trapped(place));
        }
        let said: HashMap<usize, _> = asked
            .iter()
            .filter_map(|(number, places)| {
                Some((*number, self.codes.get(*number)?.compiled(places)))
            })
            .collect();
        let agrees = |number: usize, place: Place, frame: &FrameInfo| {
            let wasm = frame
                .module_offset()
                .and_then(|wasm| u32::try_from(wasm).ok());
            let expected = (FuncIndex(frame.func_index()), wasm.map(WasmOffset));
            said.get(&number).and_then(|said| said.get(&place)) == Some(&expected)
        };
        for (position, (at, frame)) in places.iter_mut().zip(given).enumerate() {
            let At::Code(number, place) = *at else {
                return None;
            };
            if agrees(number, place, frame) {
                continue;
            }
            let exact = trapped(place);
            if position > 0 || !agrees(number, exact, frame) {
                return None;
            }
            *at = At::Code(number, exact);
        }
        Some(places)
    }

    /// Names whole stacks, each place once.
    fn frames(&self, places: &[At]) -> Vec<Arc<Frame>> {
        let mut asked: HashMap<usize, BTreeSet<Place>> = HashMap::new();
        for at in places {
            if let At::Code(number, place) = *at {
                asked.entry(number).or_default().insert(place);
            }
        }
        let mut named: HashMap<At, Option<Arc<Frame>>> = HashMap::new();
        for (number, places) in asked {
            let Some(code) = self.codes.get(number) else {
                continue;
            };
            let module: Arc<str> = code.name().into();
            for (place, resolved) in code.resolve(&places) {
                let frame = match resolved {
                    Resolved::Function(function) if !code.hidden => {
                        let pc = code.range.pc_of(place.offset);
                        Some(Arc::new(guest_frame(&module, Some(pc), &function)))
                    }
                    Resolved::Function(_) | Resolved::Trampoline => None,
                };
                named.insert(At::Code(number, place), frame);
            }
        }
        let frames = places.iter().filter_map(|at| match at {
            At::Unknown(pc) => {
                let unknown = || Some(Arc::new(unknown_frame(*pc)));
                named.entry(*at).or_insert_with(unknown).clone()
            }
            At::Code(..) => named.get(at)?.clone(),
        });
        frames.collect()
    }

    /// Returns the frame of the host function that the guest called where it failed.
    fn host_frame(&self, places: &[At]) -> Option<Arc<Frame>> {
        let is_host = match self.cause {
            FailureCause::Host | FailureCause::Exception => true,
            // What the engine checks at any instruction, not the host.
            FailureCause::Trap(Trap::StackOverflow | Trap::OutOfFuel | Trap::Interrupt) => false,
            FailureCause::Trap(_) => true,
        };
        if !is_host {
            return None;
        }
        // Behind what a rewriter put in front of the host's function.
        let mut newest = places.iter().map_while(|at| match *at {
            At::Code(number, place) => {
                let code = self.codes.get(number).filter(|code| !code.hidden)?;
                code.resolve(&BTreeSet::from([place])).remove(&place)
            }
            At::Unknown(_) => None,
        });
        let function = newest.find_map(|resolved| match resolved {
            Resolved::Function(function) => Some(function),
            Resolved::Trampoline => None,
        })?;
        let import = function.import.as_ref()?;
        Some(Arc::new(Frame {
            kind: FrameKind::Host,
            module: None,
            instance: None,
            function: None,
            name: format!("{}::{}", import.module, import.name).into(),
            pc: None,
            offset: None,
            source: Arc::from([]),
        }))
    }

    /// Names the frames that the engine hands out.
    fn given(&self, given: &[FrameInfo]) -> Vec<Arc<Frame>> {
        let mut frames = Vec::with_capacity(given.len());
        for (position, frame) in given.iter().enumerate() {
            let Some(at) = self.place_of(frame) else {
                frames.push(Arc::new(engine_frame(frame)));
                continue;
            };
            if position == 0 {
                frames.extend(self.host_frame(&[at]));
            }
            // The place is one that has this offset, not the frame's own.
            frames.extend(self.frames(&[at]).into_iter().map(|frame| {
                Arc::new(Frame {
                    pc: None,
                    ..(*frame).clone()
                })
            }));
        }
        frames
    }

    /// Finds a place in the code of a known guest that has a frame's offset.
    fn place_of(&self, frame: &FrameInfo) -> Option<At> {
        let text = HostPc(frame.module().text().as_ptr() as u64);
        let number = self
            .codes
            .iter()
            .position(|code| code.range.start() == text)?;
        let wasm = frame
            .module_offset()
            .and_then(|wasm| u32::try_from(wasm).ok());
        let code = self.codes.get(number)?;
        let offset = code.text_offset(frame.func_index(), wasm.unwrap_or(u32::MAX));
        let place = Place {
            offset: TextOffset(offset),
            is_return_address: false,
        };
        Some(At::Code(number, place))
    }
}

fn trapped(place: Place) -> Place {
    Place {
        is_return_address: false,
        ..place
    }
}

fn guest_frame(module: &Arc<str>, pc: Option<HostPc>, function: &ResolvedFunction) -> Frame {
    let name = function
        .frames
        .last()
        .map(|frame| Arc::clone(&frame.function));
    Frame {
        kind: FrameKind::Guest,
        module: Some(Arc::clone(module)),
        instance: None,
        function: Some(function.index),
        name: name.unwrap_or_else(|| Arc::from("")),
        pc,
        offset: function.wasm,
        source: Arc::clone(&function.frames),
    }
}

fn unknown_frame(pc: HostPc) -> Frame {
    Frame {
        kind: FrameKind::Guest,
        module: None,
        instance: None,
        function: None,
        name: Arc::from("<a guest that is not registered>"),
        pc: Some(pc),
        offset: None,
        source: Arc::from([]),
    }
}

/// Returns a frame of which the engine's own account is all there is.
fn engine_frame(frame: &FrameInfo) -> Frame {
    let index = FuncIndex(frame.func_index());
    let name = wasmscope_symbolize::FunctionName::new(frame.func_name(), index);
    Frame {
        kind: FrameKind::Guest,
        module: frame.module().name().map(Arc::from),
        instance: None,
        function: Some(index),
        name: name.display,
        pc: None,
        offset: frame
            .module_offset()
            .and_then(|wasm| u32::try_from(wasm).ok())
            .map(WasmOffset),
        source: Arc::from([]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let stack = |recorded| explainer.stack(FailureCause::Host, backtrace, recorded);
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
