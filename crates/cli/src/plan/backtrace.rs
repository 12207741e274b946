//! How the stack of a guest that fails is shown.

use super::guest::GuestPlan;
use crate::args::{BacktraceArgs, ColorArg, StackFormat};
use crate::backtrace::SourceDir;
use crate::{exit, output};
use anstream::ColorChoice;
use anyhow::Result;
use std::path::PathBuf;

/// What `wasmscope backtrace` does, all of it.
#[derive(Debug)]
pub(crate) struct BacktracePlan {
    pub(crate) guest: GuestPlan,
    pub(crate) show: ShowPlan,
    pub(crate) debug_file: Option<PathBuf>,
    /// Where a core dump goes.
    pub(crate) coredump: Option<PathBuf>,
    /// The binaries of the modules of a core dump.
    pub(crate) modules: Vec<PathBuf>,
    pub(crate) quiet: bool,
}

/// How a stack is shown, and where.
#[derive(Debug)]
pub(crate) struct ShowPlan {
    /// The file; none when the stack goes to standard error.
    pub(crate) output: Option<PathBuf>,
    pub(crate) format: StackFormat,
    pub(crate) color: ColorChoice,
    /// Whether long recursions are shown frame by frame.
    pub(crate) full: bool,
    /// Whether flags that would show more are mentioned.
    pub(crate) hints: bool,
    /// How many lines are shown around each; none when no source is.
    pub(crate) context: Option<u32>,
    pub(crate) source_dirs: Vec<SourceDir>,
}

impl BacktracePlan {
    /// Checks the flags.
    ///
    /// # Errors
    ///
    /// Usage errors, and an output that cannot be written to.
    pub(crate) fn new(args: BacktraceArgs) -> Result<Self> {
        let guest = GuestPlan::new(args.guest, "backtrace")?;
        if let Some(path) = &args.output {
            output::refuse_stdout(path)?;
            output::check_writable("stack", "--output", path)?;
        }
        if let Some(path) = &args.coredump {
            if path.as_os_str() == "-" {
                return Err(exit::usage(
                    "--coredump -: standard output is the guest's; give a file",
                ));
            }
            output::check_writable("core dump", "--coredump", path)?;
        }
        let color = match args.color {
            ColorArg::Auto if args.output.is_some() => ColorChoice::Never,
            ColorArg::Auto => ColorChoice::Auto,
            ColorArg::Always => ColorChoice::Always,
            ColorArg::Never => ColorChoice::Never,
        };
        let dirs = args.source_dirs.iter().map(|text| SourceDir::new(text));
        Ok(Self {
            show: ShowPlan {
                output: args.output,
                format: args.format,
                color,
                full: args.full,
                hints: true,
                context: (!args.no_source).then_some(args.context),
                source_dirs: dirs.collect::<Result<_>>()?,
            },
            guest,
            debug_file: args.debug_file,
            coredump: args.coredump,
            modules: args.modules,
            quiet: args.quiet,
        })
    }
}

impl ShowPlan {
    /// Returns how a stack is shown that nobody asked for: on standard error, without source.
    pub(crate) fn short() -> Self {
        Self {
            output: None,
            format: StackFormat::Text,
            color: ColorChoice::Auto,
            full: false,
            hints: false,
            context: None,
            source_dirs: Vec::new(),
        }
    }
}
