//! The engine, and the guest compiled on it.

use crate::guest_file::{GuestFile, Kind};
use crate::settings::Settings;
use anyhow::{Result, anyhow};
use wasmscope::Guest;
use wasmtime::component::Component;
use wasmtime::{Config, Engine, Module};

/// The stack that a guest has unless `-W max-wasm-stack` says otherwise; the
/// engine's own default.
const WASM_STACK: usize = 512 << 10;
/// What the host's functions need on top, with room to spare.
const HOST_STACK: usize = 8 << 20;

/// A guest that is ready to run.
#[derive(Clone)]
pub(crate) enum Compiled {
    Module(Module),
    Component(Component),
}

impl Compiled {
    /// Compiles a guest.
    ///
    /// # Errors
    ///
    /// Names the guest, and the byte where it is malformed.
    pub(crate) fn new(file: &GuestFile, settings: &Settings) -> Result<Self> {
        Self::with(file, settings, |_| {})
    }

    /// Compiles a guest, on an engine that is configured further.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub(crate) fn with(
        file: &GuestFile,
        settings: &Settings,
        configure: impl FnOnce(&mut Config),
    ) -> Result<Self> {
        let engine = engine(settings, configure)?;
        let compiled = match file.kind {
            Kind::Module => Module::new(&engine, &file.bytes).map(Self::Module),
            Kind::Component => Component::new(&engine, &file.bytes).map(Self::Component),
        };
        compiled.map_err(|error| {
            anyhow!(
                "{}: this guest cannot be compiled: {}",
                file.name,
                chain(&error)
            )
        })
    }

    /// Returns the engine that it was compiled on.
    pub(crate) fn engine(&self) -> &Engine {
        match self {
            Self::Module(module) => module.engine(),
            Self::Component(component) => component.engine(),
        }
    }

    /// Describes it to who names its functions, with the DWARF of a second binary if there is
    /// one.
    pub(crate) fn guest(&self, file: &GuestFile) -> Guest {
        let guest = match self {
            Self::Module(module) => Guest::module(&*file.name, module),
            Self::Component(component) => Guest::component(&*file.name, component),
        };
        let guest = guest.bytes(file.bytes.clone());
        match &file.debug {
            Some(debug) => guest.debug_bytes(debug.clone()),
            None => guest,
        }
    }
}

/// Makes the engine.
///
/// # Errors
///
/// When it refuses the settings.
pub(crate) fn new(settings: &Settings) -> Result<Engine> {
    engine(settings, |_| {})
}

fn engine(settings: &Settings, configure: impl FnOnce(&mut Config)) -> Result<Engine> {
    let mut config = Config::new();
    config.generate_address_map(true);
    config.consume_fuel(settings.fuel.is_some());
    if let Some(stack) = settings.max_wasm_stack {
        config.max_wasm_stack(stack);
        // Fibers are not used here, but the engine checks that they would fit.
        config.async_stack_size(stack.saturating_add(HOST_STACK));
    }
    settings.configure(&mut config);
    configure(&mut config);
    Engine::new(&config).map_err(|error| anyhow!("the engine refuses these settings: {error:#}"))
}

/// Returns the size of the stack that a thread needs to run a guest.
pub(crate) fn thread_stack(settings: &Settings) -> usize {
    let wasm = settings.max_wasm_stack.unwrap_or(WASM_STACK);
    wasm.saturating_add(HOST_STACK)
}

/// Writes an error of the engine and its causes on one line.
pub(crate) fn chain(error: &wasmtime::Error) -> String {
    format!("{error:#}")
}
