//! A guest that goes down to a depth and calls the host there, which reads its stack.

use crate::clocks::monotonic_nanos;
use crate::guests::DESCEND;
use crate::statistics::{median, minimum};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use wasmtime::{Caller, Config, Engine, Linker, Module, Store, TypedFunc};

/// Nanoseconds of one operation, measured several times.
#[derive(Clone, Debug, Default)]
pub struct Times(pub Vec<f64>);

impl Times {
    /// Runs `operation` often enough for the clock's reading not to matter.
    pub fn measure(&mut self, batch: usize, mut operation: impl FnMut()) {
        let begin = monotonic_nanos();
        for _ in 0..batch {
            operation();
        }
        let spent = monotonic_nanos().wrapping_sub(begin);
        self.0.push(spent as f64 / batch as f64);
    }

    /// Returns the least of them.
    #[must_use]
    pub fn least(&self) -> f64 {
        minimum(&self.0)
    }

    /// Returns their median.
    #[must_use]
    pub fn middle(&self) -> f64 {
        median(&self.0)
    }
}

/// Reads stacks, in the host function that the guest calls.
pub trait Read: Send + 'static {
    /// What is measured at one depth.
    type At: Send;

    /// Measures at the depth where the guest is.
    ///
    /// # Errors
    ///
    /// What the reader finds wrong, which ends the guest.
    fn read(&mut self, caller: &mut Caller<'_, ()>, at: &mut Self::At) -> wasmtime::Result<()>;
}

/// How a [`Descent`] is compiled and entered.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Whether the engine's backtraces name all frames or one.
    pub names_all: bool,
    /// Whether the guest is called on a fiber or on the thread's own stack.
    pub on_fiber: bool,
}

struct Shared<R: Read> {
    reader: R,
    at: Option<R::At>,
}

/// The guest, whose host function is a [`Read`].
pub struct Descent<R: Read> {
    shared: Arc<Mutex<Shared<R>>>,
    how: How,
    store: Store<()>,
    capture: TypedFunc<i32, i64>,
}

impl<R: Read> std::fmt::Debug for Descent<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Descent")
            .field("how", &self.how)
            .finish_non_exhaustive()
    }
}

fn lock<R: Read>(shared: &Mutex<Shared<R>>) -> MutexGuard<'_, Shared<R>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R: Read> Descent<R> {
    /// Compiles the guest; `reader` is made of the module and its bytes. `config` is what is
    /// added to.
    ///
    /// # Errors
    ///
    /// What the engine or `reader` says.
    pub fn new(
        how: How,
        mut config: Config,
        reader: impl FnOnce(&Module, &[u8]) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<Self> {
        let named = if how.names_all { 1 << 20 } else { 1 };
        config
            .wasm_backtrace_max_frames(NonZeroUsize::new(named))
            .async_stack_size(32 << 20)
            .max_wasm_stack(16 << 20);
        let engine = Engine::new(&config)?;
        let bytes = wat::parse_str(DESCEND)?;
        let module = Module::new(&engine, &bytes)?;
        let shared = Arc::new(Mutex::new(Shared {
            reader: reader(&module, &bytes)?,
            at: None,
        }));
        let mut linker = Linker::new(&engine);
        linker.func_wrap("bench", "capture", {
            let shared = Arc::clone(&shared);
            move |mut caller: Caller<'_, ()>| {
                let Shared { reader, at } = &mut *lock(&shared);
                match at {
                    Some(at) => reader.read(&mut caller, at),
                    None => Ok(()),
                }
            }
        })?;
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module)?;
        let capture = instance.get_typed_func(&mut store, "capture")?;
        Ok(Self {
            shared,
            how,
            store,
            capture,
        })
    }

    /// Reads at a depth, into `at`, which is handed back.
    ///
    /// # Errors
    ///
    /// What the guest or the reader says.
    pub fn measure(&mut self, depth: i32, at: R::At) -> wasmtime::Result<R::At> {
        lock(&self.shared).at = Some(at);
        if self.how.on_fiber {
            let call = pin!(self.capture.call_async(&mut self.store, depth));
            match call.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(called) => called?,
                Poll::Pending => return Err(wasmtime::Error::msg("it waits for nothing")),
            };
        } else {
            self.capture.call(&mut self.store, depth)?;
        }
        let at = lock(&self.shared).at.take();
        at.ok_or_else(|| wasmtime::Error::msg("the reader was there"))
    }
}
