//! `wasmscope trace`: runs a guest and prints its calls as they happen.

use crate::args::TraceArgs;
use crate::engine::{self, Compiled};
use crate::exit;
use crate::guest_file::{GuestFile, Kind};
use crate::plan::{GuestPlan, TracePlan};
use crate::progress::Progress;
use crate::run::Watch;
use crate::select;
use crate::terminal;
use crate::trace_file::TraceFile;
use crate::waiting::Running;
use anyhow::{Result, anyhow, bail};
use std::io::{self, Write as _};
use wasmscope::Listening;
use wasmscope_listen::Definition;
use wasmscope_trace::Tracer;
use wasmtime_wasi::I32Exit;

/// Runs the subcommand and returns the program's exit status.
///
/// # Errors
///
/// What is wrong with the flags, the guest or the output.
pub(crate) fn run(args: Box<TraceArgs>) -> Result<i32> {
    if let Some(help) = GuestPlan::help(&args.guest) {
        io::stdout().write_all(help.as_bytes())?;
        return Ok(0);
    }
    let plan = TracePlan::new(*args)?;
    // Where the trace itself is seen it is progress enough.
    let mut progress = Progress::new(plan.quiet || plan.output.is_none());
    let result = trace(&plan, &mut progress);
    progress.clear();
    result
}

fn trace(plan: &TracePlan, progress: &mut Progress) -> Result<i32> {
    let file = GuestFile::read(&plan.guest.file)?;
    if file.kind == Kind::Component {
        bail!(
            "{}: this is a component; only core modules can be traced so far",
            file.name
        );
    }
    progress.phase(&format!("compiling {}", file.name));
    let engine = engine::new(&plan.guest.settings)?;
    let tracer = tracer(plan, &file.name, file.kind);
    let listening = Listening::builder(tracer.clone())
        .exit_status(|error| error.downcast_ref::<I32Exit>().map(|exit| exit.0))
        .build();
    let listened = listening
        .compile(&engine, file.bytes.clone())
        .map_err(|error| anyhow!("{}: failed to {error}", file.name))?;
    if listened.probed().len() == 0 && !plan.quiet {
        terminal::warning(&format!(
            "{}: no function is traced: --functions or --imports leaves none",
            file.name
        ));
    }
    let compiled = Compiled::Module(listened.module().clone());
    let watch = Watch::Listening(listening);
    let running = Running::start(&plan.guest, &file.name, &compiled, watch, progress)?;
    let end = running.wait(progress, || format!("{} calls", tracer.counts().opens));
    progress.clear();
    // A guest that could not be started has no trace.
    let finished = match end.is_run() {
        true => tracer.finish(),
        false => Ok(tracer.counts()),
    };
    let status = end.report(&file.name, plan.quiet, true)?;
    finished.map_err(|error| exit::with_status(exit::NOT_WRITTEN, format!("failed to {error}")))?;
    Ok(status)
}

fn tracer(plan: &TracePlan, title: &str, kind: Kind) -> Tracer {
    let select = match kind {
        Kind::Component => plan.select.clone().of_component(),
        _ => plan.select.clone(),
    };
    let mut builder = Tracer::builder()
        .title(title)
        .format(plan.format)
        .limits(plan.limits)
        .select(move |definition| select.is_chosen(definition))
        .names(display_name);
    if let Some(depth) = plan.depth {
        builder = builder.depth(depth);
    }
    match &plan.output {
        Some(path) => builder.write_to(TraceFile::new(path.clone())),
        // Each event at once, so that it stands before what the guest writes after it.
        None => builder
            .direct(true)
            .coloured(terminal::is_coloured())
            .write_to(io::stderr()),
    }
}

/// Returns a function's name as people write it, where it has one.
fn display_name(definition: &Definition) -> Option<String> {
    let raw = definition.name.as_deref()?;
    Some(select::demangled(raw, definition.index))
}
