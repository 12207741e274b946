//! From the addresses of a backtrace to frames with names, once for each address.

use super::codes::{Codes, Known};
use super::frame::{Frame, FrameKind};
use super::raw_frame::{RawFrame, RawFrameKind};
use super::stack::Backtrace;
use crate::code::{Place, Resolved, ResolvedFunction};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use wasmscope_address::HostPc;
use wasmscope_sample::HostFrames;
use wasmscope_symbolize::SourceFrame;

/// What is known of one address of a guest's.
#[derive(Clone, Debug)]
enum Named {
    /// It is in a guest that is not shown.
    Hidden,
    /// What the engine compiled beside the guest's functions.
    Trampoline(Arc<Frame>),
    Function {
        frame: Arc<Frame>,
        /// What is called there, if that is not the guest's own.
        callee: Option<Arc<Frame>>,
    },
}

/// An address, with the guest that it belongs to.
type Key = (u64, Place);

/// The names that a walker found so far.
#[derive(Debug)]
pub(super) struct Names {
    guests: HashMap<Key, Arc<Named>>,
    /// The same by raw frames, for those that come again and again: what takes another's
    /// place replaces it.
    recent: Box<[Recent]>,
    hosts: HashMap<u64, Arc<[Arc<Frame>]>>,
    /// Stands for the host where nothing more is known.
    host: Arc<Frame>,
}

/// A raw frame that was named, of the guests that were known then.
#[derive(Clone, Debug)]
struct Recent {
    frame: RawFrameWord,
    generation: u64,
    named: Option<Arc<Named>>,
}

/// A raw frame without what tells it from others at the same place.
type RawFrameWord = u64;

const RECENT: usize = 4096;

/// What is shown beside guests' functions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) host_frames: HostFrames,
    pub(super) trampolines: bool,
}

/// How many addresses are remembered before all are forgotten.
const MOST_NAMES: usize = 1 << 20;

impl Names {
    pub(super) fn new() -> Self {
        Self {
            guests: HashMap::new(),
            recent: vec![
                Recent {
                    frame: 0,
                    generation: 0,
                    named: None,
                };
                RECENT
            ]
            .into(),
            hosts: HashMap::new(),
            host: Arc::new(bare(FrameKind::Host, "(host)")),
        }
    }

    /// Forgets what is known of a guest.
    pub(super) fn forget(&mut self, id: u64) {
        self.guests.retain(|(guest, _), _| *guest != id);
        for recent in &mut self.recent {
            recent.named = None;
            recent.generation = 0;
        }
    }

    /// Adds the frames of a backtrace to `frames`.
    pub(super) fn name(
        &mut self,
        backtrace: &Backtrace,
        shown: Shown,
        frames: &mut Vec<Arc<Frame>>,
    ) {
        let Some(codes) = &backtrace.codes else {
            return;
        };
        frames.reserve(backtrace.len());
        let host = Arc::clone(&self.host);
        // Whether newer frames, down to the newest guest function's, are the host's: those
        // that the next guest function called.
        let mut called = false;
        for raw in backtrace.frames() {
            match raw.kind() {
                RawFrameKind::HostRun => called = true,
                RawFrameKind::Host => {
                    called = true;
                    if shown.host_frames == HostFrames::Keep {
                        frames.extend(self.host(raw).iter().cloned());
                    }
                }
                RawFrameKind::Guest => match self.guest(codes, backtrace, raw) {
                    // A store's view has guests that were never registered as well.
                    None => {
                        if std::mem::take(&mut called) {
                            frames.push(Arc::clone(&host));
                        }
                        frames.push(Arc::new(Frame {
                            pc: Some(raw.pc()),
                            ..bare(FrameKind::Guest, "(unknown)")
                        }));
                    }
                    Some(Named::Hidden) => {}
                    Some(Named::Trampoline(frame)) => {
                        called |= !raw.is_return_address();
                        if shown.trampolines {
                            frames.push(Arc::clone(frame));
                        }
                    }
                    Some(Named::Function { frame, callee }) => {
                        if std::mem::take(&mut called) {
                            frames.push(Arc::clone(callee.as_ref().unwrap_or(&host)));
                        }
                        frames.push(Arc::clone(frame));
                    }
                },
            }
        }
    }

