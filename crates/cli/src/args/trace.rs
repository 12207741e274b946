//! The flags of `wasmscope trace`.

use super::guest::GuestArgs;
use super::select::SelectArgs;
use crate::exit;
use std::path::PathBuf;
use wasmscope_trace::Format;

const EXAMPLES: &str = "\
Examples:
  wasmscope trace --imports app.wasm              what the guest asks of its host, as strace does
  wasmscope trace --functions 'app::*' app.wasm   the calls of one program's own functions
  wasmscope trace --depth 3 app.wasm              not what these call
  wasmscope trace -o app.jsonl app.wasm input     an event a line, for programs
  wasmscope trace -o app.json app.wasm            open it at https://ui.perfetto.dev
  wasmscope trace --invoke fib module.wat 5
  wasmscope trace --functions 'wasi:io/*' component.wasm";

/// The flags of `wasmscope trace`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "wasmscope trace [OPTIONS] <GUEST> [ARGS]...")]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::TRACE_HELP))]
pub(crate) struct TraceArgs {
    /// Where the trace goes; by default to standard error
    ///
    /// The ending says the format: .jsonl or .ndjson (json), .json (chrome), all others are text.
    /// The file is written while the guest runs.
    #[arg(short, long, value_name = "FILE", help_heading = "Trace")]
    pub(crate) output: Option<PathBuf>,

    /// The format, whatever the file's ending: text, json (an event a line), chrome (for Perfetto)
    #[arg(long, value_name = "FORMAT", value_parser = format, help_heading = "Trace")]
    pub(crate) format: Option<Format>,

    /// Only calls with fewer than this many of the traced functions around them
    #[arg(long, value_name = "N", help_heading = "Trace")]
    pub(crate) depth: Option<u32>,

    /// How many bytes of a text or buffer that goes through WASI are shown
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 32,
        help_heading = "Trace"
    )]
    pub(crate) strings: usize,

    /// Say nothing on standard error but the trace, errors and warnings
    #[arg(short, long, help_heading = "Trace")]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) select: SelectArgs,

    #[command(flatten)]
    pub(crate) guest: GuestArgs,
}

fn format(text: &str) -> Result<Format, String> {
    Format::from_name(text).ok_or_else(|| {
        let names: Vec<_> = Format::ALL.iter().map(|format| format.name()).collect();
        format!("the formats are {}", names.join(", "))
    })
}
