//! The flags of `wasmscope backtrace`.

use super::guest::GuestArgs;
use crate::exit;
use clap::ValueEnum;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  wasmscope backtrace app.wasm input             the stack, with source, when app.wasm fails
  wasmscope backtrace --invoke div module.wat 1 0
  wasmscope backtrace --source-dir ~/src/app app.wasm
  wasmscope backtrace --source-dir /build=. app.wasm
  wasmscope backtrace --format json -o stack.json app.wasm
  wasmscope backtrace --timeout 10s app.wasm     also where it is after ten seconds
  wasmscope backtrace --coredump app.core app.wasm
  wasmscope backtrace --module app.wasm app.core  what a core dump says";

/// The flags of `wasmscope backtrace`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "wasmscope backtrace [OPTIONS] <GUEST> [ARGS]...\n       \
                            wasmscope backtrace [OPTIONS] [--module <FILE>]... <DUMP>"
)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::BACKTRACE_HELP))]
pub(crate) struct BacktraceArgs {
    /// Where the stack goes; by default to standard error
    ///
    /// The file is written when the guest fails, and only then.
    #[arg(short, long, value_name = "FILE", help_heading = "Backtrace")]
    pub(crate) output: Option<PathBuf>,

    /// For people, or one JSON document for programs
    #[arg(long, value_enum, default_value_t = StackFormat::Text, help_heading = "Backtrace")]
    pub(crate) format: StackFormat,

    /// When to use colours: auto is on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, default_value_t = ColorArg::Auto, value_name = "WHEN",
          help_heading = "Backtrace")]
    pub(crate) color: ColorArg,

    /// Show each frame of a long recursion
    #[arg(long, help_heading = "Backtrace")]
    pub(crate) full: bool,

    /// How many lines of source are shown before and after each
    #[arg(
        long,
        value_name = "LINES",
        default_value_t = 2,
        help_heading = "Backtrace"
    )]
    pub(crate) context: u32,

    /// Show no source; files that the guest names are not opened
    #[arg(long, conflicts_with_all = ["source_dirs", "context"], help_heading = "Backtrace")]
    pub(crate) no_source: bool,

    /// Where the source is, if it is not where it was compiled; may be given several times
    ///
    /// With FROM, what stands there in paths is replaced. Without, a path is looked for in DIR,
    /// then without its first directory, and so on.
    #[arg(
        long = "source-dir",
        value_name = "[FROM=]DIR",
        help_heading = "Backtrace"
    )]
    pub(crate) source_dirs: Vec<String>,

    /// A second binary that holds the DWARF of a stripped guest
    #[arg(long, value_name = "FILE", help_heading = "Backtrace")]
    pub(crate) debug_file: Option<PathBuf>,

    /// Where a core dump of the guest goes when it fails
    ///
    /// Its memories, globals and stack, for this command or another reader of Wasm core dumps.
    #[arg(long, value_name = "FILE", help_heading = "Backtrace")]
    pub(crate) coredump: Option<PathBuf>,

    /// The binary of a module that a core dump names; may be given several times
    #[arg(long = "module", value_name = "FILE", help_heading = "Backtrace")]
    pub(crate) modules: Vec<PathBuf>,

    /// Say nothing on standard error but the stack, errors and warnings
    #[arg(short, long, help_heading = "Backtrace")]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) guest: GuestArgs,
}

/// What a stack is written as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum StackFormat {
    Text,
    Json,
}

/// When to use colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ColorArg {
    Auto,
    Always,
    Never,
}
