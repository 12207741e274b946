//! Listeners on the calls of guests: rewritten modules, and what they call.
//!
//! ```text
//!   bytes --rewrite--> module --Linker--> instance      a call in the guest
//!                         |                  |            before  tail  unwind  after
//!                         v                  v              |       |     |       |
//!                  ListenedModule <----- Attached           v       v     v       v
//!                  names, offsets        probes, by      hooks: find the store, settle
//!                                        the factory     its open calls, call the listener
//! ```
//!
//! What a listener is, is said in `wasmscope-listen`; how a module is rewritten, in
//! `wasmscope-instrument`. Here the two meet the engine.

mod attach;
mod attached;
mod binary;
mod component;
mod current;
mod definition;
mod events;
mod frame_buffer;
mod frames;
mod guarded;
mod hooks;
mod module;
mod open_calls;
mod outer;
mod probe;
mod quick_site;
mod reach;
mod scope;
mod site;
mod spilled;
mod store_calls;
mod suspended;

pub use component::ListenedComponent;
pub use events::{Batch, EventStream, EventStreamBuilder, Streamed, Taken};

use crate::guest::{Bytes, Compiled, Origin};
use crate::{Error, Frame};
use attach::{attach, enter};
use binary::Binary;
use component::ComponentModules;
use module::{ListenedModule, Parts};
use scope::Scope;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use wasmscope_address::ModuleIndex;
use wasmscope_instrument::{Exceptions, Options};
use wasmscope_listen::{Cause, Definition, Factory};
use wasmtime::{AsContextMut, CallHook, Engine, Instance, Linker, Module, Trap, WasmBacktrace};

/// Listens to the calls of guests.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use wasmscope::Listening;
/// use wasmscope::listen::{BoxListener, Call, Definition};
/// use wasmtime::{Engine, Linker, Store};
///
/// // What shall happen at each call, and for which functions.
/// let calls = Arc::new(AtomicU64::new(0));
/// let counted = Arc::clone(&calls);
/// let count = BoxListener::new(move |_: &Call<'_>| {
///     counted.fetch_add(1, Ordering::Relaxed);
/// });
/// let listening = Listening::new(move |function: &Definition| {
///     (function.name.as_deref() == Some("fib")).then(|| count.clone())
/// });
///
/// // What any embedder has, but that the module is compiled by `listening`.
/// let engine = Engine::default();
/// let bytes = wat::parse_str("(module (func $fib (export \"fib\") (param i32) (result i32)
///     (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
///         (then (local.get 0))
///         (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
///                        (call $fib (i32.sub (local.get 0) (i32.const 2))))))))")?;
/// let guest = listening.compile(&engine, bytes)?;
/// let mut linker = Linker::new(&engine);
/// listening.add_to_linker(&mut linker)?;
/// let mut store = Store::new(&engine, ());
/// let instance = linker.instantiate(&mut store, guest.module())?;
/// let fib = instance.get_typed_func::<u32, u32>(&mut store, "fib")?;
///
/// assert_eq!(listening.guard(&mut store, |store| fib.call(store, 10))?, 55);
/// assert_eq!(calls.load(Ordering::Relaxed), 177);
/// # Ok(()) }
/// ```
///
/// # When closes arrive
///
/// Each call that was opened is closed exactly once, innermost first. A function that
/// returns, makes a tail call, or is left by an exception that its module handles says so
/// at that moment. A trap or an error says nothing on its way out, so those closes arrive
///
/// - with [`guard`](Self::guard) and [`guard_async`](Self::guard_async) before they
///   return, with the real error;
/// - with [guarded exports](ListeningBuilder::guarded_exports), in synchronous stores,
///   before the embedder's call returns, with the real error;
/// - with [`call_hook`](Self::call_hook) before the engine returns to the embedder, with
///   [`Cause::Unknown`];
/// - otherwise at the next event of the store that shows that the frames are gone, at the
///   latest when the store is dropped.
///
/// In the last two a call's frame is gone when it closes, as it is with a scope: its
/// parameters and parents are there, its stack is empty.
///
/// Without a scope or a hook an event tells little of other stacks than its own. What a
/// dropped future, or a trap on a fiber, left open is closed when the engine runs the next
/// guest on the same fiber, which it does unless fibers nest; and what fails in a guest that
/// the host entered from a continuation, when the stack below that continuation goes on.
///
/// # Cost
///
/// A function that is not listened to is not touched. A probe is two calls of the host;
/// they use fuel and stack of the guest, about as two imported functions would.
#[derive(Clone)]
pub struct Listening {
    shared: Arc<Shared>,
}

