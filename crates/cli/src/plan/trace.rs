//! What of a guest is traced, and where its trace goes.

use super::guest::GuestPlan;
use crate::args::TraceArgs;
use crate::output;
use crate::select::Select;
use anyhow::Result;
use std::path::{Path, PathBuf};
use wasmscope_trace::Format;
use wasmscope_trace::wasi::Limits;

/// What `wasmscope trace` does, all of it.
#[derive(Debug)]
pub(crate) struct TracePlan {
    pub(crate) guest: GuestPlan,
    pub(crate) select: Select,
    pub(crate) depth: Option<u32>,
    pub(crate) limits: Limits,
    /// The file; none when the trace goes to standard error.
    pub(crate) output: Option<PathBuf>,
    pub(crate) format: Format,
    pub(crate) quiet: bool,
}

impl TracePlan {
    /// Checks the flags.
    ///
    /// # Errors
    ///
    /// Usage errors, and an output that cannot be written to.
    pub(crate) fn new(args: TraceArgs) -> Result<Self> {
        let guest = GuestPlan::new(args.guest, "trace")?;
        let select = Select::new(&args.select)?;
        if let Some(path) = &args.output {
            output::refuse_stdout(path)?;
            output::check_writable("trace", "--output", path)?;
        }
        let ending = args.output.as_deref().map(Path::new);
        let limits = Limits {
            bytes: args.strings,
            ..Limits::default()
        };
        Ok(Self {
            guest,
            select,
            depth: args.depth,
            limits,
            format: args
                .format
                .unwrap_or_else(|| ending.map_or(Format::Text, Format::from_path)),
            output: args.output,
            quiet: args.quiet,
        })
    }
}
