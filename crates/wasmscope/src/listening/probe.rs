//! A function that is listened to.

use std::sync::{Arc, LazyLock};
use wasmscope_address::{HostPc, TextRange};
use wasmscope_listen::{BoxListener, Call, Definition, Listener};

/// One probed function of a module, with the listener that an instance's factory gave it.
pub(super) struct Probe {
    pub(super) listener: BoxListener,
    pub(super) definition: Arc<Definition>,
    /// The function's compiled code.
    pub(super) code: TextRange,
    /// Whether somebody listens; else `listener` hears nothing.
    pub(super) is_heard: bool,
}

impl Probe {
    /// Returns a probe that no address is in.
    pub(super) fn none() -> *const Self {
        static NONE: LazyLock<Probe> = LazyLock::new(|| Probe {
            listener: BoxListener::new(Deaf),
            definition: Arc::new(Definition::guest(wasmscope_address::FuncIndex(u32::MAX))),
            code: TextRange::new(HostPc(0), 0).unwrap_or_else(|| unreachable!("does not wrap")),
            is_heard: false,
        });
        &raw const *NONE
    }
}

/// Hears nothing: stands where a factory gave no listener.
pub(super) struct Deaf;

impl Listener for Deaf {
    type State = ();

    fn before(&self, _: &Call<'_>) {}
}
