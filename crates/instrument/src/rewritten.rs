//! A rewritten module, and the steps that lead to it.

use std::collections::BTreeMap;

use wasmscope_address::FuncIndex;

use crate::code::{Functions, MAX_BODY};
use crate::control::Place;
use crate::plan::{Plan, Skipped};
use crate::{Error, Map, Module, Options, dwarf, sections};

/// A module that calls its host's hooks.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The module's bytes.
    pub wasm: Vec<u8>,
    /// The functions that have a probe, by the probe's number; the indices are the
    /// original's.
    pub probes: Vec<FuncIndex>,
    /// The functions that have no probe although it was asked for, and why, by index.
    pub skipped: Vec<(FuncIndex, Skipped)>,
    /// Where each function and each byte of code went.
    pub map: Map,
    /// What became of the debug information.
    pub debug: dwarf::Outcome,
}

impl Module<'_> {
    /// Rewrites the module so that each function tells of its calls for which `probe`
    /// says so.
    ///
    /// Equal inputs give equal bytes. A module where no function gets a probe has
    /// neither hooks nor new globals.
    ///
    /// # Errors
    ///
    /// [`Error::TooMany`], when the module would exceed a limit of the engines that
    /// leaving out single probes does not help with.
    pub fn rewrite(
        &self,
        options: &Options,
        probe: &dyn Fn(FuncIndex) -> bool,
    ) -> Result<Rewritten, Error> {
        self.rewrite_in(Place::Globals, options, probe)
    }

    /// As [`Self::rewrite`], with what the host shares in the right place.
    pub(crate) fn rewrite_in(
        &self,
        place: Place,
        options: &Options,
        probe: &dyn Fn(FuncIndex) -> bool,
    ) -> Result<Rewritten, Error> {
        let start = self.code_start().unwrap_or_default();
        let mut skipped = BTreeMap::new();
        loop {
            let plan = Plan::new(self, place, options, probe, skipped)?;
            let functions = Functions::write(&plan, start);
            let unprobed = functions
                .too_long
                .iter()
                .any(|function| plan.number(*function).is_none());
            if unprobed {
                return Err(Error::TooMany {
                    what: "bytes in one function",
                    count: MAX_BODY + 1,
                    limit: MAX_BODY,
                });
            }
            if functions.too_long.is_empty() {
                let (wasm, map, debug) = sections::assemble(&plan, functions)?;
                return Ok(Rewritten {
                    wasm,
                    probes: plan.probes,
                    skipped: plan.skipped.into_iter().collect(),
                    map,
                    debug,
                });
            }
            // Without the longest ones; their numbers go to those behind them.
            skipped = plan.skipped;
            let too_long = functions.too_long.into_iter();
            skipped.extend(too_long.map(|function| (function, Skipped::BodyTooLong)));
        }
    }
}
