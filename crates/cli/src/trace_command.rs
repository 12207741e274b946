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
use anyhow::{Result, anyhow};
use std::io::{self, Write as _};
use wasmscope::{Guest, Listened, ListenedComponent, Listening};
use wasmscope_listen::Definition;
use wasmscope_trace::Tracer;
use wasmtime::Engine;
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
    progress.phase(&format!("compiling {}", file.name));
    let engine = engine::new(&plan.guest.settings)?;
    let tracer = tracer(plan, &file.name, file.kind);
    let listening = Listening::builder(tracer.clone())
        // Where an adapter gives WASI p1 to core modules, what they point at is decoded.
        .component_memory(file.kind == Kind::Component)
        .exit_status(|error| error.downcast_ref::<I32Exit>().map(|exit| exit.0))
        .build();
    let listened = Traced::compile(&listening, &engine, &file)
        .map_err(|error| anyhow!("{}: failed to {error}", file.name))?;
    if !listened.has_probes() && !plan.quiet {
        terminal::warning(&format!(
            "{}: no function is traced: --functions or --imports leaves none",
            file.name
        ));
    }
    let compiled = listened.compiled();
    let watch = Watch::Listening(listening);
    let running = Running::start(&plan.guest, &file.name, &compiled, watch, progress)?;
    let end = running.wait(progress, || format!("{} calls", tracer.counts().opens));
    progress.clear();
    // A guest that could not be started has no trace.
    let finished = match end.is_run() {
        true => tracer.finish(),
        false => Ok(tracer.counts()),
    };
    if listened.lost() > 0 && !plan.quiet {
        terminal::warning(&format!(
            "{}: {} calls within realloc or post-return are not in the trace: there was no room \
             to keep them until they could be told",
            file.name,
            listened.lost()
        ));
    }
    let status = end.report(&file.name, plan.quiet, || listened.guest(&file.name))?;
    finished.map_err(|error| exit::with_status(exit::NOT_WRITTEN, format!("failed to {error}")))?;
    Ok(status)
}

/// A guest with probes. It is kept as long as the guest runs.
enum Traced {
    Module(Listened),
    Component(ListenedComponent),
}

impl Traced {
    fn compile(
        listening: &Listening,
        engine: &Engine,
        file: &GuestFile,
    ) -> Result<Self, wasmscope::Error> {
        let bytes = file.bytes.clone();
        match file.kind {
            Kind::Module => listening.compile(engine, bytes).map(Self::Module),
            Kind::Component => listening
                .compile_component(engine, bytes)
                .map(Self::Component),
        }
    }

    fn has_probes(&self) -> bool {
        match self {
            Self::Module(module) => module.probed().len() > 0,
            Self::Component(component) => component.probed().next().is_some(),
        }
    }

    fn compiled(&self) -> Compiled {
        match self {
            Self::Module(module) => Compiled::Module(module.module().clone()),
            Self::Component(component) => Compiled::Component(component.component().clone()),
        }
    }

    /// Describes it as what it was before it got probes.
    fn guest(&self, name: &str) -> Guest {
        match self {
            Self::Module(module) => Guest::listened(name, module),
            Self::Component(component) => Guest::listened_component(name, component),
        }
    }

    /// Returns how many events could not be kept until they could be told.
    fn lost(&self) -> u64 {
        match self {
            Self::Module(_) => 0,
            Self::Component(component) => component.lost(),
        }
    }
}

fn tracer(plan: &TracePlan, title: &str, kind: Kind) -> Tracer {
    let select = match kind {
        Kind::Component => plan.select.clone().of_component(),
        Kind::Module => plan.select.clone(),
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