/// Tells the status of an error that is the guest's own exit.
type ExitStatus = dyn Fn(&wasmtime::Error) -> Option<i32> + Send + Sync;

/// What hooks, modules and instances of one [`Listening`] share.
struct Shared {
    /// Ends every reserved name, so that no guest can import it.
    suffix: Arc<str>,
    factory: Arc<dyn Factory>,
    exceptions: Exceptions,
    switches: bool,
    guarded_exports: bool,
    exit_status: Box<ExitStatus>,
    next_key: AtomicU64,
    modules: Mutex<HashMap<u64, Weak<ListenedModule>>>,
    components: Mutex<HashMap<u64, Weak<ComponentModules>>>,
    component_memory: bool,
}

impl Shared {
    fn component(&self, key: u64) -> Option<Arc<ComponentModules>> {
        self.components().get(&key)?.upgrade()
    }

    fn components(&self) -> MutexGuard<'_, HashMap<u64, Weak<ComponentModules>>> {
        self.components
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn module(&self, key: u64) -> Option<Arc<ListenedModule>> {
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.get(&key)?.upgrade()
    }
}

/// Settings of a [`Listening`].
pub struct ListeningBuilder {
    factory: Arc<dyn Factory>,
    exceptions: Exceptions,
    switches: bool,
    guarded_exports: bool,
    exit_status: Box<ExitStatus>,
    component_memory: bool,
}

impl ListeningBuilder {
    /// Lets listeners read the first memory of instances within components. Each event then
    /// costs a second call of the host. Off by default.
    ///
    /// Instances of core modules can always be read.
    #[must_use]
    pub fn component_memory(mut self, component_memory: bool) -> Self {
        self.component_memory = component_memory;
        self
    }

    /// Makes listeners that can be turned off and on while guests run. A probe that is off
    /// costs a load and a branch. Off by default.
    #[must_use]
    pub fn switches(mut self, switches: bool) -> Self {
        self.switches = switches;
        self
    }

    /// Makes the exports of listened modules enter by way of a host function, as if each
    /// call of one were within a [`Listening::guard`]. Off by default.
    ///
    /// The embedder's own calls need no change, and get the same results and errors.
    /// Calls from the host to the guest cost some tens of nanoseconds more, calls within the
    /// guest nothing. It differs from a module without it in this:
    ///
    /// - It is for synchronous stores: with `call_async` each call of such an export fails
    ///   with [`Error::GuardedOnFiber`].
    /// - An export is another function than what the guest's tables and references hold,
    ///   though of the same type. It is guarded wherever it is called from, another
    ///   instance that imports it included; calls through tables and references are not.
    /// - A backtrace of the engine shows two functions without a name for each such call.
    /// - Parameters go through the instance's globals, so neither the embedder's call hook
    ///   nor its epoch callback may call a guarded export of the instance that is being
    ///   entered.
    ///
    /// Functions that are shared between threads, exports of imports, and modules without
    /// any listener are left as they are.
    #[must_use]
    pub fn guarded_exports(mut self, guarded: bool) -> Self {
        self.guarded_exports = guarded;
        self
    }

    /// Sets in which modules functions report the exceptions that leave them at once. By
    /// default in those that know of exceptions themselves; elsewhere such a close arrives
    /// with the next event.
    #[must_use]
    pub fn exceptions(mut self, exceptions: Exceptions) -> Self {
        self.exceptions = exceptions;
        self
    }

