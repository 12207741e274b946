//! Names the places of one stack.

use super::FailureCause;
use super::recorded::Recorded;
use crate::code::{Code, Place, Resolved, ResolvedFunction};
use crate::{Frame, FrameKind};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use wasmscope_address::{FuncIndex, HostPc, TextOffset, WasmOffset};
use wasmtime::{FrameInfo, Trap};

/// A place in the code of one guest, by its number, or an address that is in none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum At {
    Code(usize, Place),
    Unknown(HostPc),
}

/// Names the places of one stack.
pub(super) struct Naming<'a> {
    pub(super) cause: FailureCause,
    pub(super) codes: &'a [Arc<Code>],
}

/// What the frame at each place is; `None` for what is not shown.
pub(super) struct Named(HashMap<At, Option<Arc<Frame>>>);

impl Named {
    /// Returns the frames at places, newest first.
    pub(super) fn frames(&self, places: &[At]) -> Vec<Arc<Frame>> {
        let frames = places.iter().filter_map(|at| self.0.get(at)?.clone());
        frames.collect()
    }
}

impl Naming<'_> {
    /// Finds the code of each address. All are taken to be return addresses.
    pub(super) fn places(&self, recorded: &[Recorded]) -> Vec<At> {
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
    pub(super) fn checked(&self, mut places: Vec<At>, given: &[FrameInfo]) -> Option<Vec<At>> {
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
    pub(super) fn named(&self, places: &[At]) -> Named {
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
        for at in places {
            if let At::Unknown(pc) = *at {
                let unknown = || Some(Arc::new(unknown_frame(pc)));
                named.entry(*at).or_insert_with(unknown);
            }
        }
        Named(named)
    }

    /// Tells whether a guest can have failed in a function of the host.
    pub(super) fn may_fail_in_host(&self) -> bool {
        match self.cause {
            FailureCause::Host | FailureCause::Exception => true,
            // What the engine checks at any instruction, not the host.
            FailureCause::Trap(Trap::StackOverflow | Trap::OutOfFuel | Trap::Interrupt) => false,
            FailureCause::Trap(_) => true,
        }
    }

    /// Tells whether an exception was thrown on at the newest place, and not thrown first.
    pub(super) fn is_rethrown(&self, places: &[At]) -> bool {
        let Some(At::Code(number, place)) = places.first().copied() else {
            return false;
        };
        let Some(code) = self.codes.get(number) else {
            return false;
        };
        let asked = BTreeSet::from([place]);
        match code.resolve(&asked).remove(&place) {
            Some(Resolved::Function(function)) => match function.wasm {
                Some(_) => {
                    let operator = function.operator;
                    operator.is_some_and(|operator| operator.name() == "throw_ref")
                }
                // What the engine has an offset of, and the original none, is a probe's.
                None => matches!(code.compiled(&asked).get(&place), Some((_, Some(_)))),
            },
            Some(Resolved::Trampoline) | None => false,
        }
    }

    /// Returns the frame of the host function that the guest calls at the newest place.
    pub(super) fn host_frame(&self, places: &[At]) -> Option<Arc<Frame>> {
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

    /// Names the frames that the engine hands out, and before them the host function that the
    /// newest of them may have called.
    pub(super) fn given(&self, given: &[FrameInfo], calls_host: bool) -> Vec<Arc<Frame>> {
        let mut frames = Vec::with_capacity(given.len());
        for (position, frame) in given.iter().enumerate() {
            let Some(at) = self.place_of(frame) else {
                frames.push(Arc::new(engine_frame(frame)));
                continue;
            };
            if position == 0 && calls_host {
                frames.extend(self.host_frame(&[at]));
            }
            // The place is one that has this offset, not the frame's own.
            frames.extend(self.named(&[at]).frames(&[at]).into_iter().map(|frame| {
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
