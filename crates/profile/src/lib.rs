//! The profile model, its writers and its readers.

mod category;
mod counter;
mod error;
mod format;
mod function;
mod handle;
mod labels;
mod location;
mod mapping;
mod marker;
mod meta;
mod profile;
mod sample;
mod stack;
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
pub use stack::{Frame, Stack, StackHandle};
pub use thread::{Accounting, Thread, ThreadHandle};
pub use totals::{FunctionTotals, Total};
