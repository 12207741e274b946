//! Scopes of the embedder's: what was opened within is closed when they end.

use super::attach::enter;
use super::scope::Scope;
use super::store_calls::Ends;
use super::{Listening, current};
use wasmscope_listen::Cause;
use wasmtime::{AsContextMut, CallHook, ThrownException, Trap, WasmBacktrace};

impl Listening {
    /// Runs a guest; when it is done every call that was opened meanwhile is closed, with
    /// the error that `run` returns as the cause.
    ///
    /// # Errors
    ///
    /// Those of `run`.
    ///
    /// # Panics
    ///
    /// When `run` does, or a listener while calls are closed: after all are.
    pub fn guard<S, R>(
        &self,
        store: &mut S,
        run: impl FnOnce(&mut S) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<R>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let scope = Scope::begin(store.as_context_mut());
        let result = run(store);
        self.end(scope, store, &result);
        result
    }

    /// As [`guard`](Self::guard), for guests that run on fibers. When the future is dropped
    /// before it is done the calls are closed with [`Cause::FutureDropped`].
    ///
    /// # Tasks of components
    ///
    /// When the guest fails, the calls of all its store's tasks are closed: the engine lets
    /// none of them go on. An error is known to be the guest's by the trap, the exception, the
    /// [exit status](super::ListeningBuilder::exit_status) or the backtrace in it. With any
    /// other the host gave up: the engine keeps the tasks that wait, and lets them go on in the
    /// next [`run_concurrent`](wasmtime::Store::run_concurrent), so their calls stay open until
    /// they return, or until the store ends. In an engine that is configured to make no
    /// backtraces, so do those of a task that a host function's error ended.
    ///
    /// When the future is dropped, the calls of the task that ran last are closed, and those of
    /// others stay open. Whether the engine keeps that one too is not known: if it goes on
    /// later, calls that are closed are not told again when they return.
    ///
    /// # Errors
    ///
    /// Those of `run`.
    pub async fn guard_async<S, R>(
        &self,
        store: &mut S,
        run: impl AsyncFnOnce(&mut S) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<R>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let scope = Scope::begin(store.as_context_mut());
        let result = run(store).await;
        self.end(scope, store, &result);
        result
    }

    fn end<S, R>(&self, scope: Scope, store: &mut S, result: &wasmtime::Result<R>)
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let cause = result.as_ref().err().map(|error| self.cause(error));
        let ends = match result {
            Err(error) if is_of_guest(error) || matches!(cause, Some(Cause::Exit(_))) => Ends::All,
            _ => Ends::None,
        };
        scope.end(store.as_context_mut(), cause.as_ref(), ends);
    }

    /// Closes what a failed guest left open, told by the engine's call hook.
    ///
    /// To be called from the embedder's own hook, which stays its own:
    /// `store.call_hook(move |context, hook| { listening.call_hook(context, hook); Ok(()) })`.
    /// The engine's cargo feature `call-hook` makes every call of a host function dearer.
    pub fn call_hook<T: 'static>(&self, mut context: impl AsContextMut<Data = T>, hook: CallHook) {
        let mut context = context.as_context_mut();
        match hook {
            CallHook::CallingWasm => {
                enter(context.as_context_mut());
                current::with(context, |calls, reach| calls.enter_hooked(reach));
            }
            CallHook::ReturningFromWasm => {
                current::with(context, |calls, reach| calls.leave_hooked(reach));
            }
            CallHook::CallingHost | CallHook::ReturningFromHost => {}
        }
    }
}

/// Tells whether an error went through a guest, or came from one.
fn is_of_guest(error: &wasmtime::Error) -> bool {
    error.is::<Trap>() || error.is::<ThrownException>() || error.is::<WasmBacktrace>()
}
