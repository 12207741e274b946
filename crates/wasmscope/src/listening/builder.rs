//! Settings of a [`Listening`].

use super::Listening;
use super::shared::{ExitStatus, Shared};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use wasmscope_instrument::Exceptions;
use wasmscope_listen::Factory;

/// Settings of a [`Listening`].
pub struct ListeningBuilder {
    pub(super) factory: Arc<dyn Factory>,
    pub(super) exceptions: Exceptions,
    pub(super) switches: bool,
    pub(super) guarded_exports: bool,
    pub(super) exit_status: Box<ExitStatus>,
    pub(super) component_memory: bool,
    pub(super) component_globals: bool,
}

impl ListeningBuilder {
    /// Lets listeners read the memories of instances within components. Each event then
    /// costs a second call of the host, and one more for each memory that is not the first.
    /// Off by default.
    ///
    /// Not those that are shared or of 64 bits, which the engine hands to no host. Instances
    /// of core modules can always be read.
    #[must_use]
    pub fn component_memory(mut self, component_memory: bool) -> Self {
        self.component_memory = component_memory;
        self
    }

    /// Lets listeners read the globals of instances within components. Each event then costs
    /// two calls of the host more, and as long as it takes to copy their values. Off by
    /// default.
    ///
    /// Not those that are shared, or of references to types that the module defines itself.
    /// Globals of core modules that are not in components can always be read.
    #[must_use]
    pub fn component_globals(mut self, component_globals: bool) -> Self {
        self.component_globals = component_globals;
        self
    }

    /// Makes listeners that can be turned off and on while guests run. A probe that is off
    /// costs a load and a branch. Off by default.
    ///
    /// Within components they are in a memory more of each module, for which the pooling
    /// allocator may have no room; see [`Error::OwnMemory`](crate::Error::OwnMemory).
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
    ///   with [`Error::GuardedOnFiber`](crate::Error::GuardedOnFiber).
    /// - An export is another function than what the guest's tables and references hold,
    ///   though of the same type. It is guarded wherever it is called from, another
    ///   instance that imports it included; calls through tables and references are not.
    /// - A backtrace of the engine shows two functions without a name for each such call.
    /// - Parameters go through the instance's globals, so neither the embedder's call hook
    ///   nor its epoch callback may call a guarded export of the instance that is being
    ///   entered.
    ///
    /// Functions that are shared between threads, exports of imports, and modules without
    /// any listener are left as they are. Components cannot have it: the guard would have to
    /// call back into the component instance that called it, which the engine forbids.
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
    /// Without it such a close has the cause [`Cause::HostError`](wasmscope_listen::Cause::HostError).
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
                // Nor what its hooks know a module by.
                next_key: AtomicU64::new(random()),
                modules: Mutex::default(),
                components: Mutex::default(),
                component_memory: self.component_memory,
                component_globals: self.component_globals,
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
