//! What WASI gives the guest: arguments, environment, directories, streams, network.

use crate::guest_output::{GuestOutput, Output};
use crate::plan::GuestPlan;
use crate::progress::Line;
use anyhow::{Result, anyhow};
use std::env;
use std::sync::Arc;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// Makes the context that a plan asks for. `name` is the guest's `argv[0]`, `line`
/// is what the guest shares its terminal with.
///
/// # Errors
///
/// A directory that cannot be opened, an environment that is not UTF-8.
pub(crate) fn context(
    plan: &GuestPlan,
    name: &str,
    line: Option<Arc<Line>>,
) -> Result<WasiCtxBuilder> {
    let settings = &plan.settings.wasi;
    let mut wasi = WasiCtxBuilder::new();
    // The guest has its thread for itself, so its file operations may as well be
    // done there, where they are sampled.
    wasi.allow_blocking_current_thread(true);
    if settings.inherit_stdin {
        wasi.inherit_stdin();
    }
    let shared = |output: Output| line.clone().filter(|_| output.is_terminal());
    if settings.inherit_stdout {
        match shared(Output::Stdout) {
            Some(line) => wasi.stdout(GuestOutput::new(Output::Stdout, line)),
            None => wasi.inherit_stdout(),
        };
    }
    if settings.inherit_stderr {
        match shared(Output::Stderr) {
            Some(line) => wasi.stderr(GuestOutput::new(Output::Stderr, line)),
            None => wasi.inherit_stderr(),
        };
    }
    wasi.arg(name);
    // With --invoke they are the function's arguments.
    if plan.invoke.is_none() {
        wasi.args(&plan.arguments);
    }
    if settings.inherit_env {
        for (name, value) in env::vars_os() {
            let text = |text: std::ffi::OsString| {
                text.into_string().map_err(|text| {
                    anyhow!("-S inherit-env: {text:?} in the environment is not UTF-8")
                })
            };
            wasi.env(text(name)?, text(value)?);
        }
    }
    wasi.envs(&plan.envs);
    for (host, guest) in &plan.dirs {
        wasi.preopened_dir(host, guest, FsPerms::ReadWrite)
            .map_err(|error| anyhow!("--dir: failed to open directory {host}: {error:#}"))?;
    }
    if let Some(cwd) = &settings.cwd {
        wasi.initial_cwd(cwd);
    }
    if settings.inherit_network {
        wasi.inherit_network().allow_tcp(true).allow_udp(true);
    }
    if let Some(allow) = settings.tcp {
        wasi.allow_tcp(allow);
    }
    if let Some(allow) = settings.udp {
        wasi.allow_udp(allow);
    }
    if let Some(allow) = settings.allow_ip_name_lookup {
        wasi.allow_ip_name_lookup(allow);
    }
    if let Some(size) = settings.max_random_size {
        wasi.max_random_size(size);
    }
    Ok(wasi)
}
