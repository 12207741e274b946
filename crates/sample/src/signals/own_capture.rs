//! The stack of the calling thread, for who asks often.
//!
//! A walk from a host function to the thread's root costs a microsecond by unwind tables. So
//! each thread remembers how it left host frames ([`HostMemo`]), where its own stack ends and
//! where others do. Where a stack was resumed by another, a fiber's or a continuation's, the
//! walk goes on there.

use super::other_stacks::OtherStacks;
use super::stack_memory::{MappingQuery, StackBounds, StackMemory};
use crate::{CodeMap, HostFrames};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use wasmscope_walk::host::{HostCache, HostMemo, HostObjects, HostUnwinder, MemoUnwinder, here};
use wasmscope_walk::{Cut, End, Native, Visit};

/// What all threads share.
#[derive(Clone)]
struct Process {
    objects: Arc<HostObjects>,
    query: Arc<MappingQuery>,
    /// How often the objects were loaded.
    loads: u64,
}

static PROCESS: Mutex<Option<Process>> = Mutex::new(None);

impl Process {
    fn get() -> Self {
        let mut process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        let process = process.get_or_insert_with(|| Self {
            objects: Arc::new(HostObjects::load()),
            query: Arc::new(MappingQuery::open()),
            loads: 1,
        });
        process.clone()
    }
}

/// Captures the stacks of the thread that made it. Making the first one of a process reads
/// which libraries are loaded; making each takes 220 KB and a system call; capturing
/// allocates nothing.
pub struct OwnCapture {
    process: Process,
    cache: HostCache,
    memo: HostMemo,
    own: StackBounds,
    others: OtherStacks,
    /// Its stack is that of one thread.
    not_send: PhantomData<*const ()>,
}

impl OwnCapture {
    /// Prepares to capture; `None` on platforms where stacks cannot be walked.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self {
            process: Process::get(),
            cache: HostCache::new(),
            memo: HostMemo::new(),
            own: StackBounds::of_this_thread().unwrap_or(StackBounds::NONE),
            others: OtherStacks::new(),
            not_send: PhantomData,
        })
    }

    /// Looks again which libraries are loaded, for captures by whichever thread, later.
    pub fn reload_host_objects() {
        let mut process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(process) = process.as_mut() {
            process.objects = Arc::new(HostObjects::load());
            process.loads = process.loads.wrapping_add(1);
        }
    }

    /// Visits the frames of the calling thread's stack, newest first: those of the guests
    /// that `code` knows, and the host's, from the function that calls this on. With
    /// [`HostFrames::Omit`], of each run of host frames only the newest is visited.
    /// `generation` is a number that differs whenever `code` does, and is not 0.
    #[inline(never)]
    pub fn visit(
        &mut self,
        code: &CodeMap,
        generation: u64,
        host_frames: HostFrames,
        visit: &mut impl Visit,
    ) -> End {
        let mut registers = here();
        let mut is_return_address = false;
        let mut sp = registers.sp;
        self.memo.among(generation);
        let query = &*self.process.query;
        loop {
            let memory = match StackMemory::within(sp, self.own) {
                Some(memory) => memory,
                None => self.others.memory_at(sp, query),
            };
            let host = HostUnwinder::new(&self.process.objects, &mut self.cache);
            let leaps = host_frames == HostFrames::Omit;
            let mut host = MemoUnwinder::new(host, &mut self.memo, code, leaps);
            let end = wasmscope_walk::walk_from::<Native>(
                registers,
                is_return_address,
                &memory,
                code,
                &mut host,
                visit,
            );
            let End::Fiber = end else { return end };
            let Some(switch) = host.switch() else {
                return End::Cut(Cut::UnknownCode);
            };
            if let Some(first) = switch.fiber() {
                self.others.walked(sp, first);
            }
            sp = switch.sp();
            let memory = match StackMemory::within(sp, self.own) {
                Some(memory) => memory,
                None => self.others.memory_at(sp, query),
            };
            registers = match switch.registers(&memory) {
                Some(registers) => registers,
                None => return End::Cut(Cut::Memory),
            };
            is_return_address = true;
        }
    }

    /// Takes in libraries that were loaded since, if another thread looked again.
    pub fn refresh(&mut self) {
        let process = Process::get();
        if process.loads != self.process.loads {
            self.process = process;
            self.cache = HostCache::new();
            self.memo = HostMemo::new();
        }
    }
}

impl fmt::Debug for OwnCapture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnCapture").finish_non_exhaustive()
    }
}
