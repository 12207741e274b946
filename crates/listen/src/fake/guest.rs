//! Plays calls, and drives the listeners that a factory gave to the functions called.
//!
//! The stack of open calls is the only state:
//!
//! ```text
//!   call f  -> [f]      before f
//!   call g  -> [f g]    before g, whose parent is f
//!   tail h  -> [f h]    tail_call g, before h, whose parent is f
//!   return  -> [f]      after h
//! ```

use std::cell::OnceCell;
use std::fmt;

use wasmscope_address::{FuncIndex, HostPc};

use crate::boxed::BoxListener;
use crate::call::{Call, Site};
use crate::cause::Cause;
use crate::definition::Definition;
use crate::factory::Factory;
use crate::fake::FakeInstance;
use crate::frames::flatten;
use crate::instance::{Instance, InstanceId};
use crate::listener::Close;
use crate::parent::Parent;
use crate::slot::Slot;
use crate::stack::{Line, RawFrame, SourceOffset, StackSource};
use crate::task::TaskId;
use crate::value::Value;
use crate::values::Values;

/// How a played call ends: with results, or without.
pub type Ended = Result<Vec<Value>, Cause<'static>>;

/// Plays the calls of one guest on one execution stack.
///
/// ```
/// use wasmscope_listen::fake::Guest;
/// use wasmscope_listen::{Call, BoxListener, Cause, Definition, FuncIndex};
///
/// let f = Definition::guest(FuncIndex(0)).named("f");
/// let g = Definition::guest(FuncIndex(1)).named("g");
/// let depth = BoxListener::new(|call: &Call<'_>| call.parents().count());
///
/// let mut guest = Guest::new([f, g], &depth);
/// let ended = guest.call(FuncIndex(0), &[], |guest| {
///     guest.call(FuncIndex(1), &[], |_| Err(Cause::StackOverflow))
/// });
/// assert!(matches!(ended, Err(Cause::StackOverflow)));
/// ```
pub struct Guest {
    /// The instance that listeners read.
    pub instance: FakeInstance,
    /// Whether events are told later than they happened, as [`Call::is_deferred`] says.
    pub is_deferred: bool,
    /// The task that events are of.
    pub task: Option<TaskId>,
    functions: Vec<Function>,
    opens: Vec<Open>,
}

struct Function {
    definition: Definition,
    listener: Option<BoxListener>,
}

struct Open {
    /// Index into `functions`.
    function: usize,
    params: Vec<u64>,
    slot: Slot,
}

impl Guest {
    /// Makes a guest with these functions, and asks `factory` for a listener for each.
    #[must_use]
    pub fn new(functions: impl IntoIterator<Item = Definition>, factory: &dyn Factory) -> Self {
        let functions = functions.into_iter().map(|definition| Function {
            listener: factory.listener(&definition),
            definition,
        });
        Self {
            instance: FakeInstance::new(),
            is_deferred: false,
            task: None,
            functions: functions.collect(),
            opens: Vec::new(),
        }
    }

    /// Plays a call: opens it, plays `body`, and closes it with what `body` returned.
    ///
    /// # Panics
    ///
    /// Panics when no function was given with this index.
    pub fn call(
        &mut self,
        function: FuncIndex,
        params: &[Value],
        body: impl FnOnce(&mut Self) -> Ended,
    ) -> Ended {
        self.open(function, params);
        let ended = body(self);
        match &ended {
            Ok(results) => {
                let words = flatten(results);
                let types: Vec<_> = results.iter().map(|value| value.value_type()).collect();
                self.close(Close::Return(Values::new(&types, &words)));
            }
            Err(cause) => self.close(Close::Abort(cause)),
        }
        ended
    }

    /// Plays a tail call as the last thing of a body: the call whose body this is makes
    /// way for the one that it calls. The body returns what this returns.
    ///
    /// # Panics
    ///
    /// Panics when no function was given with this index, or no call is open.
    pub fn tail_call(
        &mut self,
        function: FuncIndex,
        params: &[Value],
        body: impl FnOnce(&mut Self) -> Ended,
    ) -> Ended {
        self.close(Close::TailCall);
        self.open(function, params);
        body(self)
    }

