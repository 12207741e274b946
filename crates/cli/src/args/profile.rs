//! The flags of `wasmscope profile`.

use super::guest::GuestArgs;
use crate::{duration, exit};
use clap::ValueEnum;
use std::path::PathBuf;
use std::time::Duration;
use wasmscope::{Format, Rate};

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
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::PROFILE_HELP))]
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

    #[command(flatten)]
    pub(crate) guest: GuestArgs,
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
