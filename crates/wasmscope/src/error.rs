//! What can go wrong between an embedder and its profile.

/// Why profiling could not begin, or a guest not be registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine was configured with `guest_debug`, which gives every store a copy
    /// of the code at an address that nobody can ask for.
    #[error(
        "register guest {guest:?}: its engine has Config::guest_debug on, which gives each store \
         its own copy of the code; profile with an engine that has it off"
    )]
    GuestDebug {
        /// The guest's name.
        guest: String,
    },
    /// The engine interprets: there are no native frames to sample.
    #[error(
        "register guest {guest:?}: its engine runs Pulley, whose frames a signal handler cannot \
         see; take samples with OnDemand from an epoch callback instead"
    )]
    Pulley {
        /// The guest's name.
        guest: String,
    },
    /// The engine interprets: calls cannot be told apart by their frames.
    #[error(
        "listen to guest {guest:?}: its engine runs Pulley, whose frames are not on the host's \
         stack; listen with an engine that compiles"
    )]
    Interpreted {
        /// The guest's name.
        guest: String,
    },
    /// The engine was configured with `compiler_inlining`: a call that it inlines has no frame,
    /// and would be taken for its caller's.
    #[error(
        "listen to guest {guest:?}: its engine has Config::compiler_inlining on ({inlining}), which \
         leaves calls without frames to be told apart by; listen with an engine that has it off, or \
         keep events with EventStream"
    )]
    Inlining {
        /// The guest's name.
        guest: String,
        /// What the setting is.
        inlining: wasmtime::Inlining,
    },
    /// What was given as the guest's bytes is not a Wasm binary.
    #[error(
        "register guest {guest:?}: its bytes do not begin as a Wasm binary does; give the binary \
         that was compiled, not its text form"
    )]
    Bytes {
        /// The guest's name.
        guest: String,
    },
    /// The compiled code is larger than 4 GiB or lies at an impossible address.
    #[error("register guest {guest:?}: its compiled code has no usable address range")]
    Text {
        /// The guest's name.
        guest: String,
    },
    /// The same code is registered already, and may be shown in one of the two
    /// registrations only.
    #[error(
        "register guest {guest:?}: the same code is registered as {known:?}, and only one of the \
         two is hidden"
    )]
    Hidden {
        /// The guest's name.
        guest: String,
        /// The name that its code has already.
        known: String,
    },
    /// A [`Profiler`](crate::Profiler) cannot run on this platform.
    #[error(
        "start a profiler: its signals can be used on Linux and x86-64 only; take samples with \
         OnDemand from an epoch callback instead"
    )]
    Platform,
    /// A [`Walker`](crate::Walker) cannot walk on this platform.
    #[error("make a walker: stacks can be walked on Linux and x86-64 only")]
    WalkPlatform,
    /// The engine lays out the stacks of fibers in another way than is known.
    #[error("list fibers: the engine's stacks are not laid out as expected: {found}")]
    FiberLayout {
        /// What was found on a fiber of the library's own.
        found: &'static str,
    },
    /// An error carries no core dump.
    #[error(
        "take a core dump: the error carries none; the engine keeps one for errors of guests if \
         Config::coredump_on_trap is on"
    )]
    NoCoreDump,
    /// A store could not be dumped while it runs.
    #[error("dump a store that has not failed: {0}")]
    DumpNow(#[source] wasmtime::Error),
    /// A core dump could not be saved.
    #[error("{0}")]
    SaveDump(#[source] wasmscope_profile::Error),
    /// A module could not be rewritten.
    #[error("instrument: {0}")]
    Instrument(#[from] wasmscope_instrument::Error),
    /// The engine did not compile a module.
    #[error("compile: {0}")]
    Engine(#[source] wasmtime::Error),
    /// The engine has no room for the memory that a guest keeps its events in, or, within
    /// components, its switches.
    #[error(
        "compile: {0}; events, and switches within components, need one memory more in each module: raise \
         PoolingAllocationConfig::max_memories_per_module, and total_memories with it"
    )]
    OwnMemory(#[source] wasmtime::Error),
    /// A [`Listening`](crate::Listening) has a setting that components cannot have.
    #[error(
        "listen to a component: {setting} is for core modules, not for components; build that \
         Listening without it"
    )]
    ComponentSetting {
        /// The setting's name.
        setting: &'static str,
    },
    /// A store has no room for the one small instance by which its stacks are found.
    #[error(
        "listen to a component: {0}; one core instance more is needed in each store that listens: \
         raise the limiter's or the pool's number of instances by one"
    )]
    Anchor(#[source] wasmtime::Error),
    /// The engine keeps its stores in another way than the crate that describes it says.
    #[error("listen to a component: the engine's store is not laid out as expected")]
    Layout,
    /// A guarded export was called with `call_async`.
    #[error(
        "call a guarded export: it cannot be called on a fiber; guard asynchronous calls with \
         Listening::guard_async, and build that Listening without guarded_exports"
    )]
    GuardedOnFiber,
    /// A [`Watchdog`](crate::Watchdog) could not start its thread.
    #[error("start the watchdog's thread")]
    Watchdog(#[source] std::io::Error),
    /// The sampler said no.
    #[error("sample: {0}")]
    Sample(#[source] wasmscope_sample::Error),
}

impl From<wasmscope_sample::Error> for Error {
    fn from(error: wasmscope_sample::Error) -> Self {
        match error {
            wasmscope_sample::Error::Platform => Error::Platform,
            other => Error::Sample(other),
        }
    }
}
