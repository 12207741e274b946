//! Records a guest's calls with the engine's own debugger, which stops before each
//! operator: an observer that shares nothing with rewriting and hooks.
//!
//! Between two stops one operator runs, so what changed on the stack tells what it
//! did:
//!
//! | the stack, against the stop before | what it was |
//! |---|---|
//! | one frame more, at its function's first operator | a call |
//! | as many frames, the newest at its function's first operator | a tail call |
//! | one frame less | a return |
//! | fewer frames, with an exception thrown since | frames that it left; but the oldest of them returned, if its caller goes on right behind the call: it has caught the exception with its own end |
//!
//! A loop back to a function's first operator cannot be told from a tail call to
//! itself: guests must not have one (those of wasm-smith that are made to end do not).
//! Functions of the host are seen when they say so ([`Debugger::host`]).

use crate::hooks::{End, Event, flatten};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use wasmtime::{
    AsContextMut, DebugEvent, DebugHandler, FrameHandle, RootScope, StoreContextMut, Val,
};

/// The opcodes of `return_call`, `return_call_indirect` and `return_call_ref`.
const TAIL_CALLS: [u8; 3] = [0x12, 0x13, 0x15];

/// Stops before each operator, and writes calls down.
#[derive(Debug)]
pub(crate) struct Debugger<T> {
    record: Arc<Mutex<Record>>,
    data: std::marker::PhantomData<fn(T)>,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Record {
    /// How many functions the module imports, which come before its own.
    imported: u32,
    /// How many parameters and results each function has, of all functions.
    arity: Vec<(u32, u32)>,
    /// Where each function's first operator is, as soon as it ran.
    first: HashMap<u32, u32>,
    /// The functions on the stack at the last stop, oldest first, and where each stopped
    /// last.
    stack: Vec<(u32, u32)>,
    /// How many frames the engine counts below the oldest.
    below: usize,
    /// The module.
    wasm: Vec<u8>,
    /// An exception was thrown since.
    thrown: bool,
    events: Vec<Event>,
}

impl<T> Clone for Debugger<T> {
    fn clone(&self) -> Self {
        Self {
            record: self.record.clone(),
            data: std::marker::PhantomData,
        }
    }
}

impl<T: Send + 'static> Debugger<T> {
    /// Makes one for a module, given how many of its functions are imported, and how many
    /// parameters and results each function has.
    pub(crate) fn new(wasm: &[u8], imported: u32, arity: Vec<(u32, u32)>) -> Self {
        Self {
            record: Arc::new(Mutex::new(Record {
                wasm: wasm.to_vec(),
                imported,
                arity,
                ..Record::default()
            })),
            data: std::marker::PhantomData,
        }
    }

    /// Hears of a call to the host. The operator at the last stop made it, so that tells
    /// what call it was; the engine cannot always walk the stack from here.
    pub(crate) fn host(&self, function: u32, params: &[Val]) {
        let mut record = self.lock();
        if let Some((_, pc)) = record.stack.last()
            && TAIL_CALLS.contains(&record.wasm[*pc as usize])
        {
            record.leave(End::TailCall, Vec::new());
        }
        record.stack.push((function, 0));
        record.events.push(Event::Enter(function, flatten(params)));
    }

    /// Hears that the host returns.
    pub(crate) fn host_returns(&self, results: &[Val]) {
        self.lock().leave(End::Return, flatten(results));
    }

    /// Hears that the host throws an exception.
    pub(crate) fn host_throws(&self) {
        let mut record = self.lock();
        record.leave(End::Exception, Vec::new());
        record.thrown = true;
    }