    fn open(&mut self, index: FuncIndex, params: &[Value]) {
        let function = self
            .functions
            .iter()
            .position(|function| function.definition.index == index)
            .expect("the function was given");
        self.opens.push(Open {
            function,
            params: flatten(params),
            slot: Slot::new(),
        });
        let mut slot = Slot::new();
        self.hear(|listener, call| listener.before(call, &mut slot));
        if let Some(open) = self.opens.last_mut() {
            open.slot = slot;
        }
    }

    fn close(&mut self, close: Close<'_>) {
        let open = self.opens.last_mut().expect("a call is open");
        let mut slot = std::mem::take(&mut open.slot);
        self.hear(|listener, call| match close {
            Close::Return(results) => listener.after(call, results, &mut slot),
            Close::TailCall => listener.tail_call(call, &mut slot),
            Close::Abort(cause) => listener.abort(call, cause, &mut slot),
        });
        self.opens.pop();
    }

    /// Lets the newest call's listener hear something, if it has one.
    fn hear(&self, event: impl FnOnce(&BoxListener, &Call<'_>)) {
        let Some((newest, _)) = self.opens.split_last() else {
            return;
        };
        let function = &self.functions[newest.function];
        if let Some(listener) = &function.listener {
            let site = GuestSite {
                guest: self,
                newest,
                definition: &function.definition,
                frames: OnceCell::new(),
            };
            event(listener, &Call::new(&site));
        }
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opens = self.opens.iter().rev();
        let names = opens.map(|open| self.functions[open.function].definition.debug_name());
        f.debug_list().entries(names).finish()
    }
}

/// A guest at the time of one event, with its stack once somebody has asked for it.
struct GuestSite<'g> {
    guest: &'g Guest,
    newest: &'g Open,
    definition: &'g Definition,
    frames: OnceCell<Vec<RawFrame>>,
}

impl GuestSite<'_> {
    /// Returns the open call that a frame's or a parent's key stands for.
    fn open(&self, key: u64) -> Option<(&Open, &Definition)> {
        let open = self.guest.opens.get(usize::try_from(key).ok()?)?;
        Some((open, &self.guest.functions[open.function].definition))
    }
}

impl Site for GuestSite<'_> {
    fn definition(&self) -> &Definition {
        self.definition
    }

    fn params(&self) -> &[u64] {
        &self.newest.params
    }

    fn instance(&self) -> &dyn Instance {
        &self.guest.instance
    }

    fn stack(&self) -> &dyn StackSource {
        self
    }

    fn parent(&self, of: Option<u64>) -> Option<Parent<'_>> {
        let newer = of.unwrap_or((self.guest.opens.len() as u64).saturating_sub(1));
        (0..newer).rev().find_map(|key| {
            let (open, definition) = self.open(key)?;
            (!open.slot.is_empty()).then(|| Parent::new(definition, &open.slot, key))
        })
    }

    fn is_deferred(&self) -> bool {
        self.guest.is_deferred
    }

    fn task(&self) -> Option<TaskId> {
        self.guest.task
    }
}

/// A frame's key is its place in the stack, its program counter the function's index.
impl StackSource for GuestSite<'_> {
    fn frames(&self) -> &[RawFrame] {
        self.frames.get_or_init(|| {
            let opens = (0..self.guest.opens.len() as u64).rev();
            opens
                .filter_map(|key| {
                    let pc = HostPc(u64::from(self.open(key)?.1.index.0));
                    Some(RawFrame { pc, key })
                })
                .collect()
        })
    }

    fn definition(&self, frame: RawFrame) -> Option<&Definition> {
        Some(self.open(frame.key)?.1)
    }

    fn source_offset(&self, _: RawFrame) -> Option<SourceOffset> {
        None
    }

    fn line(&self, _: RawFrame) -> Option<Line> {
        None
    }

    fn instance(&self, _: RawFrame) -> Option<InstanceId> {
        Some(self.guest.instance.id)
    }

    fn params(&self, frame: RawFrame) -> Option<Values<'_>> {
        let (open, definition) = self.open(frame.key)?;
        Some(Values::new(&definition.params, &open.params))
    }
}
