//! Listeners on the calls of WebAssembly guests.

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
mod instance;
mod listener;
mod parent;
mod slot;
mod stack;
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
pub use crate::parent::{Parent, Parents};
pub use crate::slot::Slot;
pub use crate::stack::{Line, RawFrame, SourceOffset, Stack, StackFrame, StackSource};
pub use crate::value::{Reference, ReferenceKind, Value, ValueType};
pub use crate::values::{Values, ValuesIter};
