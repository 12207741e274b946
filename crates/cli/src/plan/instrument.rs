//! What is rewritten, and where it goes.

use crate::args::InstrumentArgs;
use crate::output;
use crate::select::Select;
use anyhow::Result;
use std::path::PathBuf;

/// What `wasmscope instrument` does, all of it.
#[derive(Debug)]
pub(crate) struct InstrumentPlan {
    pub(crate) input: PathBuf,
    pub(crate) output: PathBuf,
    pub(crate) select: Select,
    pub(crate) quiet: bool,
}

impl InstrumentPlan {
    /// Checks the flags.
    ///
    /// # Errors
    ///
    /// Usage errors, and an output that cannot be written to.
    pub(crate) fn new(args: InstrumentArgs) -> Result<Self> {
        let select = Select::new(&args.select)?;
        output::check_writable("module", "--output", &args.output)?;
        Ok(Self {
            input: args.input,
            output: args.output,
            select,
            quiet: args.quiet,
        })
    }
}
