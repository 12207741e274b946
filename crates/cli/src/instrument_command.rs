//! `wasmscope instrument`: rewrites a module into a file.

use crate::args::InstrumentArgs;
use crate::guest_file::{GuestFile, Kind};
use crate::plan::InstrumentPlan;
use crate::{exit, terminal};
use anyhow::{Result, anyhow, bail};
use wasmscope::profile;
use wasmscope_instrument::dwarf::Outcome;
use wasmscope_instrument::{Dwarf, Module, Options};

/// Runs the subcommand and returns the program's exit status.
///
/// # Errors
///
/// What is wrong with the flags, the module or the output.
pub(crate) fn run(args: InstrumentArgs) -> Result<i32> {
    let plan = InstrumentPlan::new(args)?;
    let file = GuestFile::read(&plan.input)?;
    if file.kind == Kind::Component {
        bail!(
            "{}: this is a component; only core modules can be rewritten so far",
            file.name
        );
    }
    let failed = |error| anyhow!("{}: failed to {error}", file.name);
    let module = Module::parse(&file.bytes).map_err(failed)?;
    let options = Options {
        dwarf: Dwarf::Rewrite,
        ..Options::default()
    };
    let chosen: Vec<bool> = module
        .functions()
        .iter()
        .map(|function| plan.select.is_chosen(function))
        .collect();
    let rewritten = module
        .rewrite(&options, &|function| {
            chosen
                .get(function.0 as usize)
                .is_some_and(|chosen| *chosen)
        })
        .map_err(failed)?;
    save(&plan, &rewritten.wasm)?;
    for (function, reason) in &rewritten.skipped {
        terminal::warning(&format!(
            "{}: function {function} has no probe: {reason}",
            file.name
        ));
    }
    if let Outcome::LeftOut(reason) = &rewritten.debug {
        terminal::warning(&format!(
            "{}: the debug information is left out: {reason}",
            file.name
        ));
    }
    if !plan.quiet {
        terminal::say(&format!(
            "{} of {} functions have a probe; {} has {} bytes, {} had {}",
            rewritten.probes.len(),
            chosen.len(),
            plan.output.display(),
            rewritten.wasm.len(),
            file.name,
            file.bytes.len(),
        ));
    }
    Ok(0)
}

/// Writes the new module, whole or not at all.
fn save(plan: &InstrumentPlan, wasm: &[u8]) -> Result<()> {
    let saved = profile::save_with(&plan.output, |out| {
        out.write_all(wasm).map_err(|source| profile::Error::Write {
            format: "wasm",
            source,
        })
    });
    saved.map_err(|error| exit::with_status(exit::NOT_WRITTEN, format!("failed to {error}")))
}
