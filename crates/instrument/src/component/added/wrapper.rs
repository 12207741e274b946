//! The module of functions that each call another of the same type. They are there to have
//! the probes of functions that are lifted or lowered.

use wasm_encoder::{EntityType, ExportKind, Function};

use super::builder::Builder;
use super::name;
use crate::component::core_type::CoreType;

/// Returns the name of the `n`th function of a wrapper, and of what it wraps.
pub(in crate::component) fn wrapped(n: usize) -> String {
    n.to_string()
}

/// Makes it. The first half of its functions are those others.
pub(in crate::component) fn wrapper(inner: &[CoreType]) -> Vec<u8> {
    let mut module = Builder::default();
    let mut others = Vec::new();
    for (n, (params, results)) in inner.iter().enumerate() {
        let ty = module.ty(params.iter().copied(), results.iter().copied());
        let other = module.import(name::INNER, &wrapped(n), EntityType::Function(ty));
        others.push((ty, other));
    }
    for (n, ((params, _), (ty, other))) in inner.iter().zip(others).enumerate() {
        let mut body = Function::new([]);
        let mut code = body.instructions();
        for param in 0..params.len() as u32 {
            code.local_get(param);
        }
        code.call(other).end();
        let function = module.function(ty, &body);
        module.export(&wrapped(n), ExportKind::Func, function);
    }
    module.finish()
}