    #[inline]
    fn guest(&mut self, codes: &Codes, backtrace: &Backtrace, raw: RawFrame) -> Option<&Named> {
        let word = raw.word();
        let slot = (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % RECENT;
        let is_known = self
            .recent
            .get(slot)
            .is_some_and(|recent| recent.frame == word && recent.generation == codes.generation);
        if !is_known {
            self.look_up(codes, backtrace, raw, slot);
        }
        self.recent.get(slot)?.named.as_deref()
    }

    /// Puts what is known of a raw frame among the recent ones.
    #[cold]
    fn look_up(&mut self, codes: &Codes, backtrace: &Backtrace, raw: RawFrame, slot: usize) {
        let key = place(codes, raw).map(|(known, place)| (known.id, place));
        let mut named = key.and_then(|key| self.guests.get(&key).cloned());
        if named.is_none() {
            self.resolve_unknown(codes, backtrace);
            named = key.and_then(|key| self.guests.get(&key).cloned());
        }
        if let Some(recent) = self.recent.get_mut(slot) {
            *recent = Recent {
                frame: raw.word(),
                generation: codes.generation,
                named,
            };
        }
    }

    /// Looks up all addresses that are not known yet, guest by guest.
    fn resolve_unknown(&mut self, codes: &Codes, backtrace: &Backtrace) {
        if self.guests.len() > MOST_NAMES {
            self.guests.clear();
        }
        let mut unknown: HashMap<u64, (&Known, BTreeSet<Place>)> = HashMap::new();
        for raw in backtrace.frames() {
            if raw.kind() == RawFrameKind::Guest
                && let Some((known, place)) = place(codes, raw)
                && !self.guests.contains_key(&(known.id, place))
            {
                let (_, places) = unknown.entry(known.id).or_insert((known, BTreeSet::new()));
                places.insert(place);
            }
        }
        for (known, places) in unknown.into_values() {
            let module: Arc<str> = known.code.name().into();
            for (place, resolved) in known.code.resolve(&places) {
                let named = named(known, &module, place, &resolved);
                self.guests.insert((known.id, place), Arc::new(named));
            }
        }
    }

    /// Returns the frames of a host function, inlined ones first.
    fn host(&mut self, raw: RawFrame) -> Arc<[Arc<Frame>]> {
        if self.hosts.len() > MOST_NAMES {
            self.hosts.clear();
        }
        let lookup = raw.lookup_pc();
        let known = self.hosts.entry(lookup.0);
        Arc::clone(known.or_insert_with(|| host_frames(raw)))
    }
}

/// Returns where in which guest a frame is.
fn place(codes: &Codes, raw: RawFrame) -> Option<(&Known, Place)> {
    let (known, _) = codes.at(raw.lookup_pc())?;
    let from_start = raw.pc().0.wrapping_sub(known.code.range.start().0);
    let offset = wasmscope_address::TextOffset(u32::try_from(from_start).ok()?);
    let place = Place {
        offset,
        is_return_address: raw.is_return_address(),
    };
    Some((known, place))
}

fn bare(kind: FrameKind, name: &str) -> Frame {
    Frame {
        kind,
        module: None,
        instance: None,
        function: None,
        name: name.into(),
        pc: None,
        offset: None,
        source: Arc::default(),
    }
}

fn named(known: &Known, module: &Arc<str>, place: Place, resolved: &Resolved) -> Named {
    if known.code.hidden {
        return Named::Hidden;
    }
    let pc = Some(HostPc(
        known
            .code
            .range
            .start()
            .0
            .wrapping_add(u64::from(place.offset.0)),
    ));
    match resolved {
        Resolved::Trampoline => Named::Trampoline(Arc::new(Frame {
            module: Some(Arc::clone(module)),
            pc,
            ..bare(FrameKind::Trampoline, "(trampoline)")
        })),
        Resolved::Function(function) => {
            let name = function.frames.last().map(|frame| &frame.function);
            Named::Function {
                frame: Arc::new(Frame {
                    kind: FrameKind::Guest,
                    module: Some(Arc::clone(module)),
                    instance: None,
                    function: Some(function.index),
                    name: name.map_or_else(|| "(unknown)".into(), Arc::clone),
                    pc,
                    offset: function.wasm,
                    source: Arc::clone(&function.frames),
                }),
                callee: callee(function).map(Arc::new),
            }
        }
    }
}

/// Returns what a function calls that is not the guest's own.
fn callee(function: &ResolvedFunction) -> Option<Frame> {
    if let Some(import) = &function.import {
        let name = format!("{}::{}", import.module, import.name);
        return Some(bare(FrameKind::Host, &name));
    }
    let operator = function.operator?;
    // A call through a table or a reference may reach the host as well as a libcall that
    // checks a signature: not known, so not said.
    (!operator.is_call()).then(|| bare(FrameKind::Builtin, operator.name()))
}

/// Names a host frame by the process's own symbols and DWARF.
fn host_frames(raw: RawFrame) -> Arc<[Arc<Frame>]> {
    let mut source = Vec::new();
    backtrace::resolve(raw.lookup_pc().0 as *mut std::ffi::c_void, |symbol| {
        let Some(name) = symbol.name() else { return };
        source.push(SourceFrame {
            // The alternate form leaves out Rust's hash.
            function: format!("{name:#}").into(),
            raw: name.as_str().map(Arc::from),
            file: symbol
                .filename()
                .map(|file| file.display().to_string().into()),
            line: symbol.lineno(),
            column: symbol.colno(),
            declared_line: None,
            inlined: true,
        });
    });
    if let Some(function) = source.last_mut() {
        function.inlined = false;
    }
    let name = source.last().map_or_else(
        || format!("{}", raw.pc()).into(),
        |frame| Arc::clone(&frame.function),
    );
    Arc::from([Arc::new(Frame {
        name,
        pc: Some(raw.pc()),
        source: source.into(),
        ..bare(FrameKind::Host, "")
    })])
}
