//! Shows what WebAssembly guests do, from inside the host that runs them, on the
//! stock `wasmtime` crate.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use wasmscope::{Format, Guest, Profiler};
//! use wasmtime::{Engine, Instance, Module, Store};
//!
//! // What any embedder has:
//! let text = "(module (func $spin (export \"spin\") (local i32)
//!     (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1)))
//!                              (i32.const 200000000))))))";
//! let engine = Engine::default();
//! let module = Module::new(&engine, text)?;
//! let mut store = Store::new(&engine, ());
//! let instance = Instance::new(&mut store, &module, &[])?;
//! let spin = instance.get_typed_func::<(), ()>(&mut store, "spin")?;
//!
//! // What it takes to profile it:
//! let profiler = Profiler::builder().start()?;
//! let _guest = profiler.register(Guest::module("spin.wasm", &module))?;
//! let thread = profiler.attach_thread()?;
//! spin.call(&mut store, ())?;
//! drop(thread);
//! let profile = profiler.take_profile();
//! # let path = std::env::temp_dir().join(format!("wasmscope-{}.json.gz", std::process::id()));
//! profile.save(&path, Format::Firefox)?; // opens in the Firefox Profiler
//! # std::fs::remove_file(path)?;
//!
//! let hottest = profile.hottest(1)[0].function;
//! assert_eq!(profile.function(hottest).name, "spin");
//! # Ok(()) }
//! ```

mod backtrace;
mod code;
mod collector;
#[cfg(feature = "coredump")]
pub mod core_dump;
mod crash;
mod error;
mod failure;
mod fibers;
mod guest;
mod guests;
mod host_calls;
mod host_names;
mod labels;
mod layout;
mod listening;
mod memory_track;
mod on_demand;
mod plain;
mod profiler;
mod recording;
mod selection;
mod stacks;
#[cfg(feature = "component-model-async")]
mod task_id;
#[cfg(feature = "component-model-async")]
mod task_labels;
mod watchdog;

pub use backtrace::{
    Activation, Backtrace, BacktraceEnd, Cursor, Frame, FrameKind, RawFrame, RawFrameKind, StoreId,
    WalkedGuest, Walker, WalkerBuilder,
};
pub use collector::Limits;
pub use crash::CrashHook;
pub use error::Error;
pub use failure::{ExplainedGuest, Explainer, Extent, Failure, FailureCause, pass_through};
pub use fibers::{Fiber, FiberId, FiberState, Fibers};
pub use guest::Guest;
pub use host_calls::HostCalls;
pub use labels::{LabelValue, Labelled, Labels};
pub use listening::{
    Batch, EventStream, EventStreamBuilder, Listened, ListenedComponent, Listening,
    ListeningBuilder, Streamed, StreamedComponent, Taken,
};
pub use memory_track::MemoryTrack;
pub use on_demand::OnDemand;
pub use profiler::{Builder, Profiler, Registration};
pub use recording::Recording;
pub use selection::Selection;
#[cfg(feature = "component-model-async")]
pub use task_id::task_id;
#[cfg(feature = "component-model-async")]
pub use task_labels::{FollowedTasks, LabelledTask, TaskLabels};
pub use wasmscope_instrument::Exceptions;
pub use wasmscope_instrument::events::{Event, EventKind};
pub use wasmscope_listen as listen;
pub use wasmscope_profile as profile;
pub use wasmscope_profile::{Format, Profile};
pub use wasmscope_sample::{Clock, Cut, HostFrames, Mechanism, OsThread, Rate, ThreadGuard};
pub use watchdog::{Overrun, Watchdog, Watched};
