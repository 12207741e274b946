//! Runs the guest on a thread of its own.
//!
//! The main thread stays free to hear of signals and time-outs: a guest that is
//! stuck in a host call cannot keep it from writing what was seen.

mod component;
mod core;
mod failures;
mod watch;

pub(crate) use failures::{Failures, Seen};
pub(crate) use watch::Watch;

use crate::engine::{self, Compiled};
use crate::exit;
use crate::limiter::Limiter;
use crate::plan::GuestPlan;
use crate::progress::Line;
use crate::wasi;
use anyhow::{Context, Result};
use std::sync::Arc;
use std::thread;
use wasmtime::{Engine, Store, Trap};
use wasmtime_wasi::I32Exit;

/// How the guest ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It returned, or exited with this status.
    Exited(i32),
    /// The engine stopped it, or it failed in another way.
    Failed(wasmtime::Error),
    /// It could not be started.
    NotRun(anyhow::Error),
}

impl Ending {
    fn of(result: wasmtime::Result<i32>) -> Self {
        match result {
            Ok(status) => Self::Exited(status),
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(exit) => Self::Exited(exit.0),
                None => Self::Failed(error),
            },
        }
    }

    /// Returns the program's exit status for it.
    pub(crate) fn status(&self) -> i32 {
        match self {
            Self::Exited(status) => *status,
            Self::Failed(error) if error.is::<Trap>() => exit::TRAP,
            Self::Failed(_) => exit::NOT_RUN,
            Self::NotRun(error) => exit::status_of(error),
        }
    }
}

/// What a store holds: the guest's WASI and its limits.
pub(crate) struct Host<W> {
    wasi: W,
    limiter: Limiter,
}

/// Starts the guest. `started` is called on its thread right before anything of the
/// guest runs, `done` when it has ended.
///
/// # Errors
///
/// What the context of WASI cannot have, and a thread that cannot be started.
pub(crate) fn start(
    plan: &GuestPlan,
    name: &str,
    compiled: &Compiled,
    watch: Watch,
    line: Option<Arc<Line>>,
    started: impl Fn() + Send + 'static,
    done: impl FnOnce(Ending) + Send + 'static,
) -> Result<()> {
    let mut wasi = wasi::context(plan, name, line)?;
    let call = Call {
        name: name.to_owned(),
        invoke: plan.invoke.clone(),
        arguments: plan.arguments.clone(),
        fuel: plan.settings.fuel,
        unknown_imports: plan.settings.unknown_imports,
        watch,
        started: Box::new(started),
    };
    let limiter = Limiter::new(plan.settings.limits.build(), call.watch.memory_track(name));
    let run: Box<dyn FnOnce() -> Ending + Send> = match compiled.clone() {
        Compiled::Module(module) => {
            let wasi = wasi.build_p1();
            Box::new(move || core::run(&call, &module, Host { wasi, limiter }))
        }
        Compiled::Component(component) => {
            let wasi = component::Wasi::new(wasi.build());
            Box::new(move || component::run(&call, &component, Host { wasi, limiter }))
        }
    };
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(engine::thread_stack(&plan.settings))
        .spawn(move || done(run()))
        .context("failed to start a thread for the guest")?;
    Ok(())
}

/// What is called, and who watches.
struct Call {
    name: String,
    invoke: Option<String>,
    arguments: Vec<String>,
    fuel: Option<u64>,
    unknown_imports: crate::settings::UnknownImports,
    watch: Watch,
    started: Box<dyn Fn() + Send>,
}

impl Call {
    /// Makes the guest's store, with limits, fuel and whoever watches it.
    fn store<W: Send + 'static>(
        &self,
        engine: &Engine,
        host: Host<W>,
    ) -> wasmtime::Result<Store<Host<W>>> {
        let mut store = Store::new(engine, host);
        store.limiter(|host| &mut host.limiter);
        if let Some(fuel) = self.fuel {
            store.set_fuel(fuel)?;
        }
        self.watch.store(&mut store);
        Ok(store)
    }

    /// Runs `guest` while it is watched.
    fn watched(&self, guest: impl FnOnce() -> Ending) -> Ending {
        self.watch.run(&*self.started, guest)
    }
}
