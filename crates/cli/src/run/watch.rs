//! Who watches a guest while it runs: the profiler, or listeners.

use super::{Ending, Failures};
use std::time::Duration;
use wasmscope::{Listening, MemoryTrack, Profiler};
use wasmtime::{Linker, Store, component};

/// Who watches.
#[derive(Clone, Debug)]
pub(crate) enum Watch {
    /// The profiler, to which the guest's code is known.
    Profiler {
        profiler: Profiler,
        /// From how long on a host call is a marker.
        host_calls: Option<Duration>,
    },
    /// Listeners, by whom the guest was compiled.
    Listening(Listening),
    /// Who wants to know where the guest fails.
    Failures(Failures),
}

impl Watch {
    /// Returns what records how memory grows, if somebody asks for it.
    pub(super) fn memory_track(&self, name: &str) -> Option<MemoryTrack> {
        match self {
            Self::Profiler { profiler, .. } => Some(profiler.memory_track(name)),
            Self::Listening(_) | Self::Failures(_) => None,
        }
    }

    /// Prepares a store.
    pub(super) fn store<T: 'static>(&self, store: &mut Store<T>) {
        match self {
            Self::Profiler {
                profiler,
                host_calls: Some(threshold),
            } => {
                let mut calls = profiler.host_calls(*threshold);
                store.call_hook(move |_context, kind| {
                    calls.hook(kind);
                    Ok(())
                });
            }
            Self::Failures(failures) => failures.store(store),
            Self::Profiler { .. } | Self::Listening(_) => {}
        }
    }

    /// Defines what the guest imports to be watched.
    pub(super) fn link<T: 'static>(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        match self {
            Self::Profiler { .. } | Self::Failures(_) => Ok(()),
            Self::Listening(listening) => listening.add_to_linker(linker),
        }
    }

    /// As [`Self::link`], for components.
    pub(super) fn link_component<T: 'static>(
        &self,
        linker: &mut component::Linker<T>,
    ) -> wasmtime::Result<()> {
        match self {
            Self::Profiler { .. } | Self::Failures(_) => Ok(()),
            Self::Listening(listening) => listening.add_to_component_linker(linker),
        }
    }

    /// Runs what calls the guest, so that whoever watches knows how it ended.
    pub(super) fn guard<T: 'static, R>(
        &self,
        store: &mut Store<T>,
        run: impl FnOnce(&mut Store<T>) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<R> {
        match self {
            Self::Profiler { .. } => run(store),
            Self::Listening(listening) => listening.guard(store, run),
            Self::Failures(failures) => failures.guard(store, run),
        }
    }

    /// Runs `guest` on this thread; `started` is called right before.
    pub(super) fn run(&self, started: &dyn Fn(), guest: impl FnOnce() -> Ending) -> Ending {
        match self {
            Self::Profiler { profiler, .. } => sampled(profiler, started, guest),
            Self::Listening(_) | Self::Failures(_) => {
                started();
                guest()
            }
        }
    }
}

/// Runs `guest` while this thread is sampled.
fn sampled(profiler: &Profiler, started: &dyn Fn(), guest: impl FnOnce() -> Ending) -> Ending {
    // Attaching takes a while the first time, since the host's unwind tables are
    // read; the second time it does not, and the profile begins with the guest.
    let attach = || profiler.attach_thread();
    let attached = attach().map(drop).and_then(|()| {
        drop(profiler.take());
        attach()
    });
    let attached = match attached {
        Ok(attached) => attached,
        Err(error) => return Ending::NotRun(anyhow::anyhow!("failed to {error}")),
    };
    started();
    let ending = guest();
    drop(attached);
    ending
}
