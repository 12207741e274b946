//! Measures where time goes: by function, and by calling context (the path of functions
//! that led to a call).
//!
//! Each open call keeps its start and the time of the calls within it, in its own state:
//!
//! ```text
//!   f |-----------------------|     total 24   self 24 - 8 - 4 = 12
//!   g      |-------|   |---|        total  8 and 4
//! ```
//!
//! When a call closes, however it closes, it adds its total to its parent's state. As the
//! parent is found on the call's own execution stack, no interleaving of threads, fibers
//! or continuations can put time into the wrong call.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::clock::{Clock, Monotonic};
use super::lock;
use crate::boxed::BoxListener;
use crate::call::Call;
use crate::cause::Cause;
use crate::definition::Definition;
use crate::factory::Factory;
use crate::listener::Listener;
use crate::values::Values;

/// Times calls.
///
/// A call's total is the time from open to close, including time in which its fiber or
/// future did not run. A call that tail-calls ends there; what it calls is its caller's.
#[derive(Clone)]
pub struct CallTimer(Arc<Shared>);

struct Shared {
    /// Tells this timer's states from another's.
    id: u32,
    clock: Box<dyn Clock>,
    max_contexts: usize,
    tree: Mutex<Tree>,
}

/// The calling contexts seen so far; a context's number is its index.
#[derive(Default)]
struct Tree {
    functions: Vec<Definition>,
    function_ids: HashMap<Definition, u32>,
    contexts: Vec<Context>,
    /// From a context (or [`ROOT`]) and a function called there, to the context of that.
    children: HashMap<(u32, u32), u32>,
    folded: u64,
}

/// Stands for no context: that of calls without a timed call around them.
const ROOT: u32 = u32::MAX;

/// Stands for all contexts past the limit.
const FOLDED: u32 = u32::MAX - 1;

#[derive(Clone, Copy)]
struct Context {
    parent: u32,
    function: u32,
    /// Whether the same function is also further up: then its total is there already.
    recursive: bool,
    calls: u64,
    own: u64,
    total: u64,
}

impl CallTimer {
    /// Times with the system's monotonic clock, in at most 100,000 calling contexts.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Monotonic::new(), 100_000)
    }

    /// Times with a clock, in at most `max_contexts` calling contexts, of about 100 bytes.
    ///
    /// Calls in further contexts, and calls within those, count as own time of the nearest
    /// call around them that is in one of the first; [`Times::folded`] says how many calls
    /// there were. What is said of the first contexts stays exact.
    #[must_use]
    pub fn with(clock: impl Clock, max_contexts: usize) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(Arc::new(Shared {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            clock: Box::new(clock),
            max_contexts: max_contexts.min(FOLDED as usize),
            tree: Mutex::default(),
        }))
    }

    /// Returns the times of all calls that have closed.
    #[must_use]
    pub fn times(&self) -> Times {
        let tree = lock(&self.0.tree);
        let mut functions: Vec<_> = tree
            .functions
            .iter()
            .cloned()
            .map(FunctionTime::new)
            .collect();
        for context in &tree.contexts {
            let time = &mut functions[context.function as usize];
            time.calls += context.calls;
            time.own += Duration::from_nanos(context.own);
            if !context.recursive {
                time.total += Duration::from_nanos(context.total);
            }
        }
        let contexts = tree.contexts.iter().map(|context| ContextTime {
            parent: (context.parent != ROOT).then_some(context.parent as usize),
            function: context.function as usize,
            calls: context.calls,
            own: Duration::from_nanos(context.own),
            total: Duration::from_nanos(context.total),
        });
        Times {
            contexts: contexts.collect(),
            functions,
            folded: tree.folded,
        }
    }
}

impl Tree {
    /// Returns the number of a function; of equal definitions there is one.
    fn function(&mut self, definition: &Definition) -> u32 {
        if let Some(id) = self.function_ids.get(definition) {
            return *id;
        }
        // A module has fewer than 2^32 functions, and so has what fits into memory.
        let id = self.functions.len() as u32;
        self.functions.push(definition.clone());
        self.function_ids.insert(definition.clone(), id);
        id
    }

