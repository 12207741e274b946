//! A run of guest frames between the host that entered it and the host that it called.

use super::raw_frame::RawFrame;
use wasmtime::AsContext;

/// Tells the stores of a process apart, as long as they live.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StoreId(usize);

impl StoreId {
    /// Returns the identity of a store.
    pub fn of(store: impl AsContext) -> Self {
        Self::of_data(store.as_context().data())
    }

    /// Returns the identity of the store whose data this is.
    #[inline]
    pub(crate) fn of_data<T>(data: &T) -> Self {
        Self::at(std::ptr::from_ref(data).addr())
    }

    /// Returns the identity of the store whose data is at an address.
    pub(crate) fn at(data: usize) -> Self {
        Self(data)
    }
}

/// Where an activation lies in a backtrace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) store: Option<StoreId>,
}

/// One activation: the frames from where a guest is, or called the host, to where the host
/// entered it. On a stack-switching continuation there is one for each stack of the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Activation<'a> {
    frames: &'a [RawFrame],
    store: Option<StoreId>,
}

impl<'a> Activation<'a> {
    pub(crate) fn new(frames: &'a [RawFrame], span: Span) -> Self {
        Self {
            frames: frames.get(span.start..span.end).unwrap_or_default(),
            store: span.store,
        }
    }

    /// Returns its frames, newest first, with the engine's trampolines at its ends.
    #[must_use]
    pub fn frames(&self) -> &'a [RawFrame] {
        self.frames
    }

    /// Returns the store that it belongs to, where that is known.
    #[must_use]
    pub fn store(&self) -> Option<StoreId> {
        self.store
    }
}
