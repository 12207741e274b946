//! The stack below an event, by the frame pointers that compiled code keeps.
//!
//! Frames of the activation that runs are walked each time; those below the host code that
//! entered it do not change while it lasts, and are walked once.

#![expect(
    unsafe_code,
    reason = "walks frames that are there while an event lasts"
)]

use super::module::Place;
use super::open_calls::{CallRef, OpenCalls};
use super::outer::Outer;
use super::reach::Reach;
use super::site::EventSite;
use crate::layout::{Callers, Fp, StackId, StoreContext};
use std::collections::HashMap;
use wasmscope_address::HostPc;
use wasmscope_listen::{Definition, InstanceId, Line, RawFrame, SourceOffset, StackSource, Values};

/// The open calls below one, for a walk that meets their frames from the newest up.
struct Keys<'a> {
    calls: &'a OpenCalls,
    older: CallRef<'a>,
    number: usize,
}

impl<'a> Keys<'a> {
    fn below(calls: &'a OpenCalls, call: CallRef<'a>) -> Self {
        let older = calls.older(call);
        Self {
            calls,
            older,
            number: calls.number_of(older),
        }
    }

    /// Returns the number of the call that a frame is of, or 0. Each frame that it is asked of
    /// lies above the last one.
    #[inline(always)]
    fn of(&mut self, frame: Fp) -> u64 {
        loop {
            let (fp, number) = (self.older.fp(), self.number);
            if fp == Fp::NONE || fp > frame {
                return 0;
            }
            self.older = self.calls.older(self.older);
            self.number -= 1;
            if fp == frame {
                return number as u64;
            }
        }
    }
}

/// The rest, in any order of their frames.
impl Iterator for Keys<'_> {
    type Item = (Fp, u64);

    fn next(&mut self) -> Option<Self::Item> {
        let found = (self.older.fp(), self.number as u64);
        if found.0 == Fp::NONE {
            return None;
        }
        self.older = self.calls.older(self.older);
        self.number -= 1;
        Some(found)
    }
}

impl<R> EventSite<'_, R> {
    fn walk(&self, frames: &mut Vec<RawFrame>) {
        let Some(context) = self.store.context else {
            return;
        };
        let own = self.call;
        // SAFETY: a hook of the store runs, called by the event's own frame.
        let callers = unsafe { Callers::of(own.fp(), context.entry_of(context.stack())) };
        let calls = &self.store.calls;
        let mut keys = Keys::below(calls, own);
        frames.push(RawFrame {
            pc: self.own_pc(context),
            key: self.number() as u64,
        });
        // On a continuation all of them are older frames than the event's own.
        if context.stack() == StackId::Entered {
            let mut push = |frame, pc| {
                let key = keys.of(frame);
                frames.push(RawFrame { pc, key });
            };
            if self.store.has_tasks {
                callers.for_each(|frame, pc| {
                    if self.is_shown(pc) {
                        push(frame, pc);
                    }
                });
            } else {
                callers.for_each(push);
            }
        }
        // What a guard calls is no function of the guest's own.
        frames.pop_if(|frame| frame.key == 0 && self.is_added(*frame));
        // Older activations: their newest calls first. Those that are of this stack are
        // known.
        let Some(outer) = self.outer() else { return };
        if outer.frames.is_empty() {
            return;
        }
        let numbers: HashMap<Fp, u64> = keys.collect();
        frames.extend(outer.frames.iter().map(|frame| RawFrame {
            pc: frame.pc,
            key: numbers.get(&frame.fp).copied().unwrap_or(0),
        }));
    }

    /// Returns the guest frames that are older than those of the activation that runs, or,
    /// on a continuation, than the event's own.
    fn outer(&self) -> Option<&Outer> {
        let context = self.store.context?;
        let below = |frame| Some(&**self.resumers.get_or_init(|| Box::new(Outer::below(frame))));
        match context.stack() {
            StackId::Continuation(_) => below(self.call.fp()),
            _ if context.fiber() != 0 => below(context.entry()),
            _ => self.store.outer(),
        }
    }

    /// Returns where the event's own frame will go on: it called the hook, perhaps by way
    /// of functions that stand between a component and its hooks.
    fn own_pc(&self, context: StoreContext) -> HostPc {
        // SAFETY: a hook of the store runs, called by the event's own frame or by a function
        // that it called.
        let mut callers = unsafe { context.callers_of_host() };
        while callers.frame < self.call.fp() && callers.advance() {}
        callers.pc.unwrap_or(HostPc(0))
    }

    /// Tells whether a frame is not of what rewriting put around a component's functions,
    /// nor of what the engine put between its modules.
    fn is_shown(&self, pc: HostPc) -> bool {
        let mut instances = self.store.instances.iter();
        instances
            .find(|attached| attached.module.binary.text.contains(pc))
            .is_none_or(|attached| attached.module.binary.is_original(pc))
    }

    /// Tells whether a frame is in code of a module that its original has nothing of.
    fn is_added(&self, frame: RawFrame) -> bool {
        let mut instances = self.store.instances.iter();
        instances.any(|attached| attached.module.binary.text.contains(frame.pc))
            && self.place(frame).is_none()
    }

    /// Returns the call that a frame is of.
    fn call_of(&self, frame: RawFrame) -> Option<CallRef<'_>> {
        let number = usize::try_from(frame.key).ok()?;
        if number == self.number() {
            return Some(self.call);
        }
        self.store.calls.get(number)
    }

    fn place(&self, frame: RawFrame) -> Option<Place<'_>> {
        let of_store = self.store.instances.iter().map(|attached| &attached.module);
        let outer = self.outer().into_iter().flat_map(|outer| &outer.modules);
        let components = self.store.components.iter();
        of_store
            .chain(components.flat_map(|component| &component.modules))
            .chain(outer)
            .find_map(|module| module.place(frame.pc))
    }
}

impl<R: Reach> StackSource for EventSite<'_, R> {
    fn frames(&self) -> &[RawFrame] {
        self.frames.get_or_init(|| {
            // SAFETY: each event has one site, which asks once; listeners' borrows of the
            // frames end with the site's.
            unsafe { self.store.frames.fill(|frames| self.walk(frames)) }
        })
    }

    fn definition(&self, frame: RawFrame) -> Option<&Definition> {
        match self.call_of(frame) {
            Some(call) => Some(&call.probe().definition),
            None => Some(self.place(frame)?.definition),
        }
    }

    fn source_offset(&self, frame: RawFrame) -> Option<SourceOffset> {
        self.place(frame)?.source_offset()
    }

    fn line(&self, frame: RawFrame) -> Option<Line> {
        self.place(frame)?.line()
    }

    fn instance(&self, frame: RawFrame) -> Option<InstanceId> {
        let instance = self.store.instance_of(self.call_of(frame)?) as usize;
        Some(self.store.instances.get(instance)?.id)
    }

    fn params(&self, frame: RawFrame) -> Option<Values<'_>> {
        let call = self.call_of(frame)?;
        let types = &call.probe().definition.params;
        Some(Values::new(types, self.store.calls.words(call)))
    }
}
