//! A function that is listened to.

#![expect(unsafe_code, reason = "keeps a borrowed listener beside its owner")]

use std::sync::{Arc, LazyLock};
use wasmscope_address::{HostPc, TextRange};
use wasmscope_listen::{BoxListener, Call, Definition, Listener, ListenerRef, ValueType};

/// One probed function of a module, with the listener that an instance's factory gave it.
pub(super) struct Probe {
    /// Borrowed from `listener`, for events.
    quick: ListenerRef<'static>,
    pub(super) listener: BoxListener,
    /// The types of the function's results, for events.
    pub(super) results: Box<[ValueType]>,
    pub(super) definition: Arc<Definition>,
    /// The function's compiled code.
    pub(super) code: TextRange,
    /// How many words its parameters are.
    pub(super) param_words: usize,
    /// Whether somebody listens; else `listener` hears nothing.
    pub(super) is_heard: bool,
}

impl Probe {
    pub(super) fn new(
        definition: Arc<Definition>,
        listener: Option<BoxListener>,
        code: TextRange,
    ) -> Self {
        let is_heard = listener.is_some();
        let listener = listener.unwrap_or_else(|| BoxListener::new(Deaf));
        // SAFETY: the listener is shared, so it stays where it is as long as there is a
        // `BoxListener`; the probe holds one that it never changes, and lends `quick` for
        // no longer than itself.
        let quick = unsafe {
            std::mem::transmute::<ListenerRef<'_>, ListenerRef<'static>>(listener.borrow())
        };
        Self {
            quick,
            listener,
            results: definition.results.clone().into(),
            param_words: definition.params.iter().map(|ty| ty.words()).sum(),
            definition,
            code,
            is_heard,
        }
    }

    /// Returns the listener.
    #[inline(always)]
    pub(super) fn quick(&self) -> ListenerRef<'_> {
        self.quick
    }

    /// Returns a probe that no address is in.
    pub(super) fn none() -> *const Self {
        static NONE: LazyLock<Probe> = LazyLock::new(|| {
            let none = Definition::guest(wasmscope_address::FuncIndex(u32::MAX));
            let code = TextRange::new(HostPc(0), 0);
            let code = code.unwrap_or_else(|| unreachable!("does not wrap"));
            Probe::new(Arc::new(none), None, code)
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
