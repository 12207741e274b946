//! `wasmscope profile`: runs a guest, samples it, and writes the profile whatever
//! ends the run.

use crate::args::ProfileArgs;
use crate::engine::Compiled;
use crate::guest_file::GuestFile;
use crate::partial::Partial;
use crate::plan::{GuestPlan, ProfilePlan};
use crate::progress::Progress;
use crate::run::Watch;
use crate::waiting::Running;
use crate::{table, terminal};
use anyhow::{Result, anyhow};
use std::io::{self, Write as _};
use wasmscope::{Profile, Profiler, Registration};

/// Runs the subcommand and returns the program's exit status.
///
/// # Errors
///
/// What is wrong with the flags, the guest or the output.
pub(crate) fn run(args: Box<ProfileArgs>) -> Result<i32> {
    if let Some(help) = GuestPlan::help(&args.guest) {
        io::stdout().write_all(help.as_bytes())?;
        return Ok(0);
    }
    let plan = ProfilePlan::new(*args)?;
    let mut progress = Progress::new(plan.quiet);
    let result = profile(&plan, &mut progress);
    progress.clear();
    result
}

fn profile(plan: &ProfilePlan, progress: &mut Progress) -> Result<i32> {
    let file = GuestFile::read(&plan.guest.file)?.with_debug_file(plan.debug_file.as_deref())?;
    progress.phase(&format!("compiling {}", file.name));
    let compiled = Compiled::new(&file, &plan.guest.settings)?;
    let (profiler, _registration) = profiler(plan, &file, &compiled)?;

    let watch = Watch::Profiler {
        profiler: profiler.clone(),
        host_calls: plan.host_calls,
    };
    let running = Running::start(&plan.guest, &file.name, &compiled, watch, progress)?;
    let partial = Partial::start(&plan.output, &profiler)?;
    let end = running.wait(progress, || {
        let counts = profiler.accounting();
        format!("{} samples, {} kept", counts.due, counts.kept)
    });

    // It writes no more before the recording is taken, or it would write what is left.
    let partial = partial.map(Partial::stop);
    let recording = profiler.take();
    progress.clear();
    let guest = || compiled.guest(&file);
    let is_below_stack = end.is_failure();
    let status = match end.report(&file.name, plan.quiet, guest) {
        Ok(status) => status,
        Err(error) => {
            if let Some(partial) = partial {
                partial.remove();
            }
            return Err(error);
        }
    };

    progress.phase(&format!("naming the functions of {}", file.name));
    let profile = recording.profile();
    progress.clear();
    for (guest, problem) in recording.problems() {
        terminal::warning(&format!(
            "{guest}: {problem}; some names or lines are missing"
        ));
    }
    let saved = plan.output.save(&profile);
    if !plan.quiet {
        if is_below_stack {
            terminal::say("");
        }
        report(plan, &profile, saved.is_ok());
    }
    saved?;
    if let Some(partial) = partial {
        partial.remove();
    }
    Ok(status)
}

fn profiler(
    plan: &ProfilePlan,
    file: &GuestFile,
    compiled: &Compiled,
) -> Result<(Profiler, Registration)> {
    let guest = compiled.guest(file);
    let profiler = Profiler::builder()
        .product(&file.name)
        .clock(plan.clock)
        .rate(plan.rate)
        .host_frames(plan.host_frames)
        .start()
        .map_err(|error| anyhow!("failed to {error}"))?;
    let registration = profiler
        .register(guest)
        .map_err(|error| anyhow!("failed to {error}"))?;
    Ok((profiler, registration))
}

fn report(plan: &ProfilePlan, profile: &Profile, is_saved: bool) {
    if profile.samples().len() == 0 {
        terminal::say(
            "no samples: the guest ended before one was due; give it more to do, or raise --rate",
        );
    } else if plan.top > 0 {
        terminal::say(&table::hottest(profile, plan.top, terminal::width()));
    }
    terminal::say(&table::accounting(profile));
    if is_saved {
        terminal::say(&plan.output.how_to_open());
    }
}
