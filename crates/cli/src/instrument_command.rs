//! `wasmscope instrument`: rewrites a module or a component into a file.

use crate::args::InstrumentArgs;
use crate::guest_file::{GuestFile, Kind};
use crate::plan::InstrumentPlan;
use crate::select::Select;
use crate::{exit, terminal};
use anyhow::{Result, anyhow};
use wasmscope::profile;
use wasmscope_instrument::component::{self, Candidate, Component, RewrittenModule};
use wasmscope_instrument::dwarf::Outcome;
use wasmscope_instrument::{Dwarf, Function, Module, Options};
use wasmscope_listen::component::{ComponentFunction, Direction, FunctionType};
use wasmscope_listen::{Definition, FuncIndex};

/// Runs the subcommand and returns the program's exit status.
///
/// # Errors
///
/// What is wrong with the flags, the guest or the output.
pub(crate) fn run(args: InstrumentArgs) -> Result<i32> {
    let plan = InstrumentPlan::new(args)?;
    let file = GuestFile::read(&plan.input)?;
    let options = Options {
        dwarf: Dwarf::Rewrite,
        ..Options::default()
    };
    let rewritten = match file.kind {
        Kind::Module => module(&plan, &file, &options),
        Kind::Component => whole_component(&plan, &file, &options),
    }?;
    save(&plan, &rewritten.wasm)?;
    for warning in &rewritten.warnings {
        terminal::warning(&format!("{}: {warning}", file.name));
    }
    if !plan.quiet {
        terminal::say(&format!(
            "{} of {} functions have a probe; {} has {} bytes, {} had {}",
            rewritten.probes,
            rewritten.functions,
            plan.output.display(),
            rewritten.wasm.len(),
            file.name,
            file.bytes.len(),
        ));
    }
    Ok(0)
}

/// What became of a guest.
struct Rewritten {
    wasm: Vec<u8>,
    probes: usize,
    functions: usize,
    warnings: Vec<String>,
}

fn chosen(select: &Select, functions: &[Function<'_>]) -> Vec<bool> {
    let functions = functions.iter();
    functions
        .map(|function| select.is_chosen(function))
        .collect()
}

fn module(plan: &InstrumentPlan, file: &GuestFile, options: &Options) -> Result<Rewritten> {
    let failed = |error| anyhow!("{}: failed to {error}", file.name);
    let module = Module::parse(&file.bytes).map_err(failed)?;
    let chosen = chosen(&plan.select, module.functions());
    let rewritten = module
        .rewrite(options, &|function| chosen[function.0 as usize])
        .map_err(failed)?;
    let skipped = rewritten.skipped.iter();
    let mut warnings: Vec<_> = skipped
        .map(|(function, reason)| format!("function {function} has no probe: {reason}"))
        .collect();
    warnings.extend(left_out(&rewritten.debug));
    Ok(Rewritten {
        wasm: rewritten.wasm,
        probes: rewritten.probes.len(),
        functions: chosen.len(),
        warnings,
    })
}

fn left_out(debug: &Outcome) -> Option<String> {
    match debug {
        Outcome::LeftOut(reason) => Some(format!("the debug information is left out: {reason}")),
        _ => None,
    }
}

fn whole_component(
    plan: &InstrumentPlan,
    file: &GuestFile,
    options: &Options,
) -> Result<Rewritten> {
    let failed = |error| anyhow!("{}: failed to {error}", file.name);
    let component = Component::parse(&file.bytes).map_err(failed)?;
    let select = plan.select.clone().of_component();
    let modules = component.modules().iter();
    let core: Vec<_> = modules
        .map(|nested| chosen(&select, nested.module.functions()))
        .collect();
    let functions = component.functions().iter();
    let functions: Vec<_> = functions
        .map(|function| select.is_chosen(&definition(function)))
        .collect();
    let rewritten = component
        .rewrite(options, &|candidate| match candidate {
            Candidate::Core { module, function } => core[module][function.0 as usize],
            Candidate::Function(function) => functions[function],
        })
        .map_err(failed)?;
    let mut warnings = Vec::new();
    let mut probes = functions.iter().filter(|chosen| **chosen).count();
    for module in &rewritten.modules {
        let RewrittenModule::Original(module) = module else {
            continue;
        };
        let index = module.index;
        probes += module.probes.len();
        for (function, reason) in &module.skipped {
            warnings.push(format!(
                "function {function} of core module {index} has no probe: {reason}"
            ));
        }
        let left_out = left_out(&module.debug);
        warnings.extend(left_out.map(|what| format!("core module {index}: {what}")));
    }
    Ok(Rewritten {
        wasm: rewritten.wasm,
        probes,
        functions: functions.len() + core.iter().map(Vec::len).sum::<usize>(),
        warnings,
    })
}

/// Describes a component function as far as it is chosen by that.
fn definition(function: &component::ComponentFunction) -> Definition {
    let direction = match function.direction {
        component::Direction::Export => Direction::Export,
        component::Direction::Import => Direction::Import,
    };
    let name = function.name.as_deref().unwrap_or_default();
    let ty = FunctionType::new::<&str>([], None);
    let mut described = ComponentFunction::new(direction, name, ty);
    described.interface.clone_from(&function.interface);
    Definition::guest(FuncIndex(0)).of_component(described)
}

/// Writes the new file, whole or not at all.
fn save(plan: &InstrumentPlan, wasm: &[u8]) -> Result<()> {
    let saved = profile::save_with(&plan.output, |out| {
        out.write_all(wasm).map_err(|source| profile::Error::Write {
            format: "wasm",
            source,
        })
    });
    saved.map_err(|error| exit::with_status(exit::NOT_WRITTEN, format!("failed to {error}")))
}
