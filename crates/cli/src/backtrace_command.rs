//! `wasmscope backtrace`: runs a guest, and shows its stack when it fails.

use crate::args::BacktraceArgs;
use crate::backtrace::{self, Account};
use crate::engine::Compiled;
use crate::guest_file::{self, GuestFile};
use crate::plan::{BacktracePlan, GuestPlan};
use crate::progress::Progress;
use crate::run::{Ending, Failures, Seen, Watch};
use crate::waiting::{End, Running};
use crate::{exit, terminal};
use anyhow::{Result, anyhow};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;
use wasmscope::{ExplainedGuest, Explainer, Extent, Frame, Walker};
use wasmscope_coredump::CoreDump;

/// How long a guest whose time is over has to come to the next loop or function.
const TO_STOP: Duration = Duration::from_secs(2);
/// How long its thread has to say where it is.
const TO_ANSWER: Duration = Duration::from_secs(10);

/// Runs the subcommand and returns the program's exit status.
///
/// # Errors
///
/// What is wrong with the flags, the guest or the output.
pub(crate) fn run(args: Box<BacktraceArgs>) -> Result<i32> {
    if let Some(help) = GuestPlan::help(&args.guest) {
        io::stdout().write_all(help.as_bytes())?;
        return Ok(0);
    }
    let plan = BacktracePlan::new(*args)?;
    let mut progress = Progress::new(plan.quiet);
    let result = backtrace(&plan, &mut progress);
    progress.clear();
    result
}

fn backtrace(plan: &BacktracePlan, progress: &mut Progress) -> Result<i32> {
    let bytes = guest_file::read(&plan.guest.file)?;
    // Modules are given for nothing else.
    if CoreDump::is_core_dump(&bytes) || !plan.modules.is_empty() {
        return of_dump(plan, &bytes);
    }
    let file = GuestFile::from_bytes(&plan.guest.file, bytes)?
        .with_debug_file(plan.debug_file.as_deref())?;
    progress.phase(&format!("compiling {}", file.name));
    let has_deadline = plan.guest.timeout.is_some();
    let compiled = Compiled::with(&file, &plan.guest.settings, |config| {
        // What stops a guest whose time is over, with its stack.
        config.epoch_interruption(has_deadline);
        config.coredump_on_trap(plan.coredump.is_some());
    })?;
    let explainer = Explainer::new();
    let _guest = register(&file, &compiled, &explainer)?;

    let mut failures = Failures::new(explainer, has_deadline);
    if let Some(path) = &plan.coredump {
        failures = failures.dump_to(&file.name, path.clone());
    }
    let watch = Watch::Failures(failures.clone());
    let running = Running::start(&plan.guest, &file.name, &compiled, watch, progress)?;
    let mut end = running.wait(progress, String::new);
    progress.clear();
    // What failed in time has a status of its own, however long it takes to say why.
    let failed_in_time = failures.is_failed();
    let timeout = match end {
        End::Timeout(after) => {
            compiled.engine().increment_epoch();
            let mut stopped = running.wait_for_guest(Some(TO_STOP));
            if stopped.is_none() && failures.is_failed() {
                // Its stack or its core dump takes long.
                stopped = running.wait_for_guest(None);
            }
            if let Some(stopped) = stopped {
                end = End::Guest(stopped);
            } else {
                match where_it_is(&file, &compiled, &running) {
                    Ok((frames, extent)) => {
                        let account = Account::Stuck {
                            guest: file.name.clone(),
                            after,
                            frames,
                            extent,
                            status: exit::TIMEOUT,
                        };
                        backtrace::show(&account, &plan.show)?;
                        if plan.coredump.is_some() {
                            terminal::warning(
                                "no core dump is written: the guest cannot be stopped where it is",
                            );
                        }
                        return Ok(exit::TIMEOUT);
                    }
                    Err(error) => terminal::warning(&format!(
                        "{}: it cannot be stopped where it is, and its stack is not known: {error:#}",
                        file.name
                    )),
                }
            }
            Some(after)
        }
        _ => None,
    };
    let seen = failures.take();
    let status = match (&end, timeout) {
        (End::Guest(Ending::Failed(_)), Some(_)) if !failed_in_time => exit::TIMEOUT,
        (End::Guest(ending), _) => ending.status(),
        _ => exit::TIMEOUT,
    };
    let Some(Seen { failure, dumped }) = seen.filter(|_| end.is_run()) else {
        return end.report(&file.name, plan.quiet, || compiled.guest(&file));
    };
    let account = Account::Failure {
        guest: file.name.clone(),
        failure,
        status,
    };
    backtrace::show(&account, &plan.show)?;
    match dumped {
        None | Some(Ok(())) => Ok(status),
        Some(Err(wasmscope::Error::NoCoreDump)) => {
            terminal::warning("no core dump is written: no guest ran when this failed");
            Ok(status)
        }
        Some(Err(error)) => {
            let message = format!("failed to {error}");
            Err(exit::with_status(exit::NOT_WRITTEN, message))
        }
    }
}

/// Asks a guest's thread where it is.
fn where_it_is(
    file: &GuestFile,
    compiled: &Compiled,
    running: &Running<'_>,
) -> Result<(Vec<Arc<Frame>>, Extent)> {
    let thread = running
        .thread()
        .ok_or_else(|| anyhow!("its thread is not known"))?;
    let failed = |error: wasmscope::Error| anyhow!("failed to {error}");
    let walker = Walker::new().map_err(failed)?;
    let _guest = walker.register(compiled.guest(file)).map_err(failed)?;
    let backtrace = walker.capture_thread(thread, TO_ANSWER).map_err(failed)?;
    if backtrace.frames().len() == 0 {
        return Err(anyhow!("no guest is on its thread"));
    }
    let extent = match backtrace.end().is_whole() {
        true => Extent::Whole,
        false => Extent::Newest,
    };
    Ok((walker.name(&backtrace), extent))
}

/// Shows what is in a core dump.
fn of_dump(plan: &BacktracePlan, bytes: &[u8]) -> Result<i32> {
    let path = &plan.guest.file;
    let is_run = plan.guest.invoke.is_some() || plan.coredump.is_some();
    if is_run || !plan.guest.arguments.is_empty() {
        return Err(exit::usage(format!(
            "{}: this is a core dump, which is not run: it takes no arguments, no --invoke and no \
             --coredump",
            path.display()
        )));
    }
    let debug_file = plan.debug_file.as_deref();
    let (account, is_whole) = backtrace::read_dump(path, bytes, &plan.modules, debug_file)?;
    backtrace::show(&account, &plan.show)?;
    Ok(if is_whole { 0 } else { exit::NOT_RUN })
}

fn register(
    file: &GuestFile,
    compiled: &Compiled,
    explainer: &Explainer,
) -> Result<ExplainedGuest> {
    explainer
        .register(compiled.guest(file))
        .map_err(|error| anyhow!("failed to {error}"))
}
