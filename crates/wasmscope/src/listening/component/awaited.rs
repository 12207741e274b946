//! Events whose memories, or globals, follow.
//!
//! The hooks of an instance are made before it has a memory, and take numbers only. So where
//! somebody wants to read it, the event comes first, and right after it, from the same
//! function of the guest, come calls that bring what is to be read, the first memory last.

#![expect(
    unsafe_code,
    reason = "keeps memories from one call of the host to the next"
)]

use crate::layout::Callers;
use crate::listening::reach::Reach;
use crate::listening::store_calls::{Event, StoreCalls};
use std::ptr::with_exposed_provenance;
use wasmscope_listen::{TaskId, Value};
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
    /// Memories that are there already, by their index: where each is, and how long.
    memories: Vec<(u32, usize, usize)>,
    globals: Option<Vec<u64>>,
    /// With the memory only numbers come.
    task: Option<TaskId>,
}

impl Awaited {
    /// Adds a memory that is not the first.
    pub(super) fn add_memory(&mut self, index: u32, memory: &[u8]) {
        let start = memory.as_ptr().expose_provenance();
        self.memories.push((index, start, memory.len()));
    }

    /// Adds the values of globals.
    pub(super) fn add_globals(&mut self, values: &[u8]) {
        let (words, _) = values.as_chunks();
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        self.globals = Some(words.collect());
    }
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
            memories: Vec::new(),
            globals: None,
            task: calls.names_tasks.then(|| reach.task()).flatten(),
        });
    } else {
        calls.awaited = None;
        now(calls, told, callers, words, reach);
    }
}

/// Tells listeners the event that waits for this memory.
///
/// # Safety
///
/// The store's guest has not run since the memories came that are not the first, but for what
/// brings them.
pub(super) unsafe fn tell_awaited(calls: &mut StoreCalls, memory: &[u8], reach: &dyn Reach) {
    let Some(awaited) = calls.awaited.take() else {
        return;
    };
    let others = awaited.memories.iter().map(|(index, start, len)| {
        let start = with_exposed_provenance::<u8>(*start);
        // SAFETY: so the memory is where it was, and nothing writes it before the event is
        // told.
        (*index, unsafe { std::slice::from_raw_parts(start, *len) })
    });
    let instance = match awaited.told {
        Told::Opened { instance, .. } => instance,
        Told::Returned | Told::TailCalled | Told::Thrown => calls.instance_of(calls.calls.top()),
    };
    let reach = HandedOver {
        instance,
        memories: std::iter::once((0, memory)).chain(others).collect(),
        globals: awaited.globals,
        task: awaited.task,
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

/// Reaches one instance's memories and globals as they were handed over, and the store as
/// another does.
struct HandedOver<'a> {
    instance: u32,
    memories: Vec<(u32, &'a [u8])>,
    globals: Option<Vec<u64>>,
    task: Option<TaskId>,
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

    fn handed_over(&self, instance: u32, memory: u32) -> Option<&[u8]> {
        let mut memories = self.memories.iter();
        let (_, bytes) = memories.find(|(index, _)| *index == memory)?;
        (instance == self.instance && !bytes.is_empty()).then_some(bytes)
    }

    fn handed_globals(&self, instance: u32) -> Option<&[u64]> {
        let globals = self.globals.as_deref();
        globals.filter(|_| instance == self.instance)
    }

    fn task(&self) -> Option<TaskId> {
        self.task
    }
}