    /// Sets how to tell that an error is the guest's own exit, and its status. With
    /// wasmtime's WASI that is `|e| e.downcast_ref::<wasmtime_wasi::I32Exit>().map(|e| e.0)`.
    /// Without it such a close has the cause [`Cause::HostError`].
    #[must_use]
    pub fn exit_status(
        mut self,
        status: impl Fn(&wasmtime::Error) -> Option<i32> + Send + Sync + 'static,
    ) -> Self {
        self.exit_status = Box::new(status);
        self
    }

    /// Makes it.
    #[must_use]
    pub fn build(self) -> Listening {
        // Keyed by the process's random numbers: a guest cannot guess the names.
        let random = || RandomState::new().hash_one(0_u8);
        Listening {
            shared: Arc::new(Shared {
                suffix: format!(":{:016x}{:016x}", random(), random()).into(),
                factory: self.factory,
                exceptions: self.exceptions,
                switches: self.switches,
                guarded_exports: self.guarded_exports,
                exit_status: self.exit_status,
                next_key: AtomicU64::new(0),
                modules: Mutex::default(),
                components: Mutex::default(),
                component_memory: self.component_memory,
            }),
        }
    }
}

impl fmt::Debug for ListeningBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListeningBuilder")
            .field("exceptions", &self.exceptions)
            .field("switches", &self.switches)
            .field("guarded_exports", &self.guarded_exports)
            .finish_non_exhaustive()
    }
}

impl Listening {
    /// Listens to the functions that a factory gives a listener for.
    #[must_use]
    pub fn new(factory: impl Factory + 'static) -> Self {
        Self::builder(factory).build()
    }

    /// Begins with settings.
    pub fn builder(factory: impl Factory + 'static) -> ListeningBuilder {
        ListeningBuilder {
            factory: Arc::new(factory),
            exceptions: Exceptions::default(),
            switches: false,
            guarded_exports: false,
            exit_status: Box::new(|_| None),
            component_memory: false,
        }
    }

    /// Rewrites a module so that the functions that the factory gives a listener for have
    /// probes, and compiles it.
    ///
    /// `bytes` is a core module in its binary form. They are kept, for source lines.
    ///
    /// # Errors
    ///
    /// [`Error::Instrument`] when the bytes are not a module, or use reserved names;
    /// [`Error::Engine`] when the engine does not compile the result;
    /// [`Error::GuestDebug`] and [`Error::Interpreted`] when it was configured so.
    pub fn compile(
        &self,
        engine: &Engine,
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
    ) -> Result<Listened, Error> {
        self.compile_probed(engine, bytes, |function| {
            self.shared.factory.listener(function).is_some()
        })
    }

    /// As [`compile`](Self::compile), with probes in the functions that `probed` says,
    /// for [factories of instances](Self::instantiate) that choose others.
    ///
    /// # Errors
    ///
    /// As [`compile`](Self::compile).
    pub fn compile_probed(
        &self,
        engine: &Engine,
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
        probed: impl Fn(&Definition) -> bool + Sync,
    ) -> Result<Listened, Error> {
        let original = wasmscope_instrument::Module::parse(bytes.as_ref())?;
        let name = original.name().map(str::to_owned);
        can_be_heard(engine, || name.clone().unwrap_or_default())?;
        let definitions = definition::of(&original);
        let key = self.shared.next_key.fetch_add(1, Ordering::Relaxed);
        let options = Options {
            suffix: self.shared.suffix.to_string(),
            key,
            exceptions: self.shared.exceptions,
            switches: self.shared.switches,
            expose: true,
            guarded: self.shared.guarded_exports,
            ..Options::default()
        };
        let rewritten = original.rewrite(&options, &|function| {
            definitions
                .get(function.0 as usize)
                .is_some_and(|definition| probed(definition))
        })?;
        let compiled = Module::new(engine, &rewritten.wasm).map_err(Error::Engine)?;
        let parts = Parts {
            index: ModuleIndex(0),
            name,
            suffix: Arc::clone(&self.shared.suffix),
            memories: original.memories(),
            globals: original.globals(),
            definitions,
            probed: rewritten.probes,
            map: rewritten.map,
        };
        let binary = Binary::new(
            Compiled::Module(compiled.clone()),
            parts.name.as_deref(),
            Arc::new(bytes),
        )?;
        let functions = binary.functions();
        let module = ListenedModule::new(&Arc::new(binary), &functions, parts)?;
        let mut modules = self
            .shared
            .modules
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        modules.retain(|_, module| module.strong_count() > 0);
        modules.insert(key, Arc::downgrade(&module));
        Ok(Listened { compiled, module })
    }

