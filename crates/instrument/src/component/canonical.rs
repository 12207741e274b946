//! Writes what a component lifts and lowers, and its built-in functions, behind what they
//! need: wrappers of functions with probes, and what forbids calls out.

use std::collections::HashMap;

use wasm_encoder::CanonicalFunctionSection;
use wasm_encoder::reencode::ReencodeComponent;
use wasmparser::{CanonicalFunction, CanonicalOption};

use super::output::Output;
use super::plan::Part;
use super::reading::options;
use super::writer::{Writer, reencoding};
use crate::Error;

impl Writer<'_, '_> {
    /// Writes a section.
    pub(super) fn canonical(
        &mut self,
        out: &mut Output,
        items: &[CanonicalFunction],
    ) -> Result<(), Error> {
        let mut numbers = Vec::new();
        for item in items {
            let counts = matches!(
                item,
                CanonicalFunction::Lift { .. }
                    | CanonicalFunction::Lower { .. }
                    | CanonicalFunction::TaskReturn { .. }
            );
            numbers.push(counts.then(|| self.scope(out).lifted_or_lowered[out.functions]));
            out.functions += usize::from(counts);
        }
        // What is there already is wrapped together, ahead of the section.
        self.prepare(out, items, &numbers)?;
        let mut section = CanonicalFunctionSection::new();
        for (at, (item, number)) in items.iter().zip(&numbers).enumerate() {
            if !self.is_prepared(out, item, *number) {
                if !section.is_empty() {
                    out.component.section(&section);
                    section = CanonicalFunctionSection::new();
                }
                self.prepare(out, &items[at..=at], &numbers[at..=at])?;
            }
            if let (
                CanonicalFunction::Lift {
                    type_index,
                    options,
                    ..
                },
                Some(number),
            ) = (item, number)
                && let Some(wrapper) = out.lifted.get(number)
            {
                let ty = self.numbering.component_type_index(*type_index);
                let options = options.iter().map(|option| {
                    let option = self.numbering.canonical_option(*option);
                    option.map_err(reencoding)
                });
                let options = options.collect::<Result<Vec<_>, _>>()?;
                section.lift(*wrapper, ty, options);
                continue;
            }
            self.numbering
                .parse_component_canonical(&mut section, item.clone())
                .map_err(reencoding)?;
            if !matches!(item, CanonicalFunction::Lift { .. }) {
                let here = self.numbering.here();
                let original = here.core_functions.kept();
                here.core_functions.keep();
                if let Some(number) = number
                    && self.plan.functions[*number]
                {
                    out.lowered.push((original, *number));
                }
            }
        }
        if !section.is_empty() {
            out.component.section(&section);
        }
        Ok(())
    }

    /// Tells whether everything stands ready that an item refers to.
    fn is_prepared(&self, out: &Output, item: &CanonicalFunction, number: Option<usize>) -> bool {
        if self.plan.scopes[out.scope] != Part::Probed {
            return true;
        }
        let lifted = match (item, number) {
            (CanonicalFunction::Lift { .. }, Some(number)) => {
                !self.plan.functions[number] || out.lifted.contains_key(&number)
            }
            _ => true,
        };
        let used = core_functions(item);
        lifted
            && !used.iter().any(|function| out.is_lowered(*function))
            && quiet(item).all(|function| self.is_quiet(out, function))
    }

    /// Writes what has to be there ahead of items, as far as what it calls is.
    fn prepare(
        &mut self,
        out: &mut Output,
        items: &[CanonicalFunction],
        numbers: &[Option<usize>],
    ) -> Result<(), Error> {
        if self.plan.scopes[out.scope] != Part::Probed {
            return Ok(());
        }
        let used = items.iter().flat_map(core_functions).collect::<Vec<_>>();
        self.wrap_lowered_if(out, &used)?;
        let there = self.numbering.here().core_functions.kept();
        for function in items.iter().flat_map(quiet) {
            if function < there && !self.is_quiet(out, function) {
                self.make_quiet(out, function)?;
            }
        }
        let mut lifts = Vec::new();
        for (item, number) in items.iter().zip(numbers) {
            if let (
                CanonicalFunction::Lift {
                    core_func_index, ..
                },
                Some(number),
            ) = (item, number)
                && *core_func_index < there
                && self.plan.functions[*number]
                && !out.lifted.contains_key(number)
            {
                lifts.push((*core_func_index, *number));
            }
        }
        for (number, wrapper) in self.wrap(out, &lifts)? {
            out.lifted.insert(number, wrapper);
        }
        Ok(())
    }

    /// Wraps what was lowered when it is about to be used.
    pub(super) fn wrap_lowered_if(&mut self, out: &mut Output, used: &[u32]) -> Result<(), Error> {
        if used.iter().any(|function| out.is_lowered(*function)) {
            self.wrap_lowered(out)?;
        }
        Ok(())
    }

    /// Wraps all that was lowered and is yet to be wrapped.
    pub(super) fn wrap_lowered(&mut self, out: &mut Output) -> Result<(), Error> {
        let lowered = std::mem::take(&mut out.lowered);
        let wrappers = self.wrap(out, &lowered)?;
        let wrappers = wrappers.into_iter().collect::<HashMap<_, _>>();
        for (function, number) in lowered {
            if let Some(wrapper) = wrappers.get(&number) {
                let functions = &mut self.numbering.here().core_functions;
                functions.replace(function, *wrapper);
            }
        }
        Ok(())
    }
}

/// Returns the core functions that an item refers to.
fn core_functions(item: &CanonicalFunction) -> Vec<u32> {
    let mut functions = Vec::new();
    if let CanonicalFunction::Lift {
        core_func_index, ..
    } = item
    {
        functions.push(*core_func_index);
    }
    for option in options(item) {
        if let CanonicalOption::Realloc(function)
        | CanonicalOption::PostReturn(function)
        | CanonicalOption::Callback(function) = option
        {
            functions.push(*function);
        }
    }
    functions
}

/// Returns the core functions that an item has called where calls out are forbidden.
fn quiet(item: &CanonicalFunction) -> impl Iterator<Item = u32> {
    options(item).iter().filter_map(|option| match option {
        CanonicalOption::Realloc(function) | CanonicalOption::PostReturn(function) => {
            Some(*function)
        }
        _ => None,
    })
}
