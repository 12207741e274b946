//! Exports that a host enters by way of a hook, so that it sees how each of its calls ends.
//!
//! ```text
//!    the export    shim (params) -> (results)         inner () -> ()
//!                  params into globals                params out of globals
//!                  guard(instance, n)  --> host -->   call of the function itself
//!                  results out of globals             results into globals
//! ```
//!
//! Both functions stand behind everything else. The values of all exports share globals, one
//! for each type and how many of that type come before it: both sides read all of them
//! before anything else runs, so calls within calls do not meet there. Globals that hold
//! references are nullable, and null again once they were read.
//!
//! Whatever refers to the function within the module goes on to refer to itself.

use std::collections::HashMap;

use wasmparser::ValType;
use wasmscope_address::FuncIndex;

use crate::Module;
use crate::encoding::{self, Code};
use crate::hooks::Hook;
use crate::plan::Plan;

/// The functions whose exports are guarded, and the globals that their values go through.
#[derive(Default, Debug)]
pub(crate) struct Guarded {
    /// By index; the number of a guard is its place.
    pub(crate) functions: Vec<FuncIndex>,
    /// The type of each global.
    globals: Vec<ValType>,
    /// The numbers of the globals of each type.
    of_type: HashMap<ValType, Vec<u32>>,
}

impl Guarded {
    /// Guards the exports of all functions that a module defines, but for those that are
    /// shared between threads: they may not call a hook that is not.
    pub(crate) fn new(module: &Module<'_>) -> Self {
        let mut guarded = Self::default();
        for function in module.defined() {
            if function.exports.is_empty() || function.signature.shared {
                continue;
            }
            guarded.functions.push(function.index);
            for types in [function.params(), function.results()] {
                guarded.make_room(types);
            }
        }
        guarded
    }

    fn make_room(&mut self, types: &[ValType]) {
        let mut used = HashMap::new();
        for ty in types.iter().copied().map(nullable) {
            let used: &mut usize = used.entry(ty).or_default();
            let numbers = self.of_type.entry(ty).or_default();
            if *used == numbers.len() {
                numbers.push(self.globals.len() as u32);
                self.globals.push(ty);
            }
            *used += 1;
        }
    }

    /// Returns how many globals there are.
    pub(crate) fn globals(&self) -> u32 {
        self.globals.len() as u32
    }

    /// Returns the number of the global that each of some values goes through.
    fn places(&self, types: &[ValType]) -> Vec<u32> {
        let mut numbers = HashMap::new();
        let place = |ty: &ValType| {
            let ty = nullable(*ty);
            let next = || self.of_type.get(&ty).into_iter().flatten();
            numbers.entry(ty).or_insert_with(next).next().copied()
        };
        let places: Vec<u32> = types.iter().map_while(place).collect();
        debug_assert_eq!(places.len(), types.len(), "room was made for each");
        places
    }

    /// Writes the entries of the globals.
    pub(crate) fn write_globals(&self, out: &mut Vec<u8>) {
        const MUTABLE: u8 = 1;
        for ty in &self.globals {
            encoding::value_type(out, *ty);
            out.push(MUTABLE);
            Code(out).zero(*ty).end();
        }
    }
}

fn nullable(ty: ValType) -> ValType {
    match ty {
        ValType::Ref(ty) => ValType::Ref(ty.nullable()),
        other => other,
    }
}

/// Writes the bodies of all shims, then of all inner functions, with their sizes.
pub(crate) fn write(plan: &Plan<'_, '_>) -> Vec<u8> {
    const NO_LOCALS: u8 = 0;
    let mut out = Vec::new();
    let mut body = Vec::new();
    for part in [shim, inner] {
        for (number, function) in (0..).zip(&plan.guarded.functions) {
            body.clear();
            body.push(NO_LOCALS);
            part(plan, number, *function, &mut Code(&mut body));
            encoding::unsigned(&mut out, body.len() as u32);
            out.extend_from_slice(&body);
        }
    }
    out
}

/// Writes what the export leads to.
fn shim(plan: &Plan<'_, '_>, number: u32, function: FuncIndex, code: &mut Code<'_>) {
    let function = &plan.module.functions[function.0 as usize];
    for (local, place) in (0..).zip(plan.guarded.places(function.params())) {
        code.local_get(local).global_set(plan.passing() + place);
    }
    code.global_get(plan.instance())
        .i32_const(number.cast_signed())
        .call(plan.hook(Hook::Guard));
    take(plan, function.results(), code);
    code.end();
}

/// Writes what the host calls.
fn inner(plan: &Plan<'_, '_>, _: u32, function: FuncIndex, code: &mut Code<'_>) {
    let index = plan.function(function.0);
    let function = &plan.module.functions[function.0 as usize];
    take(plan, function.params(), code);
    code.call(index);
    for place in plan.guarded.places(function.results()).into_iter().rev() {
        code.global_set(plan.passing() + place);
    }
    code.end();
}

/// Takes values out of their globals, which let go of what they refer to.
fn take(plan: &Plan<'_, '_>, types: &[ValType], code: &mut Code<'_>) {
    let places = plan.guarded.places(types);
    for (place, ty) in places.iter().zip(types) {
        code.global_get(plan.passing() + place);
        if matches!(ty, ValType::Ref(ty) if !ty.is_nullable()) {
            code.ref_as_non_null();
        }
    }
    for (place, ty) in places.iter().zip(types) {
        if ty.is_reference_type() {
            code.zero(nullable(*ty)).global_set(plan.passing() + place);
        }
    }
}
