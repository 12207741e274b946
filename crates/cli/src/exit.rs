//! The exit statuses of the program, in one table that `--help` shows as well.

use std::fmt;

/// A setting that cannot be, wherever it was noticed.
pub(crate) const USAGE: i32 = 2;
/// The guest could not be run.
pub(crate) const NOT_RUN: i32 = 1;
/// The time given with `--timeout` was over.
pub(crate) const TIMEOUT: i32 = 124;
/// The guest ran, but what was seen of it could not be written.
pub(crate) const NOT_WRITTEN: i32 = 125;
/// The guest trapped: 128 and the number of SIGABRT, as `wasmtime run` has it.
pub(crate) const TRAP: i32 = 134;
/// Ctrl-C: 128 and the number of SIGINT.
pub(crate) const INTERRUPTED: i32 = 130;
/// 128 and the number of SIGTERM.
pub(crate) const TERMINATED: i32 = 143;

/// What `profile --help` says about them.
pub(crate) const PROFILE_HELP: &str = "\
Exit status:
  N    what the guest exited with
  1    the guest could not be run, or failed other than by a trap
  2    an option or argument is wrong
  124  --timeout was over
  125  the profile could not be written
  130  Ctrl-C
  134  the guest trapped
  143  SIGTERM
The profile is written in all cases but 1 before the run, 2 and 125.";

/// What `trace --help` says about them.
pub(crate) const TRACE_HELP: &str = "\
Exit status:
  N    what the guest exited with
  1    the guest could not be run, or failed other than by a trap
  2    an option or argument is wrong
  124  --timeout was over
  125  the trace could not be written, or not to its end
  130  Ctrl-C
  134  the guest trapped
  143  SIGTERM
When the trace cannot be written any more the guest goes on to its end without.";

/// What `backtrace --help` says about them.
pub(crate) const BACKTRACE_HELP: &str = "\
Exit status:
  N    what the guest exited with; 0 for a core dump
  1    the guest could not be run, or failed other than by a trap; a damaged core dump
  2    an option or argument is wrong
  124  --timeout was over
  125  the stack or the core dump could not be written
  130  Ctrl-C
  134  the guest trapped
  143  SIGTERM";

/// What `instrument --help` says about them.
pub(crate) const INSTRUMENT_HELP: &str = "\
Exit status:
  0    the module was rewritten
  1    it could not be read, or cannot be rewritten
  2    an option or argument is wrong
  125  the new module could not be written; a file that was there before is as it was";

/// An error with an exit status of its own.
#[derive(Debug)]
pub(crate) struct WithStatus {
    status: i32,
    message: String,
}

impl fmt::Display for WithStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for WithStatus {}

/// Returns a usage error with this message.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    with_status(USAGE, message)
}

/// Returns an error with this exit status.
pub(crate) fn with_status(status: i32, message: impl Into<String>) -> anyhow::Error {
    let message = message.into();
    WithStatus { status, message }.into()
}

/// Returns the exit status for an error that ends the program.
pub(crate) fn status_of(error: &anyhow::Error) -> i32 {
    error
        .downcast_ref::<WithStatus>()
        .map_or(NOT_RUN, |error| error.status)
}
