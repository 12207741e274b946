//! The flags of every command that runs a guest; those that `wasmtime run` has keep
//! its names.

use crate::duration;
use std::ffi::OsString;
use std::time::Duration;

/// Which guest to run, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct GuestArgs {
    /// End the guest after this long, for example 10s or 500ms; what was seen until then is written
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, help_heading = "Guest")]
    pub(crate) timeout: Option<Duration>,

    /// Let the guest use a directory of the host, under the same or another name
    #[arg(long = "dir", value_name = "HOST[::GUEST]", help_heading = "Guest")]
    pub(crate) dirs: Vec<String>,

    /// Give the guest an environment variable, or without a value that of this process
    #[arg(long = "env", value_name = "NAME[=VALUE]", help_heading = "Guest")]
    pub(crate) envs: Vec<String>,

    /// Call this export, with ARGS as its arguments, and print what it returns
    ///
    /// A component's function takes values as WAVE writes them, one by one or in brackets:
    /// --invoke 'f("a", [1, 2], {x: some(true)})'. One of an interface is INTERFACE#FUNC.
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
