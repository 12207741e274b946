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
mod builder;
mod cause;
mod choice;
mod component;
mod current;
mod definition;
mod events;
mod frame_buffer;
mod frames;
mod guard;
mod guarded;
mod hooks;
mod listened;
mod module;
mod open_calls;
mod outer;
mod own_memory;
mod probe;
mod quick_site;
mod reach;
mod scope;
mod shared;
mod shared_memory;
mod site;
mod spilled;
mod store_calls;
mod suspended;
mod switches;

pub use builder::ListeningBuilder;
pub use component::ListenedComponent;
pub use events::{Batch, EventStream, EventStreamBuilder, Streamed, StreamedComponent, Taken};
pub use listened::Listened;

use crate::Error;
use crate::guest::Compiled;
use binary::Binary;
use module::{ListenedModule, Parts};
use shared::Shared;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use wasmscope_address::ModuleIndex;
use wasmscope_instrument::{Exceptions, Options};
use wasmscope_listen::{Definition, Factory};
use wasmtime::{Engine, Inlining, Linker, Module};

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
///   [`Cause::Unknown`](wasmscope_listen::Cause::Unknown);
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
            component_globals: false,
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
    /// [`Error::GuestDebug`], [`Error::Interpreted`] and [`Error::Inlining`] when it was
    /// configured so.
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
            // Those of a module by itself are exported.
            shown_globals: Vec::new(),
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
}

/// Says no to engines whose code or frames cannot be found.
fn can_be_heard(engine: &Engine, guest: impl FnOnce() -> String) -> Result<(), Error> {
    if engine.get_guest_debug() {
        return Err(Error::GuestDebug { guest: guest() });
    }
    if engine.is_pulley() {
        return Err(Error::Interpreted { guest: guest() });
    }
    match engine.get_compiler_inlining() {
        // What the engine has intrinsics for is not a function of a guest.
        Inlining::No | Inlining::Intrinsics => Ok(()),
        inlining @ (Inlining::Yes | Inlining::InterModule | Inlining::InterModuleAndIntraGc) => {
            Err(Error::Inlining {
                guest: guest(),
                inlining,
            })
        }
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").finish_non_exhaustive()
    }
}
