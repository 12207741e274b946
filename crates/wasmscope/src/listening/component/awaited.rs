//! Events whose memory follows.
//!
//! The hooks of an instance are made before it has a memory, and take numbers only. So where
//! somebody wants to read it, the event comes first, and right after it, from the same
//! function of the guest, a call that brings the memory.

use crate::layout::Callers;
use crate::listening::reach::Reach;
use crate::listening::store_calls::{Event, StoreCalls};
use wasmscope_listen::Value;
use wasmtime::{Global, Memory};

/// What a hook says.
#[derive(Clone, Copy, Debug)]
pub(in crate::listening) enum Told {
    Opened { instance: u32, probe: u32 },
    Returned,
    TailCalled,
    Thrown,
}

/// An event that is told once its memory is there.
#[derive(Debug)]
pub(in crate::listening) struct Awaited {
    told: Told,
    /// Of the function that the event is of.
    callers: Callers,
    words: Vec<u64>,
}

/// Tells listeners what a hook says, or keeps it until the memory comes.
pub(super) fn tell(
    calls: &mut StoreCalls,
    told: Told,
    callers: Callers,
    words: &[u64],
    reach: &dyn Reach,
) {
    let instance = match told {
        Told::Opened { instance, probe } => {
            if !calls.is_heard(instance, probe) {
                // Its close will find no such call, and say nothing either.
                calls.awaited = None;
                return;
            }
            Some(instance)
        }
        Told::Returned | Told::TailCalled | Told::Thrown => {
            calls.settle(Event::Close, callers, reach);
            let is_open = calls.is_top(callers.frame);
            is_open.then(|| calls.instance_of(calls.calls.top()))
        }
    };
    let attached = instance.and_then(|instance| calls.instances.get(instance as usize));
    if attached.is_some_and(|attached| attached.looks) {
        calls.awaited = Some(Awaited {
            told,
            callers,
            words: words.to_vec(),
        });
    } else {
        calls.awaited = None;
        now(calls, told, callers, words, reach);
    }
}

/// Tells listeners the event that waits for this memory.
pub(super) fn tell_awaited(calls: &mut StoreCalls, memory: &[u8], reach: &dyn Reach) {
    let Some(awaited) = calls.awaited.take() else {
        return;
    };
    let instance = match awaited.told {
        Told::Opened { instance, .. } => instance,
        Told::Returned | Told::TailCalled | Told::Thrown => calls.instance_of(calls.calls.top()),
    };
    let reach = HandedOver {
        instance,
        memory,
        reach,
    };
    now(calls, awaited.told, awaited.callers, &awaited.words, &reach);
}

fn now(calls: &mut StoreCalls, told: Told, callers: Callers, words: &[u64], reach: &dyn Reach) {
    match told {
        Told::Opened { instance, probe } => calls.open(callers, instance, probe, words, reach),
        Told::Returned => calls.close(callers, words, reach),
        Told::TailCalled => calls.close_tail(callers, reach),
        Told::Thrown => calls.close_thrown(callers, reach),
    }
}

/// Reaches one instance's memory as it was handed over, and the store as another does.
struct HandedOver<'a> {
    instance: u32,
    memory: &'a [u8],
    reach: &'a dyn Reach,
}

impl Reach for HandedOver<'_> {
    fn size(&self, memory: Memory) -> Option<u64> {
        self.reach.size(memory)
    }

    fn read(&self, memory: Memory, offset: u64, into: &mut [u8]) -> bool {
        self.reach.read(memory, offset, into)
    }

    fn get(&self, global: Global) -> Option<Value> {
        self.reach.get(global)
    }

    fn set(&self, global: Global, value: i32) {
        self.reach.set(global, value);
    }

    fn handed_over(&self, instance: u32) -> Option<&[u8]> {
        (instance == self.instance && !self.memory.is_empty()).then_some(self.memory)
    }
}
