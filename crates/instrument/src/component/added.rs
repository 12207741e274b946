//! The core modules that are added to a component.
//!
//! ```text
//!    events     one for each component instance: a memory that says whether calls out are
//!               forbidden, and keeps the events that happened while they were
//!    hooks      one for each instance with probes: what its module imports as hooks; tells
//!               the host, or keeps the event
//!    quiet      in front of what is called where calls out are forbidden
//!    look       hands an instance's memories to the host, behind its events
//!    globals    hands the values of its globals to the host, ahead of that
//!    flushing   stands for hooks where the guest keeps its events
//!    share      tells the host where the memory is that it shares with an instance
//!    wrapper    in front of functions that are lifted or lowered; it is what has their probes
//! ```
//!
//! A [`Builder`](builder::Builder) puts the sections of each together.

mod builder;
mod events;
mod flushing;
mod globals;
mod hooks;
mod look;
mod memory;
pub(super) mod name;
mod quiet;
mod share;
mod slots;
mod wrapper;

pub(super) use events::events;
pub(super) use flushing::flushing;
pub(super) use globals::globals;
pub(super) use hooks::hooks;
pub(super) use look::look;
pub(super) use quiet::quiet;
pub(super) use share::share;
pub(super) use wrapper::{wrapped, wrapper};
