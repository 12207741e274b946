//! Which guest to run, and how.

use crate::args::GuestArgs;
use crate::exit;
use crate::settings::{self, Group, Settings};
use anyhow::{Context, Result};
use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// What every command that runs a guest needs to know.
#[derive(Debug)]
pub(crate) struct GuestPlan {
    pub(crate) file: PathBuf,
    /// What follows the guest on the command line.
    pub(crate) arguments: Vec<String>,
    pub(crate) invoke: Option<String>,
    pub(crate) dirs: Vec<(String, String)>,
    pub(crate) envs: Vec<(String, String)>,
    pub(crate) settings: Settings,
    pub(crate) timeout: Option<Duration>,
}

impl GuestPlan {
    /// What `-W help` and its like print; none when nobody asked.
    pub(crate) fn help(args: &GuestArgs) -> Option<String> {
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

    /// Checks the flags of a command.
    ///
    /// # Errors
    ///
    /// Usage errors.
    pub(crate) fn new(args: GuestArgs, command: &str) -> Result<Self> {
        let mut settings = Settings::default();
        settings.read(&settings::OPTIMIZE, &args.optimize)?;
        settings.read(&settings::CODEGEN, &args.codegen)?;
        settings.read(&settings::WASM, &args.wasm)?;
        settings.read(&settings::WASI, &args.wasi)?;

        let mut arguments = args.guest.into_iter();
        let file = PathBuf::from(arguments.next().unwrap_or_default());
        if file.as_os_str().is_empty() {
            return Err(exit::usage(format!(
                "say which guest to run: wasmscope {command} GUEST"
            )));
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
        Ok(Self {
            file,
            arguments,
            invoke: args.invoke,
            dirs: args.dirs.iter().map(|text| dir(text)).collect(),
            envs: envs(&args.envs)?,
            timeout: args.timeout.or(settings.timeout),
            settings,
        })
    }
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
}
