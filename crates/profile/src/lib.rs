//! The profile model, its writers and its readers.
//!
//! Whatever was measured ends in one [`Profile`]: functions, locations with inlined
//! lines, a trie of stacks, samples with weights and labels, markers, counters. It is
//! written as a Firefox profile, pprof, folded stacks or a flame graph, and read from
//! pprof and folded stacks.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use wasmscope_profile::*;
//!
//! let mut profile = Profile::new(Meta {
//!     duration: Duration::from_secs(1),
//!     interval: Duration::from_millis(1),
//!     ..Meta::new("guest.wasm", SystemTime::UNIX_EPOCH)
//! });
//! let thread = profile.add_thread(Thread { id: 1, name: "main".into(), ..Thread::default() });
//!
//! // A stack, from the outermost frame inwards.
//! let mut stack = None;
//! for (name, line) in [("main", 3), ("render", 41)] {
//!     let function = profile.add_function(Function { name: name.into(), ..Function::default() });
//!     let location = profile.add_location(Location {
//!         mapping: None,
//!         address: None,
//!         lines: vec![Line { function, line: Some(line), column: None }],
//!     });
//!     stack = Some(profile.add_stack(stack, location));
//! }
//! profile.add_sample(Sample {
//!     thread,
//!     time: Duration::from_millis(1),
//!     stack,
//!     count: 1,
//!     weight: Duration::from_millis(1),
//!     cpu: None,
//!     labels: LabelsHandle::EMPTY,
//! });
//!
//! let hottest = profile.hottest(1)[0];
//! assert_eq!(profile.function(hottest.function).name, "render");
//! let mut folded = Vec::new();
//! profile.write(Format::Folded, false, &mut folded)?;
//! assert_eq!(folded, b"main;render 1000000\n");
//! # let directory = std::env::temp_dir().join(format!("wasmscope-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory).unwrap();
//! # let path = directory.join("guest.json.gz");
//! profile.save(&path, Format::from_path(&path)?)?; // whole, or the old file stays
//! # std::fs::remove_dir_all(&directory).unwrap();
//! # Ok::<(), Error>(())
//! ```
//!
//! Nothing here knows where a profile comes from: no engine, no clock, no symbols.

mod call_tree;
mod category;
mod counter;
mod error;
pub mod firefox;
pub mod folded;
mod format;
mod function;
#[doc(hidden)]
pub mod fuzz;
mod handle;
mod labels;
mod location;
mod mapping;
mod marker;
mod meta;
pub mod pprof;
mod profile;
mod sample;
mod save;
mod stack;
mod strings;
pub mod svg;
mod thread;
mod totals;

pub use category::Category;
pub use counter::{Counter, CounterHandle};
pub use error::{Error, Result};
pub use format::Format;
pub use function::{Function, FunctionHandle};
pub use labels::{Label, LabelsHandle, Value};
pub use location::{Line, Location, LocationHandle};
pub use mapping::{Mapping, MappingHandle, MappingKind};
pub use marker::{Marker, MarkerRef};
pub use meta::{Clock, Meta};
pub use profile::Profile;
pub use sample::Sample;
pub use save::save_with;
pub use stack::{Frame, Stack, StackHandle};
pub use thread::{Accounting, Thread, ThreadHandle};
pub use totals::{FunctionTotals, Total};