    /// Hears how the embedder's call ended, and gives out what was recorded.
    ///
    /// A tail call through a table or a reference may trap before it is made. Hooks have
    /// told of it by then, so here it counts as made.
    pub(crate) fn end(&self, end: End, results: &[Val]) -> Vec<Event> {
        let mut record = self.lock();
        if end == End::Return {
            // The function that the embedder called may have caught it with its own end.
            while record.thrown && record.stack.len() > 1 {
                record.leave(End::Exception, Vec::new());
            }
            assert!(record.stack.len() <= 1, "frames at the end: {record:?}");
        }
        if let Some((_, pc)) = record.stack.last()
            && end == End::Abort
            && TAIL_CALLS[1..].contains(&record.wasm[*pc as usize])
        {
            record.leave(End::TailCall, Vec::new());
        }
        while !record.stack.is_empty() {
            record.leave(end, flatten(results));
        }
        record.thrown = false;
        std::mem::take(&mut record.events)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().expect("no other thread has panicked")
    }
}

impl Record {
    fn leave(&mut self, end: End, values: Vec<u64>) {
        let (function, _) = self.stack.pop().expect("a function is open");
        self.events.push(Event::Leave(function, end, values));
    }

    /// Where the operator behind a call is.
    fn behind_call(&self, call: u32) -> u32 {
        let mut at = call as usize + 1;
        // A function or a type; the table of an indirect call.
        let immediates = if self.wasm[call as usize] == 0x11 {
            2
        } else {
            1
        };
        for _ in 0..immediates {
            while self.wasm[at] & 0x80 != 0 {
                at += 1;
            }
            at += 1;
        }
        at as u32
    }
}

/// The newest frame of a stop, and how many frames there are. The older ones are only
/// counted: the engine takes the code by which it entered the guest for the function
/// before it, and reads what is not there when asked about that.
fn stop(mut store: impl AsContextMut) -> (FrameHandle, usize) {
    let mut store = store.as_context_mut();
    let newest = store.debug_exit_frames().next();
    let newest = newest.expect("a stop is in a frame");
    let mut count = 0;
    let mut next = Some(newest.clone());
    while let Some(frame) = next {
        count += 1;
        next = frame.parent(&mut store).expect("the frame is there");
    }
    (newest, count)
}

impl<T: Send + 'static> DebugHandler for Debugger<T> {
    type Data = T;

    async fn handle(&self, mut store: StoreContextMut<'_, T>, event: DebugEvent<'_>) {
        match event {
            DebugEvent::Exception(_) => {
                self.lock().thrown = true;
                return;
            }
            DebugEvent::Breakpoint => {}
            _ => return,
        }
        let mut scope = RootScope::new(&mut store);
        let mut record = self.lock();
        let record = &mut *record;
        let (newest, frames) = stop(&mut scope);
        let (function, pc) = newest
            .wasm_function_index_and_pc(&mut scope)
            .expect("the frame is there")
            .expect("a stop is in a function");
        let (function, pc) = (function.as_u32() + record.imported, pc.raw());
        if record.stack.is_empty() {
            record.below = frames - 1;
        }
        let depth = frames - record.below;
        let begins = *record.first.entry(function).or_insert(pc) == pc;
        if begins {
            if depth == record.stack.len() {
                record.leave(End::TailCall, Vec::new());
            }
            let params = (0..record.arity[function as usize].0)
                .map(|n| newest.local(&mut scope, n).expect("a parameter"))
                .collect::<Vec<_>>();
            record.stack.push((function, pc));
            record.events.push(Event::Enter(function, flatten(&params)));
        } else if record.stack.len() > depth {
            let call = record.stack[depth - 1].1;
            let returned = !record.thrown || pc == record.behind_call(call);
            let kept = depth + usize::from(returned);
            while record.thrown && record.stack.len() > kept {
                record.leave(End::Exception, Vec::new());
            }
            if returned {
                let left = record.stack[record.stack.len() - 1].0;
                let results = record.arity[left as usize].1;
                let height = newest.num_stacks(&mut scope).expect("the frame is there");
                let results = (height - results..height)
                    .map(|n| newest.stack(&mut scope, n).expect("a result"))
                    .collect::<Vec<_>>();
                record.leave(End::Return, flatten(&results));
            }
        }
        record.thrown = false;
        assert_eq!(record.stack.len(), depth, "frames at a stop");
        let newest = record.stack.last_mut().expect("a function is open");
        assert_eq!(newest.0, function, "the function at a stop");
        newest.1 = pc;
    }
}