    /// Defines what rewritten modules import.
    ///
    /// # Errors
    ///
    /// When the linker has it already.
    pub fn add_to_linker<T: 'static>(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        hooks::define(&self.shared, linker)
    }

    /// Runs a guest; when it is done every call that was opened meanwhile is closed, with
    /// the error that `run` returns as the cause.
    ///
    /// # Errors
    ///
    /// Those of `run`.
    ///
    /// # Panics
    ///
    /// When `run` does, or a listener while calls are closed: after all are.
    pub fn guard<S, R>(
        &self,
        store: &mut S,
        run: impl FnOnce(&mut S) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<R>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let scope = Scope::begin(store.as_context_mut());
        let result = run(store);
        self.end(scope, store, &result);
        result
    }

    /// As [`guard`](Self::guard), for guests that run on fibers. When the future is dropped
    /// before it is done the calls are closed with [`Cause::FutureDropped`].
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
        let scope = Scope::begin(store.as_context_mut());
        let result = run(store).await;
        self.end(scope, store, &result);
        result
    }

    fn end<S, R>(&self, scope: Scope, store: &mut S, result: &wasmtime::Result<R>)
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let cause = result.as_ref().err().map(|error| self.cause(error));
        scope.end(store.as_context_mut(), cause.as_ref());
    }

    /// Returns the stacks of a store's stack-switching continuations that wait to be resumed,
    /// in no order; of each the frames, newest first, with offsets and lines of the original.
    /// Those of continuations that were suspended together are one stack.
    ///
    /// A continuation is known while a call that is listened to is open on it.
    pub fn suspended<S>(&self, store: &mut S) -> Vec<Vec<Frame>>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let store = store.as_context_mut();
        current::with(store, |calls, _| calls.suspended()).unwrap_or_default()
    }

    /// Closes what a failed guest left open, told by the engine's call hook.
    ///
    /// To be called from the embedder's own hook, which stays its own:
    /// `store.call_hook(move |context, hook| { listening.call_hook(context, hook); Ok(()) })`.
    /// The engine's cargo feature `call-hook` makes every call of a host function dearer.
    pub fn call_hook<T: 'static>(&self, mut context: impl AsContextMut<Data = T>, hook: CallHook) {
        let mut context = context.as_context_mut();
        match hook {
            CallHook::CallingWasm => {
                enter(context.as_context_mut());
                current::with(context, |calls, reach| calls.enter_hooked(reach));
            }
            CallHook::ReturningFromWasm => {
                current::with(context, |calls, reach| calls.leave_hooked(reach));
            }
            CallHook::CallingHost | CallHook::ReturningFromHost => {}
        }
    }

    /// Instantiates a module whose listeners another factory chooses, among the functions
    /// that have probes.
    ///
    /// `instantiate` is what the embedder does to instantiate `module`, which includes
    /// running its start function.
    ///
    /// # Errors
    ///
    /// Those of `instantiate`.
    pub fn instantiate<S>(
        &self,
        store: &mut S,
        factory: impl Factory + 'static,
        instantiate: impl FnOnce(&mut S) -> wasmtime::Result<Instance>,
    ) -> wasmtime::Result<Instance>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let factory: Arc<dyn Factory> = Arc::new(factory);
        let outer = self.choose(store, Some(factory));
        let result = instantiate(store);
        self.attach_chosen(store, &result, outer);
        result
    }

    /// As [`instantiate`](Self::instantiate), for guests that run on fibers.
    ///
    /// # Errors
    ///
    /// Those of `instantiate`.
    pub async fn instantiate_async<S>(
        &self,
        store: &mut S,
        factory: impl Factory + 'static,
        instantiate: impl AsyncFnOnce(&mut S) -> wasmtime::Result<Instance>,
    ) -> wasmtime::Result<Instance>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let factory: Arc<dyn Factory> = Arc::new(factory);
        let outer = self.choose(store, Some(factory));
        let result = instantiate(store).await;
        self.attach_chosen(store, &result, outer);
        result
    }

    /// Sets who chooses for instances that are attached from now on, and returns who did.
    fn choose<S>(
        &self,
        store: &mut S,
        factory: Option<Arc<dyn Factory>>,
    ) -> Option<Arc<dyn Factory>>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        enter(store.as_context_mut());
        current::with(store.as_context_mut(), |calls, _| {
            std::mem::replace(&mut calls.factory, factory)
        })?
    }

    fn attach_chosen<S>(
        &self,
        store: &mut S,
        result: &wasmtime::Result<Instance>,
        outer: Option<Arc<dyn Factory>>,
    ) where
        S: AsContextMut,
        S::Data: 'static,
    {
        if let Ok(instance) = result {
            attach(&self.shared, &mut (*instance, store.as_context_mut()));
        }
        self.choose(store, outer);
    }

    /// Tells why a guest failed.
    fn cause<'e>(&self, error: &'e wasmtime::Error) -> Cause<'e> {
        if let Some(status) = (self.shared.exit_status)(error) {
            return Cause::Exit(status);
        }
        if error.is::<wasmtime::ThrownException>() {
            return Cause::Exception;
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => Cause::StackOverflow,
            Some(trap) => Cause::Trap(trap),
            None => Cause::HostError(host_error(error)),
        }
    }
}

