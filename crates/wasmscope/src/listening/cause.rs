//! Why a guest failed, by the error that the engine returned.

use super::Listening;
use wasmscope_listen::Cause;
use wasmtime::{Trap, WasmBacktrace};

impl Listening {
    /// Tells why a guest failed.
    pub(super) fn cause<'e>(&self, error: &'e wasmtime::Error) -> Cause<'e> {
        if let Some(status) = (self.shared.exit_status)(error) {
            return Cause::Exit(status);
        }
        if error.is::<wasmtime::ThrownException>() {
            return Cause::Exception;
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => Cause::StackOverflow,
            Some(trap) => Cause::Trap(trap),
            None => Cause::HostError(host_error(error)),
        }
    }
}

/// Returns what the host function returned, without the backtrace that the engine puts in
/// front of it.
fn host_error(error: &wasmtime::Error) -> &(dyn std::error::Error + 'static) {
    let backtrace = error
        .downcast_ref::<WasmBacktrace>()
        .map(ToString::to_string);
    let is_error = |part: &&(dyn std::error::Error + 'static)| Some(part.to_string()) != backtrace;
    error.chain().find(is_error).unwrap_or(error.as_ref())
}
