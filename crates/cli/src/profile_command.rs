//! `wasmscope profile`: runs a guest, samples it, and writes the profile whatever
//! ends the run.

use crate::args::ProfileArgs;
use crate::engine::Compiled;
use crate::guest_file::{self, GuestFile};
use crate::partial::Partial;
use crate::plan::{self, Plan};
use crate::progress::Progress;
use crate::run::{self, Ending};
use crate::signals::{self, Interrupt};
use crate::{duration, exit, table, terminal};
use anyhow::{Context, Result, anyhow};
use std::io::{self, Write as _};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use wasmscope::{Profile, Profiler, Registration};

/// What the main thread hears of.
enum Event {
    /// Sampling has begun, and the guest now runs.
    Started,
    End(End),
}

/// What ends a run.
enum End {
    Guest(Ending),
    Interrupt(Interrupt),
    Timeout(Duration),
}

/// Runs the subcommand and returns the program's exit status.
///
/// # Errors
///
/// What is wrong with the flags, the guest or the output.
pub(crate) fn run(args: Box<ProfileArgs>) -> Result<i32> {
    if let Some(help) = plan::help(&args) {
        io::stdout().write_all(help.as_bytes())?;
        return Ok(0);
    }
    let plan = Plan::new(*args)?;
    let mut progress = Progress::new(plan.quiet);
    let result = profile(&plan, &mut progress);
    progress.clear();
    result
}

fn profile(plan: &Plan, progress: &mut Progress) -> Result<i32> {
    let file = GuestFile::read(&plan.guest)?;
    progress.phase(&format!("compiling {}", file.name));
    let compiled = Compiled::new(&file, &plan.settings)?;
    let (profiler, _registration) = profiler(plan, &file, &compiled)?;

    let (sender, events) = mpsc::channel();
    let interrupts = sender.clone();
    signals::listen(move |interrupt| {
        let _ = interrupts.send(Event::End(End::Interrupt(interrupt)));
    })?;
    let starts = sender.clone();
    let started = move || {
        let _ = starts.send(Event::Started);
    };
    let done = move |ending| {
        let _ = sender.send(Event::End(End::Guest(ending)));
    };
    run::start(
        plan,
        &file.name,
        &compiled,
        &profiler,
        progress.line(),
        started,
        done,
    )?;
    let partial = Partial::start(&plan.output, &profiler)?;
    let end = wait(plan, &file.name, &events, &profiler, progress);

    let recording = profiler.take();
    progress.clear();
    let status = match end {
        End::Guest(Ending::NotRun(error)) => {
            if let Some(partial) = partial {
                partial.stop().remove();
            }
            return Err(error);
        }
        End::Guest(ending) => {
            let status = ending.status();
            if let Ending::Failed(error) = ending {
                let error = error.context(format!("failed to run {}", file.name));
                terminal::say(&format!("Error: {error:?}"));
            }
            status
        }
        End::Interrupt(interrupt) => interrupt.status(),
        End::Timeout(after) => {
            if !plan.quiet {
                terminal::say(&format!(
                    "{}: ended after {}",
                    file.name,
                    duration::show(after)
                ));
            }
            exit::TIMEOUT
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
    // Not while the other one is being written, so that it is not left behind.
    let partial = partial.map(Partial::stop);
    let saved = plan.output.save(&profile);
    if !plan.quiet {
        report(plan, &profile, saved.is_ok());
    }
    saved?;
    if let Some(partial) = partial {
        partial.remove();
    }
    Ok(status)
}

fn profiler(
    plan: &Plan,
    file: &GuestFile,
    compiled: &Compiled,
) -> Result<(Profiler, Registration)> {
    let mut guest = compiled.describe(&file.name).bytes(file.bytes.clone());
    if let Some(path) = &plan.debug_file {
        let bytes = guest_file::read(path).context("--debug-file")?;
        guest = guest.debug_bytes(bytes);
    }
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

/// Waits for what ends the run, drawing the progress line meanwhile.
fn wait(
    plan: &Plan,
    name: &str,
    events: &Receiver<Event>,
    profiler: &Profiler,
    progress: &mut Progress,
) -> End {
    let mut deadline = None;
    loop {
        let left =
            deadline.map(|deadline: Instant| deadline.saturating_duration_since(Instant::now()));
        let pause = left.map_or(Progress::EVERY, |left| left.min(Progress::EVERY));
        match events.recv_timeout(pause) {
            Ok(Event::End(end)) => return end,
            Ok(Event::Started) => {
                progress.phase(&format!("running {name}"));
                deadline = plan
                    .timeout
                    .and_then(|timeout| Instant::now().checked_add(timeout));
            }
            Err(RecvTimeoutError::Timeout) => {
                let counts = profiler.accounting();
                progress.samples(name, counts.due, counts.kept);
            }
            Err(RecvTimeoutError::Disconnected) => {
                let error = anyhow!("the guest's thread ended without a word");
                return End::Guest(Ending::NotRun(error));
            }
        }
        if let Some(timeout) = plan.timeout
            && deadline.is_some_and(|deadline| Instant::now() >= deadline)
        {
            return End::Timeout(timeout);
        }
    }
}

fn report(plan: &Plan, profile: &Profile, is_saved: bool) {
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