/// Says no to engines whose code or frames cannot be found.
fn can_be_heard(engine: &Engine, guest: impl FnOnce() -> String) -> Result<(), Error> {
    if engine.get_guest_debug() {
        return Err(Error::GuestDebug { guest: guest() });
    }
    if engine.is_pulley() {
        return Err(Error::Interpreted { guest: guest() });
    }
    Ok(())
}

/// Returns what the host function returned, without the backtrace that the engine puts in
/// front of it.
fn host_error(error: &wasmtime::Error) -> &(dyn std::error::Error + 'static) {
    let backtrace = error
        .downcast_ref::<WasmBacktrace>()
        .map(ToString::to_string);
    let is_error = |part: &&(dyn std::error::Error + 'static)| Some(part.to_string()) != backtrace;
    error.chain().find(is_error).unwrap_or(error.as_ref())
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").finish_non_exhaustive()
    }
}

/// A module with probes, compiled.
///
/// Has to be kept as long as the module is instantiated; instances that exist keep what
/// they need.
#[derive(Clone, Debug)]
pub struct Listened {
    compiled: Module,
    module: Arc<ListenedModule>,
}

impl Listened {
    /// Returns the compiled module, to be instantiated as any other.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.compiled
    }

    /// Returns the original's bytes, and how to get to it.
    pub(crate) fn original(&self) -> (Arc<Bytes>, Option<Origin>) {
        (self.module.binary.bytes(), self.module.origin())
    }

    /// Visits the definitions of the functions that have a probe.
    pub fn probed(&self) -> impl ExactSizeIterator<Item = &Definition> {
        self.module.probed.iter().map(|definition| &**definition)
    }

    /// Switches listeners on (`Some(true)`) and off (`Some(false)`), in all instances that
    /// exist or will, of functions for which `wanted` says so.
    ///
    /// From any thread, while guests run. An instance obeys with its store's next event, or
    /// the next [`Listening::guard`]; with [`apply`](Self::apply) at once. Calls that are
    /// open are closed as ever.
    ///
    /// Does nothing unless the [`Listening`] was built with
    /// [`switches`](ListeningBuilder::switches).
    pub fn switch(&self, wanted: impl Fn(&Definition) -> Option<bool>) {
        self.module.want(wanted);
        current::ask_for_attention();
    }

    /// Makes the instances of one store obey [`switch`](Self::switch) now: for a host
    /// function, an epoch callback, or whoever holds the store.
    pub fn apply<T: 'static>(&self, mut store: impl AsContextMut<Data = T>) {
        current::with(store.as_context_mut(), |calls, reach| calls.switch(reach));
    }
}