    /// Returns the context of a function called in `parent`.
    fn child(&mut self, parent: u32, function: u32, max: usize) -> u32 {
        if let Some(context) = self.children.get(&(parent, function)) {
            return *context;
        }
        if self.contexts.len() >= max {
            // Stays so, and so no context is ever within a folded one.
            return FOLDED;
        }
        let mut above = self.contexts.get(parent as usize);
        let mut recursive = false;
        while let Some(context) = above.filter(|_| !recursive) {
            recursive = context.function == function;
            above = self.contexts.get(context.parent as usize);
        }
        let context = self.contexts.len() as u32;
        self.children.insert((parent, function), context);
        self.contexts.push(Context {
            parent,
            function,
            recursive,
            calls: 0,
            own: 0,
            total: 0,
        });
        context
    }
}

impl Factory for CallTimer {
    fn listener(&self, definition: &Definition) -> Option<BoxListener> {
        Some(BoxListener::new(Timed {
            function: lock(&self.0.tree).function(definition),
            shared: self.0.clone(),
        }))
    }
}

/// Times one function's calls.
struct Timed {
    shared: Arc<Shared>,
    function: u32,
}

/// An open call: three words, so that it needs no allocation.
struct Timing {
    /// The timer's id.
    timer: u32,
    /// Its context, or [`FOLDED`].
    context: u32,
    /// In nanoseconds.
    start: u64,
    /// Nanoseconds in calls within this one that have closed.
    within: Cell<u64>,
}

impl Timed {
    /// Finds the nearest open call of the same timer.
    fn parent<'a>(&self, call: &Call<'a>) -> Option<&'a Timing> {
        call.parents()
            .find_map(|parent| parent.find_state(|timing: &Timing| timing.timer == self.shared.id))
    }

    fn close(&self, call: &Call<'_>, timing: &Timing) {
        let total = self.shared.clock.now().saturating_sub(timing.start);
        let mut tree = lock(&self.shared.tree);
        let Some(context) = tree.contexts.get_mut(timing.context as usize) else {
            tree.folded += 1;
            return;
        };
        context.calls += 1;
        context.own += total.saturating_sub(timing.within.get());
        context.total += total;
        drop(tree);
        if let Some(parent) = self.parent(call) {
            parent.within.set(parent.within.get() + total);
        }
    }
}

impl Listener for Timed {
    type State = Timing;

    fn before(&self, call: &Call<'_>) -> Timing {
        let parent = self.parent(call).map_or(ROOT, |parent| parent.context);
        let mut tree = lock(&self.shared.tree);
        let context = tree.child(parent, self.function, self.shared.max_contexts);
        drop(tree);
        Timing {
            timer: self.shared.id,
            context,
            start: self.shared.clock.now(),
            within: Cell::new(0),
        }
    }

    fn after(&self, call: &Call<'_>, _: Values<'_>, timing: Timing) {
        self.close(call, &timing);
    }

    fn tail_call(&self, call: &Call<'_>, timing: Timing) {
        self.close(call, &timing);
    }

    fn abort(&self, call: &Call<'_>, _: &Cause<'_>, timing: Timing) {
        self.close(call, &timing);
    }
}

/// What a [`CallTimer`] has measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// Each function that has a listener, in the order in which the timer was asked.
    pub functions: Vec<FunctionTime>,
    /// Each calling context; a parent comes before its children.
    pub contexts: Vec<ContextTime>,
    /// How many calls were in contexts past the limit.
    pub folded: u64,
}

/// The times of one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionTime {
    /// The function.
    pub definition: Definition,
    /// How many calls closed.
    pub calls: u64,
    /// Time in the function itself and in what it calls that has no listener.
    pub own: Duration,
    /// Time from open to close; of calls within calls of the same function, the outermost.
    pub total: Duration,
}

impl FunctionTime {
    fn new(definition: Definition) -> Self {
        Self {
            definition,
            calls: 0,
            own: Duration::ZERO,
            total: Duration::ZERO,
        }
    }
}

/// The times of one function where it was called from one context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextTime {
    /// The context it was called in: an index into [`Times::contexts`], or `None` when no
    /// listened function was around it.
    pub parent: Option<usize>,
    /// The function: an index into [`Times::functions`].
    pub function: usize,
    /// How many calls closed.
    pub calls: u64,
    /// Time in the function itself and in what it calls that has no listener.
    pub own: Duration,
    /// Time from open to close.
    pub total: Duration,
}

impl Default for CallTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CallTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallTimer").finish_non_exhaustive()
    }
}
