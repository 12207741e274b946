//! A guest that traps at once, so that its engine keeps a core dump.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime::{Engine, Module};

/// That guest, compiled once for each engine that asks for it. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Trap(Arc<Mutex<Vec<Module>>>);

/// `(module (func (export "") unreachable))`
const BYTES: &[u8] = b"\0asm\x01\0\0\0\
    \x01\x04\x01\x60\0\0\
    \x03\x02\x01\0\
    \x07\x04\x01\0\0\0\
    \x0a\x05\x01\x03\0\0\x0b";

impl Trap {
    /// The name of its function.
    pub(super) const EXPORT: &str = "";

    /// Returns it for one engine.
    pub(super) fn module(&self, engine: &Engine) -> wasmtime::Result<Module> {
        let mut modules = self.lock();
        let known = modules
            .iter()
            .find(|module| Engine::same(module.engine(), engine));
        if let Some(module) = known {
            return Ok(module.clone());
        }
        let module = Module::new(engine, BYTES)?;
        modules.push(module.clone());
        Ok(module)
    }

    /// Returns it for every engine that asked.
    pub(super) fn modules(&self) -> Vec<Module> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Module>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
