//! Streams of events: guests that keep what happened in a buffer of their own, and hand it
//! over when it is full.
//!
//! ```text
//!   guest                                     host
//!   probe: record, record, record, ...
//!   the buffer is full  ------- flush ----->  the sink, with a batch
//!   record, record, trap!
//!                                             drain: the sink, with the rest
//! ```
//!
//! What the guest does is described in `wasmscope_instrument::events`. Unlike a listener
//! nobody is asked at each call, so an event has neither values nor a stack, and costs
//! about as much as storing it.

mod batch;
mod buffer;
mod component;
mod store_events;

pub use batch::{Batch, Taken};
pub use component::StreamedComponent;

use super::definition;
use crate::Error;
use component::StreamedModules;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use store_events::Stores;
use wasmscope_instrument::events::Events;
use wasmscope_instrument::{Exceptions, Options};
use wasmscope_listen::Definition;
use wasmtime::{AsContextMut, Engine, Linker, Module};

/// Hears of the calls of guests many at a time, at about the price of storing a number.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::mpsc::sync_channel;
/// use wasmscope::listen::Definition;
/// use wasmscope::{Batch, EventKind, EventStream, Taken};
/// use wasmtime::{Engine, Linker, Store};
///
/// // Which functions, and where their events go: here to whoever reads the channel.
/// let (sender, receiver) = sync_channel(16);
/// let wanted = |function: &Definition| function.name.is_some();
/// let stream = EventStream::new(wanted, move |batch: &Batch<'_>| {
///     // Nobody waits for a slow reader: what has no room is counted as lost.
///     match sender.try_send(batch.events().collect::<Vec<_>>()) {
///         Ok(()) => Taken::All,
///         Err(_) => Taken::First(0),
///     }
/// });
///
/// // What any embedder has, but that the module is compiled by `stream`.
/// let engine = Engine::default();
/// let bytes = wat::parse_str("(module (func $fib (export \"fib\") (param i32) (result i32)
///     (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
///         (then (local.get 0))
///         (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
///                        (call $fib (i32.sub (local.get 0) (i32.const 2))))))))")?;
/// let guest = stream.compile(&engine, bytes)?;
/// let mut linker = Linker::new(&engine);
/// stream.add_to_linker(&mut linker)?;
/// let mut store = Store::new(&engine, ());
/// let instance = linker.instantiate(&mut store, guest.module())?;
/// let fib = instance.get_typed_func::<u32, u32>(&mut store, "fib")?;
///
/// assert_eq!(stream.guard(&mut store, |store| fib.call(store, 10))?, 55);
/// let events: Vec<_> = receiver.try_iter().flatten().collect();
/// let opened = events.iter().filter(|event| event.kind == EventKind::Open);
/// assert_eq!((opened.count(), events.len(), stream.lost()), (177, 354, 0));
/// # Ok(()) }
/// ```
///
/// # Order
///
/// The events of one instance arrive in their order. Those of several instances, also of
/// one store, arrive in batches whose order says nothing.
///
/// A call that a trap ends has no close: the next event of the stack below it tells.
///
/// # What is lost
///
/// - What the sink does not take. Each [`Batch`] says how much was lost ahead of it, and
///   [`lost`](EventStream::lost) how much altogether.
/// - What is in the buffers of a store when the store is dropped, at most one buffer for
///   each instance. That cannot be counted; [`guard`](EventStream::guard) leaves nothing
///   there, whether the guest returns or traps.
/// - The one event that fills a buffer, when the guest is ended on its way to hand that over:
///   by a call hook that fails, or in components for want of fuel or by an epoch's deadline.
///   It is not counted.
///
/// # What it needs
///
/// One memory more in each module. The pooling allocator has room for one in all, unless
/// `PoolingAllocationConfig::max_memories_per_module` says otherwise; see
/// [`Error::OwnMemory`].
#[derive(Clone)]
pub struct EventStream {
    shared: Arc<Shared>,
}

