//! A core instance of ours in a store: by one of its functions the store's context is found.
//!
//! A component's host functions get no core instance at hand. So each store that listens to
//! a component has one more instance, of a module that does nothing.

use crate::Error;
use crate::layout::StoreContext;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use wasmtime::{AsContextMut, Engine, Instance, Module};

/// The module, compiled, and what is known of its engine.
#[derive(Clone)]
pub(super) struct Anchor {
    module: Module,
    names_tasks: bool,
}

/// `(module (func (export "f")))`
const BYTES: &[u8] = b"\0asm\x01\0\0\0\
    \x01\x04\x01\x60\0\0\
    \x03\x02\x01\0\
    \x07\x05\x01\x01f\0\0\
    \x0a\x04\x01\x02\0\x0b";

impl Anchor {
    pub(super) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        Ok(Self {
            module: Module::new(engine, BYTES)?,
            names_tasks: names_tasks(engine),
        })
    }

    /// Tells whether the engine's stores can be asked which task runs.
    pub(super) fn names_tasks(&self) -> bool {
        self.names_tasks
    }

    /// Puts an instance into a store and returns the store's context.
    ///
    /// `data` is the address of the store's data.
    pub(super) fn context_of(
        &self,
        mut store: impl AsContextMut,
        data: usize,
    ) -> Result<StoreContext, Error> {
        let mut store = store.as_context_mut();
        let instance = {
            // The way of a synchronous store is barred on fibers. This one waits for nothing:
            // the module has nothing to run, and only a limiter may ask for time.
            let instantiating = pin!(Instance::new_async(&mut store, &self.module, &[]));
            match instantiating.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(instance) => instance.map_err(Error::Anchor)?,
                Poll::Pending => {
                    let waits = "the store's limiter did not decide at once";
                    return Err(Error::Anchor(wasmtime::Error::msg(waits)));
                }
            }
        };
        let function = instance.get_func(&mut store, "f").ok_or(Error::Layout)?;
        StoreContext::of(&mut store, function, data).ok_or(Error::Layout)
    }
}

/// Tells whether an engine's stores keep tasks, without which asking them panics. No setting
/// of an engine can be read, but what needs this one says whether it is there.
#[cfg(feature = "component-model-async")]
fn names_tasks(engine: &Engine) -> bool {
    let mut store = wasmtime::Store::new(engine, ());
    let never = std::future::pending::<wasmtime::Result<u32>>();
    wasmtime::component::FutureReader::new(&mut store, never).is_ok()
}

#[cfg(not(feature = "component-model-async"))]
fn names_tasks(_: &Engine) -> bool {
    false
}
