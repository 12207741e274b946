//! How a guest is profiled, and where its profile goes.

use super::guest::GuestPlan;
use crate::args::{ClockArg, ProfileArgs, Threshold};
use crate::exit;
use crate::output::{self, Output};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wasmscope::{Clock, Format, HostFrames, Rate};

/// What `wasmscope profile` does, all of it.
#[derive(Debug)]
pub(crate) struct ProfilePlan {
    pub(crate) guest: GuestPlan,
    pub(crate) debug_file: Option<PathBuf>,
    pub(crate) output: Output,
    pub(crate) rate: Rate,
    pub(crate) clock: Clock,
    pub(crate) host_frames: HostFrames,
    pub(crate) host_calls: Option<Duration>,
    pub(crate) top: usize,
    pub(crate) quiet: bool,
}

impl ProfilePlan {
    /// Checks the flags.
    ///
    /// # Errors
    ///
    /// Usage errors, and an output that cannot be written to.
    pub(crate) fn new(args: ProfileArgs) -> Result<Self> {
        let guest = GuestPlan::new(args.guest, "profile")?;
        let output = match args.output {
            Some(path) => path,
            None => default_output(&guest.file, args.format),
        };
        output::refuse_stdout(&output)?;
        let format = match args.format {
            Some(format) => format,
            None => Format::from_path(&output).map_err(|error| {
                exit::usage(format!("failed to {error}; or choose one with --format"))
            })?,
        };
        let Threshold(host_calls) = args.host_calls;
        Ok(Self {
            guest,
            debug_file: args.debug_file,
            output: Output::new(output, format)?,
            rate: args.rate,
            clock: match args.clock {
                ClockArg::Wall => Clock::Wall,
                ClockArg::Cpu => Clock::Cpu,
            },
            host_frames: match args.host_frames {
                true => HostFrames::Keep,
                false => HostFrames::Omit,
            },
            host_calls,
            top: args.top,
            quiet: args.quiet,
        })
    }
}

/// `app.wasm` leaves `app.profile.json.gz` in the current directory.
fn default_output(guest: &Path, format: Option<Format>) -> PathBuf {
    let ending = match format {
        None | Some(Format::Firefox) => "json.gz",
        Some(Format::Pprof) => "pb.gz",
        Some(Format::Folded) => "folded",
        Some(other) => other.name(),
    };
    let mut name = guest.file_stem().unwrap_or_default().to_owned();
    name.push(".profile.");
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_named_after_the_guest() {
        let named = |format| default_output(Path::new("dir/app.wasm"), format);
        assert_eq!(named(None), Path::new("app.profile.json.gz"));
        for format in Format::ALL {
            assert_eq!(Format::from_path(&named(Some(format))).unwrap(), format);
        }
    }
}
