//! The flags of `wasmscope instrument`.

use super::select::SelectArgs;
use crate::exit;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  wasmscope instrument app.wasm -o app.probed.wasm
  wasmscope instrument --functions 'app::*' app.wasm -o app.probed.wasm";

/// The flags of `wasmscope instrument`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::INSTRUMENT_HELP))]
pub(crate) struct InstrumentArgs {
    /// Where the rewritten module or component goes
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// Say nothing on standard error but errors and warnings
    #[arg(short, long)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) select: SelectArgs,

    /// The module or component: a .wasm or .wat file
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
}
