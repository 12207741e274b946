//! Scopes of the embedder's: what was opened within is closed when they end.

use super::attach::enter;
use super::scope::Scope;
use super::{Listening, current};
use wasmtime::{AsContextMut, CallHook};

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
    /// before it is done the calls are closed with [`Cause::FutureDropped`](wasmscope_listen::Cause::FutureDropped).
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
        scope.end(store.as_context_mut(), cause.as_ref());
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
