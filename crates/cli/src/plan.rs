//! What the flags mean together: checked, with files found and defaults filled in,
//! before anything is compiled or run.

use crate::args::{ClockArg, ProfileArgs, Threshold};
use crate::exit;
use crate::output::Output;
use crate::settings::{self, Group, Settings};
use anyhow::{Context, Result};
use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wasmscope::{Clock, Format, HostFrames, Rate};

/// What to do, all of it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) guest: PathBuf,
    /// What follows the guest on the command line.
    pub(crate) arguments: Vec<String>,
    pub(crate) invoke: Option<String>,
    pub(crate) dirs: Vec<(String, String)>,
    pub(crate) envs: Vec<(String, String)>,
    pub(crate) settings: Settings,
    pub(crate) timeout: Option<Duration>,
    pub(crate) debug_file: Option<PathBuf>,
    pub(crate) output: Output,
    pub(crate) rate: Rate,
    pub(crate) clock: Clock,
    pub(crate) host_frames: HostFrames,
    pub(crate) host_calls: Option<Duration>,
    pub(crate) top: usize,
    pub(crate) quiet: bool,
}

/// What `-W help` and its like print; none when nobody asked.
pub(crate) fn help(args: &ProfileArgs) -> Option<String> {
    let groups = [
        (settings::OPTIMIZE, &args.optimize),
        (settings::CODEGEN, &args.codegen),
        (settings::WASM, &args.wasm),
        (settings::WASI, &args.wasi),
    ];
    let asked = groups.iter().filter(|(_, texts)| Group::is_help(texts));
    let lists: Vec<String> = asked.map(|(group, _)| group.list()).collect();
    (!lists.is_empty()).then(|| lists.join("\n"))
}

impl Plan {
    /// Checks the flags.
    ///
    /// # Errors
    ///
    /// Usage errors, and an output that cannot be written to.
    pub(crate) fn new(args: ProfileArgs) -> Result<Self> {
        let mut settings = Settings::default();
        settings.read(&settings::OPTIMIZE, &args.optimize)?;
        settings.read(&settings::CODEGEN, &args.codegen)?;
        settings.read(&settings::WASM, &args.wasm)?;
        settings.read(&settings::WASI, &args.wasi)?;

        let mut arguments = args.guest.into_iter();
        let guest = PathBuf::from(arguments.next().unwrap_or_default());
        if guest.as_os_str().is_empty() {
            return Err(exit::usage(
                "say which guest to run: wasmscope profile GUEST",
            ));
        }
        let arguments = arguments
            .map(|argument| {
                argument.into_string().map_err(|argument| {
                    exit::usage(format!(
                        "argument {argument:?} is not UTF-8, as WASI wants it"
                    ))
                })
            })
            .collect::<Result<Vec<_>>>()?;

        let output = match args.output {
            Some(path) => path,
            None => default_output(&guest, args.format),
        };
        Output::refuse_stdout(&output)?;
        let format = match args.format {
            Some(format) => format,
            None => Format::from_path(&output).map_err(|error| {
                exit::usage(format!("failed to {error}; or choose one with --format"))
            })?,
        };
        let Threshold(host_calls) = args.host_calls;
        Ok(Self {
            guest,
            arguments,
            invoke: args.invoke,
            dirs: args.dirs.iter().map(|text| dir(text)).collect(),
            envs: envs(&args.envs)?,
            timeout: args.timeout.or(settings.timeout),
            settings,
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

fn dir(text: &str) -> (String, String) {
    let (host, guest) = text.split_once("::").unwrap_or((text, text));
    (host.to_owned(), guest.to_owned())
}

fn envs(texts: &[String]) -> Result<Vec<(String, String)>> {
    let mut envs = Vec::new();
    for text in texts {
        match text.split_once('=') {
            Some((name, value)) => envs.push((name.to_owned(), value.to_owned())),
            None => match env::var(text) {
                Ok(value) => envs.push((text.clone(), value)),
                // Not set here, not set there.
                Err(env::VarError::NotPresent) => {}
                Err(error) => return Err(error).with_context(|| format!("--env {text}")),
            },
        }
    }
    Ok(envs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_may_have_another_name_in_the_guest() {
        assert_eq!(dir("a::/b"), ("a".to_owned(), "/b".to_owned()));
        assert_eq!(dir("/a:b"), ("/a:b".to_owned(), "/a:b".to_owned()));
    }

    #[test]
    fn the_profile_is_named_after_the_guest() {
        let named = |format| default_output(Path::new("dir/app.wasm"), format);
        assert_eq!(named(None), Path::new("app.profile.json.gz"));
        for format in Format::ALL {
            assert_eq!(Format::from_path(&named(Some(format))).unwrap(), format);
        }
    }
}
