//! Markers: things that began and ended, such as calls of host functions.

use std::time::Duration;

use crate::category::Category;
use crate::stack::StackHandle;
use crate::strings::StringHandle;
use crate::thread::ThreadHandle;

/// Something that began and ended on a thread, for example a host call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Marker {
    /// The thread.
    pub thread: ThreadHandle,
    /// What it was, for example the host function's name.
    pub name: String,
    /// Whose code it was.
    pub category: Category,
    /// When it began, since the start of the profile.
    pub start: Duration,
    /// When it ended; not before it began.
    pub end: Duration,
    /// Who called it, when that is known.
    pub stack: Option<StackHandle>,
    /// Anything to say about this one, for example its arguments.
    pub text: Option<String>,
}

/// A marker as a profile gives it back, with its texts borrowed from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MarkerRef<'a> {
    /// The thread.
    pub thread: ThreadHandle,
    /// What it was.
    pub name: &'a str,
    /// Whose code it was.
    pub category: Category,
    /// When it began, since the start of the profile.
    pub start: Duration,
    /// When it ended.
    pub end: Duration,
    /// Who called it, when that is known.
    pub stack: Option<StackHandle>,
    /// Anything to say about this one.
    pub text: Option<&'a str>,
}

/// A marker in 40 bytes, with its texts in the profile's table of strings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedMarker {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) thread: ThreadHandle,
    pub(crate) name: StringHandle,
    pub(crate) stack: Option<StackHandle>,
    pub(crate) text: Option<StringHandle>,
    pub(crate) category: Category,
}