/// Takes batches.
type Sink = dyn FnMut(&Batch<'_>) -> Taken + Send;

/// What the modules and instances of one stream share.
struct Shared {
    /// Ends every reserved name, so that no guest can import it.
    suffix: String,
    wanted: Box<dyn Fn(&Definition) -> bool + Send + Sync>,
    sink: Mutex<Box<Sink>>,
    exceptions: Exceptions,
    events: Events,
    lost: AtomicU64,
    next_key: AtomicU64,
    modules: Mutex<HashMap<u64, Weak<StreamedModule>>>,
    components: Mutex<HashMap<u64, Weak<StreamedModules>>>,
    stores: Stores,
}

/// Settings of an [`EventStream`].
pub struct EventStreamBuilder {
    wanted: Box<dyn Fn(&Definition) -> bool + Send + Sync>,
    sink: Box<Sink>,
    exceptions: Exceptions,
    events: Events,
}

impl EventStreamBuilder {
    /// Sets the size of each instance's buffer in pages of 64 KiB, which hold 8,192 events
    /// each. By default 16, one mebibyte.
    #[must_use]
    pub fn pages(mut self, pages: NonZeroU16) -> Self {
        self.events = Events { pages };
        self
    }

    /// Sets in which modules functions tell of exceptions that leave them. By default in
    /// those that know of exceptions themselves.
    #[must_use]
    pub fn exceptions(mut self, exceptions: Exceptions) -> Self {
        self.exceptions = exceptions;
        self
    }

    /// Makes it.
    #[must_use]
    pub fn build(self) -> EventStream {
        // Keyed by the process's random numbers: a guest cannot guess the names.
        let random = || RandomState::new().hash_one(0_u8);
        EventStream {
            shared: Arc::new(Shared {
                suffix: format!(":{:016x}{:016x}", random(), random()),
                wanted: self.wanted,
                sink: Mutex::new(self.sink),
                exceptions: self.exceptions,
                events: self.events,
                lost: AtomicU64::new(0),
                // Nor what its hooks know a module by.
                next_key: AtomicU64::new(random()),
                modules: Mutex::default(),
                components: Mutex::default(),
                stores: Stores::default(),
            }),
        }
    }
}

impl fmt::Debug for EventStreamBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStreamBuilder")
            .field("exceptions", &self.exceptions)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

impl EventStream {
    /// Streams the events of the functions that `wanted` says to `sink`.
    ///
    /// The sink runs on the thread that runs the guest, one at a time for all stores: it
    /// may not run guests or drain stores of this stream.
    #[must_use]
    pub fn new(
        wanted: impl Fn(&Definition) -> bool + Send + Sync + 'static,
        sink: impl FnMut(&Batch<'_>) -> Taken + Send + 'static,
    ) -> Self {
        Self::builder(wanted, sink).build()
    }

    /// Begins with settings; what is given is said at [`new`](Self::new).
    pub fn builder(
        wanted: impl Fn(&Definition) -> bool + Send + Sync + 'static,
        sink: impl FnMut(&Batch<'_>) -> Taken + Send + 'static,
    ) -> EventStreamBuilder {
        EventStreamBuilder {
            wanted: Box::new(wanted),
            sink: Box::new(sink),
            exceptions: Exceptions::default(),
            events: Events::default(),
        }
    }

    /// Rewrites a module so that the functions that are wanted keep their events, and
    /// compiles it.
    ///
    /// `bytes` is a core module in its binary form.
    ///
    /// # Errors
    ///
    /// [`Error::Instrument`] when the bytes are not a module, or use reserved names;
    /// [`Error::OwnMemory`] when the engine has no room for the buffer;
    /// [`Error::Engine`] when it does not compile the result for other reasons.
    pub fn compile(&self, engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Streamed, Error> {
        let shared = &*self.shared;
        let original = wasmscope_instrument::Module::parse(bytes.as_ref())?;
        let definitions = definition::of(&original);
        let key = shared.next_key.fetch_add(1, Ordering::Relaxed);
        let options = shared.options(key);
        let rewritten = original.rewrite(&options, &|function| {
            definitions
                .get(function.0 as usize)
                .is_some_and(|definition| (shared.wanted)(definition))
        })?;
        let compiled = Module::new(engine, &rewritten.wasm).map_err(|source| {
            // Valid, and the engine takes the original: only the memory can be too much.
            if Module::validate(engine, &rewritten.wasm).is_ok()
                && Module::new(engine, bytes.as_ref()).is_ok()
            {
                Error::OwnMemory(source)
            } else {
                Error::Engine(source)
            }
        })?;
        let probed = rewritten
            .probes
            .iter()
            .filter_map(|function| definitions.get(function.0 as usize));
        let module = Arc::new(StreamedModule {
            compiled,
            probed: probed.cloned().collect(),
        });
        let mut modules = shared
            .modules
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        modules.retain(|_, module| module.strong_count() > 0);
        modules.insert(key, Arc::downgrade(&module));
        Ok(Streamed { module })
    }

    /// Defines what rewritten modules import.
    ///
    /// # Errors
    ///
    /// When the linker has it already.
    pub fn add_to_linker<T: 'static>(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        store_events::define(&self.shared, linker)
    }

    /// Hands what the instances of a store have in their buffers to the sink, and what is
    /// yet to be told of losses.
    ///
    /// May be called whenever the store is at hand, by its call hook and its epoch callback
    /// too. They may come as a guest is about to hand over a full buffer: then the last event
    /// in it follows in a batch of its own. Where the engine forbids a component to call its
    /// host, all of such a buffer is counted as lost, though it was drained. A hook or callback
    /// that runs a guest there as well may lose events of its instance that are not counted.
    pub fn drain<T: 'static>(&self, mut store: impl AsContextMut<Data = T>) {
        store_events::drain(&self.shared, store.as_context_mut());
    }

    /// Runs a guest and [drains](Self::drain) its store after, however the guest ended.
    ///
    /// # Errors
    ///
    /// Those of `run`.
    ///
    /// # Panics
    ///
    /// When `run` or the sink does.
    pub fn guard<S, R>(
        &self,
        store: &mut S,
        run: impl FnOnce(&mut S) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<R>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let draining = Draining {
            stream: self,
            store,
        };
        run(draining.store)
    }

    /// As [`guard`](Self::guard), for guests that run on fibers. Drains as well when the
    /// future is dropped before it is done.
    ///
    /// # Errors
    ///
    /// Those of `run`.
    pub async fn guard_async<S, R>(
        &self,
        store: &mut S,
        run: impl AsyncFnOnce(&mut S) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<R>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let draining = Draining {
            stream: self,
            store,
        };
        run(draining.store).await
    }

    /// Returns how many events the sink did not take, of all stores so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Returns how a guest is rewritten that is known by this key.
    fn options(&self, key: u64) -> Options {
        Options {
            suffix: self.suffix.clone(),
            key,
            events: Some(self.events),
            exceptions: self.exceptions,
            ..Options::default()
        }
    }

    fn module(&self, key: u64) -> Option<Arc<StreamedModule>> {
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.get(&key)?.upgrade()
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("events", &self.shared.events)
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}

/// Drains a store at its end.
struct Draining<'a, S>
where
    S: AsContextMut,
    S::Data: 'static,
{
    stream: &'a EventStream,
    store: &'a mut S,
}

impl<S> Drop for Draining<'_, S>
where
    S: AsContextMut,
    S::Data: 'static,
{
    fn drop(&mut self) {
        self.stream.drain(self.store.as_context_mut());
    }
}

/// A module whose functions keep events, compiled.
///
/// Has to be kept as long as the module is instantiated; instances that had an event keep
/// what they need. The events of others are counted as lost.
#[derive(Clone, Debug)]
pub struct Streamed {
    module: Arc<StreamedModule>,
}

#[derive(Debug)]
struct StreamedModule {
    compiled: Module,
    /// The function of each probe.
    probed: Arc<[Arc<Definition>]>,
}

impl Streamed {
    /// Returns the compiled module, to be instantiated as any other.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.module.compiled
    }

    /// Returns the functions whose events are kept, by the number that events have.
    #[must_use]
    pub fn probed(&self) -> &[Arc<Definition>] {
        &self.module.probed
    }
}
