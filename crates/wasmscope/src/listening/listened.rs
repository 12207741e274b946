//! A core module with probes.

use super::current;
use super::module::ListenedModule;
use crate::guest::{Bytes, Origin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use wasmscope_listen::Definition;
use wasmtime::{AsContextMut, Module};

/// A module with probes, compiled.
///
/// Has to be kept as long as the module is instantiated; instances that exist keep what
/// they need.
#[derive(Clone, Debug)]
pub struct Listened {
    pub(super) compiled: Module,
    pub(super) module: Arc<ListenedModule>,
}

impl Listened {
    /// Returns the compiled module, to be instantiated as any other.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.compiled
    }

    /// Returns the original's bytes, and how to get to it.
    pub(crate) fn original(&self) -> (Arc<Bytes>, Option<Origin>) {
        (self.module.binary.bytes(), self.module.origin())
    }

    /// Visits the definitions of the functions that have a probe.
    pub fn probed(&self) -> impl ExactSizeIterator<Item = &Definition> {
        self.module.probed.iter().map(|definition| &**definition)
    }

    /// Returns how many calls were not heard, in all instances: those made while as many
    /// others were open on their stack as can be kept, some 16 million.
    #[must_use]
    pub fn unheard(&self) -> u64 {
        self.module.unheard.load(Ordering::Relaxed)
    }

    /// Switches listeners on (`Some(true)`) and off (`Some(false)`), in all instances that
    /// exist or will, of functions for which `wanted` says so.
    ///
    /// From any thread, while guests run. An instance obeys with its store's next event, or
    /// the next [`Listening::guard`](super::Listening::guard); with [`apply`](Self::apply) at once. Calls that are
    /// open are closed as ever.
    ///
    /// Does nothing unless the [`Listening`](super::Listening) was built with
    /// [`switches`](super::ListeningBuilder::switches).
    pub fn switch(&self, wanted: impl Fn(&Definition) -> Option<bool>) {
        self.module.want(wanted);
        current::ask_for_attention();
    }

    /// Makes the instances of one store obey [`switch`](Self::switch) now: for a host
    /// function, an epoch callback, or whoever holds the store.
    pub fn apply<T: 'static>(&self, mut store: impl AsContextMut<Data = T>) {
        current::with(store.as_context_mut(), |calls, reach| calls.switch(reach));
    }
}

#[cfg(test)]
mod tests {
    use crate::Listening;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use wasmscope_listen::{BoxListener, Call, Definition};
    use wasmtime::{Engine, Linker, Store};

    #[test]
    fn calls_that_cannot_be_kept_are_counted() {
        const CALLS: u32 = 5_000;
        let heard = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&heard);
        let count = BoxListener::new(move |_: &Call<'_>| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let listening = Listening::new(move |_: &Definition| Some(count.clone()));
        let bytes = wat::parse_str(
            "(module (func $down (export \"down\") (param i32) (result i32)
                (if (result i32) (local.get 0)
                    (then (call $down (i32.sub (local.get 0) (i32.const 1))))
                    (else (i32.const 7)))))",
        )
        .unwrap();
        let engine = Engine::default();
        let guest = listening.compile(&engine, bytes).unwrap();
        let mut linker = Linker::new(&engine);
        listening.add_to_linker(&mut linker).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, guest.module()).unwrap();
        let down = instance
            .get_typed_func::<u32, u32>(&mut store, "down")
            .unwrap();
        let run = |store: &mut Store<()>| {
            let result = listening.guard(store, |store| down.call(store, CALLS - 1));
            assert_eq!(result.unwrap(), 7);
        };
        run(&mut store);
        let unheard = guest.unheard();
        assert!(unheard > 0, "there is room for more than {CALLS}");
        assert_eq!(heard.load(Ordering::Relaxed) + unheard, u64::from(CALLS));

        // What was kept was closed: there is as much room again.
        run(&mut store);
        assert_eq!(guest.unheard(), 2 * unheard);
    }
}
