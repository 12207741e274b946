//! The flags as they are given. What they mean together is [`crate::plan`]'s.

mod backtrace;
mod guest;
mod instrument;
mod profile;
mod select;
mod trace;

pub(crate) use backtrace::{BacktraceArgs, ColorArg, StackFormat};
pub(crate) use guest::GuestArgs;
pub(crate) use instrument::InstrumentArgs;
pub(crate) use profile::{ClockArg, ProfileArgs, Threshold};
pub(crate) use select::SelectArgs;
pub(crate) use trace::TraceArgs;

use clap::{Parser, Subcommand};

/// Shows what WebAssembly guests do, from inside the host that runs them.
#[derive(Debug, Parser)]
#[command(name = "wasmscope", version, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a guest and sample where its time goes
    ///
    /// GUEST is a core module or a component, as binary or as text: a WASI command (p1 or p2),
    /// or, with --invoke, anything that exports a function. What the guest reads and writes, and
    /// its exit status, stay its own; the table of its hottest functions goes to standard error,
    /// the profile to a file.
    Profile(Box<ProfileArgs>),

    /// Run a guest and print its calls as they happen
    ///
    /// Calls are nested, with their values and results; calls of WASI p1 say what they do, with
    /// paths, flags and what is read and written. GUEST is a core module, as binary or as text: a
    /// WASI command (p1), or, with --invoke, anything that exports a function. What the guest reads
    /// and writes, and its exit status, stay its own.
    Trace(Box<TraceArgs>),

    /// Run a guest and, when it fails, show the whole stack with its source; or read a core dump
    ///
    /// GUEST is a core module or a component, as binary or as text: a WASI command (p1 or p2),
    /// or, with --invoke, anything that exports a function. What the guest reads and writes, and
    /// its exit status, stay its own; nothing is printed when it ends well. Lines and inlined
    /// calls come from the guest's DWARF, the source from the files that it names; modules in
    /// text form are their own source. A core dump is read, and nothing run: its frames
    /// are named from the binaries that --module gives.
    Backtrace(Box<BacktraceArgs>),

    /// Rewrite a module or component so that its host hears of its calls, and do not run it
    ///
    /// The new module imports its hooks from the module `wasmscope`, a new component from the
    /// instance `wasmscope-x`; what they are is said where the library has them. Names stay as
    /// they are, debug information is rewritten.
    Instrument(InstrumentArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_guest_s_own_flags_are_left_to_it() {
        let args = [
            "wasmscope",
            "profile",
            "--rate",
            "99",
            "a.wasm",
            "--rate",
            "-o",
            "x",
        ];
        let Command::Profile(args) = Args::try_parse_from(args).unwrap().command else {
            panic!("another command");
        };
        assert_eq!(args.guest.guest, ["a.wasm", "--rate", "-o", "x"]);
        assert_eq!(args.rate.get(), 99);
        assert_eq!(args.output, None);
    }
}
