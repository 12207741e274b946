//! The flags as they are given. What they mean together is [`crate::plan`]'s.

use crate::{duration, exit};
use clap::{Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use wasmscope::{Format, Rate};

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
}

const EXAMPLES: &str = "\
Examples:
  wasmscope profile app.wasm                      leaves app.profile.json.gz
  wasmscope profile -o app.svg app.wasm input     a flame graph, with an argument for the guest
  wasmscope profile -o app.pb.gz app.wasm         for `go tool pprof`
  wasmscope profile --clock cpu --rate 5000 app.wasm
  wasmscope profile --dir . --env LANG=C app.wasm --verbose
  wasmscope profile --invoke fib module.wat 32
  wasmscope profile --timeout 10s server.wasm     what it did in the first ten seconds";

/// The flags of `wasmscope profile`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "wasmscope profile [OPTIONS] <GUEST> [ARGS]...")]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(crate) struct ProfileArgs {
    /// Where the profile goes; by default NAME.profile.json.gz in this directory
    ///
    /// The ending says the format: .json.gz or .json (Firefox Profiler), .pb.gz or .pb (pprof),
    /// .folded, .svg. While a guest runs for longer than a second, what is known so far is kept
    /// beside it with `.partial` in its name, in case the program is killed.
    #[arg(short, long, value_name = "FILE", help_heading = "Profile")]
    pub(crate) output: Option<PathBuf>,

    /// The format, whatever the file's ending: firefox, pprof, folded, svg
    #[arg(long, value_name = "FORMAT", value_parser = format, help_heading = "Profile")]
    pub(crate) format: Option<Format>,

    /// Samples a second, of the sampled clock, between 1 and 20000
    #[arg(long, value_name = "HZ", default_value = "1000", value_parser = rate,
          help_heading = "Profile")]
    pub(crate) rate: Rate,

    /// Which time is sampled: as it passes, also while the guest waits, or on a processor only
    #[arg(long, value_enum, default_value_t = ClockArg::Wall, help_heading = "Profile")]
    pub(crate) clock: ClockArg,

    /// Keep the host's own frames, between and above those of the guest
    #[arg(long, help_heading = "Profile")]
    pub(crate) host_frames: bool,

    /// Show host calls that take at least this long as markers; `off`: none
    #[arg(long, value_name = "DURATION", default_value = "100us", value_parser = threshold,
          help_heading = "Profile")]
    pub(crate) host_calls: Threshold,

    /// A second binary that holds the DWARF of a stripped guest
    #[arg(long, value_name = "FILE", help_heading = "Profile")]
    pub(crate) debug_file: Option<PathBuf>,

    /// Rows of the table of hottest functions; 0: no table
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Profile")]
    pub(crate) top: usize,

    /// Say nothing on standard error but errors and warnings
    #[arg(short, long, help_heading = "Profile")]
    pub(crate) quiet: bool,

    /// End the guest after this long, for example 10s or 500ms, and write the profile
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, help_heading = "Guest")]
    pub(crate) timeout: Option<Duration>,

    /// Let the guest use a directory of the host, under the same or another name
    #[arg(long = "dir", value_name = "HOST[::GUEST]", help_heading = "Guest")]
    pub(crate) dirs: Vec<String>,

    /// Give the guest an environment variable, or without a value that of this process
    #[arg(long = "env", value_name = "NAME[=VALUE]", help_heading = "Guest")]
    pub(crate) envs: Vec<String>,

    /// Call this export, with ARGS as its arguments, and print what it returns
    #[arg(long, value_name = "FUNC", help_heading = "Guest")]
    pub(crate) invoke: Option<String>,

    /// Optimisation and tuning; `-O help` lists what there is
    #[arg(
        short = 'O',
        long = "optimize",
        value_name = "KEY[=VAL[,..]]",
        help_heading = "Engine"
    )]
    pub(crate) optimize: Vec<String>,

    /// Code generation, such as compiler=winch; `-C help` lists what there is
    #[arg(
        short = 'C',
        long = "codegen",
        value_name = "KEY[=VAL[,..]]",
        help_heading = "Engine"
    )]
    pub(crate) codegen: Vec<String>,

    /// Wasm proposals and limits, such as max-memory-size=N; `-W help` lists what there is
    #[arg(
        short = 'W',
        long = "wasm",
        value_name = "KEY[=VAL[,..]]",
        help_heading = "Engine"
    )]
    pub(crate) wasm: Vec<String>,

    /// WASI, such as inherit-env; `-S help` lists what there is
    #[arg(
        short = 'S',
        long = "wasi",
        value_name = "KEY[=VAL[,..]]",
        help_heading = "Engine"
    )]
    pub(crate) wasi: Vec<String>,

    /// The guest: a .wasm or .wat file, and what it gets as arguments
    // One list, so that what follows the guest is the guest's, also when it looks
    // like a flag of ours.
    #[arg(
        value_name = "GUEST",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) guest: Vec<OsString>,
}

/// The clocks by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ClockArg {
    Wall,
    Cpu,
}

/// From how long on a host call is a marker; none when none is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Threshold(pub(crate) Option<Duration>);

fn format(text: &str) -> Result<Format, String> {
    Format::from_name(text).map_err(|error| format!("failed to {error}"))
}

fn rate(text: &str) -> Result<Rate, String> {
    let range = format!(
        "a rate is a whole number of samples a second, between {} and {}",
        Rate::MIN.get(),
        Rate::MAX.get()
    );
    let hertz: u32 = text.parse().map_err(|_| range.clone())?;
    Rate::hertz(hertz).map_err(|_| range)
}

fn threshold(text: &str) -> Result<Threshold, String> {
    match text {
        "off" => Ok(Threshold(None)),
        _ => duration::parse(text).map(|duration| Threshold(Some(duration))),
    }
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
        let Command::Profile(args) = Args::try_parse_from(args).unwrap().command;
        assert_eq!(args.guest, ["a.wasm", "--rate", "-o", "x"]);
        assert_eq!(args.rate.get(), 99);
        assert_eq!(args.output, None);
    }
}
