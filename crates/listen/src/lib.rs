//! Listeners on the calls of WebAssembly guests.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use wasmscope_listen::{BoxListener, Call, Cause, Definition, FuncIndex, Listener, Values, fake};
//!
//! /// Writes down calls, each indented below the one that led to it.
//! struct Outline(Arc<Mutex<Vec<String>>>);
//!
//! /// What `before` leaves: for the close, and for the listeners of calls within.
//! struct Depth(usize);
//!
//! impl Outline {
//!     fn write(&self, depth: &Depth, line: String) {
//!         self.0.lock().unwrap().push(format!("{:1$}{line}", "", depth.0));
//!     }
//! }
//!
//! impl Listener for Outline {
//!     type State = Depth;
//!
//!     fn before(&self, call: &Call<'_>) -> Depth {
//!         let parent = call.parent().and_then(|parent| parent.state::<Depth>());
//!         let depth = Depth(parent.map_or(0, |parent| parent.0 + 1));
//!         self.write(&depth, format!("--> {}", call.definition()));
//!         depth
//!     }
//!
//!     fn after(&self, _: &Call<'_>, results: Values<'_>, depth: Depth) {
//!         self.write(&depth, format!("<-- {results:?}"));
//!     }
//!
//!     fn abort(&self, _: &Call<'_>, cause: &Cause<'_>, depth: Depth) {
//!         self.write(&depth, format!("<-- {cause}"));
//!     }
//! }
//!
//! // A factory chooses the functions: here, those that have a name.
//! let lines = Arc::new(Mutex::new(Vec::new()));
//! let outline = BoxListener::new(Outline(lines.clone()));
//! let factory = move |f: &Definition| f.name.is_some().then(|| outline.clone());
//!
//! // `wasmscope` runs real guests with it. Here calls are played.
//! let [main, run] = [0, 1].map(FuncIndex);
//! let functions = [Definition::guest(main).named("main"), Definition::guest(run).named("run")];
//! let mut guest = fake::Guest::new(functions, &factory);
//! let ended = guest.call(main, &[], |guest| guest.call(run, &[], |_| Err(Cause::Exit(1))));
//! assert!(ended.is_err());
//!
//! assert_eq!(*lines.lock().unwrap(), ["--> main", " --> run", " <-- exit 1", "<-- exit 1"]);
//! ```
//!
//! # What there is
//!
//! | | |
//! |---|---|
//! | to choose | [`Factory`] sees each function's [`Definition`] and gives it a listener or none |
//! | to hear | [`Listener`]: `before`, and exactly one close: `after`, `tail_call` or `abort` with its [`Cause`] |
//! | to know | [`Call`]: definition, typed [`Values`], the [`Instance`]'s memories and globals, the [`Stack`], the [`Parents`] |
//! | components | [`mod@component`]: WIT names and types, values lifted from flat words and memory |
//! | ready-made | [`listeners`]: call log, call timer, latency, recorder |
//! | to join | tuples, [`Fanout`]; closures with [`pair`] |
//! | to test | [`mod@fake`] plays calls without an engine; [`Frames`] are a stack by hand; [`bench()`] measures a listener |
//!
//! # Driving listeners
//!
//! Whoever runs guests keeps a [`Slot`] for each open call, and for each event makes a
//! [`Call`] from references and hands both to a [`BoxListener`]. All that costs something
//! to know is asked for through [`Site`], [`StackSource`] and [`Instance`], which the
//! driver implements. An event is one indirect call and allocates nothing, as long as the
//! state is no more than three words.
//!
//! # What it does not do
//!
//! It knows no engine and runs no guest. It does not find frames, and does not see calls
//! by itself: that a close comes for each `before`, in the right order, is its driver's
//! promise.

pub mod component;
pub mod fake;
pub mod listeners;

mod bench;
mod boxed;
mod call;
mod cause;
mod closures;
mod definition;
mod factory;
mod fanout;
mod frames;
#[doc(hidden)]
pub mod fuzz;
mod instance;
mod listener;
mod listener_ref;
mod parent;
mod slot;
mod stack;
mod task;
mod tuple;
mod value;
mod values;

pub use wasmscope_address::{FuncIndex, HostPc, WasmOffset};

pub use crate::bench::{EmptyStack, bench};
pub use crate::boxed::BoxListener;
pub use crate::call::{Call, Site};
pub use crate::cause::Cause;
pub use crate::closures::{Pair, pair};
pub use crate::definition::{Definition, FunctionKind, Import};
pub use crate::factory::Factory;
pub use crate::fanout::Fanout;
pub use crate::frames::{Frame, Frames};
pub use crate::instance::{Instance, InstanceId, ReadError, read_bytes};
pub use crate::listener::{Close, Listener};
pub use crate::listener_ref::ListenerRef;
pub use crate::parent::{Parent, Parents};
pub use crate::slot::Slot;
pub use crate::stack::{Line, RawFrame, SourceOffset, Stack, StackFrame, StackSource};
pub use crate::task::TaskId;
pub use crate::value::{Reference, ReferenceKind, Value, ValueType};
pub use crate::values::{Values, ValuesIter};
