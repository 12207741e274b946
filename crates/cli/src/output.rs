//! The file that a profile, or something else, goes to: checked before the guest runs,
//! because a profile that cannot be written after an hour is an hour lost.

use crate::exit;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use wasmscope::{Format, Profile};

/// Where the profile goes, and as what.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
}

impl Output {
    /// Chooses a file and tries, without touching what is in it, whether it can be
    /// written.
    ///
    /// # Errors
    ///
    /// Says why it cannot be.
    pub(crate) fn new(path: PathBuf, format: Format) -> Result<Self> {
        check_writable("profile", "--output", &path)?;
        Ok(Self { path, format })
    }

    /// Writes the profile, whole or not at all.
    ///
    /// # Errors
    ///
    /// Names the file; the exit status is that for profiles not written.
    pub(crate) fn save(&self, profile: &Profile) -> Result<()> {
        profile
            .save(&self.path, self.format)
            .map_err(|error| exit::with_status(exit::NOT_WRITTEN, format!("failed to {error}")))
    }

    /// Returns the file for what is known while the guest runs: the same name with
    /// `.partial` before the ending, so that it opens like the whole one. None
    /// where there is no beside, as for a device or a pipe.
    pub(crate) fn partial(&self) -> Option<PathBuf> {
        let is_file = fs::metadata(&self.path).map_or(true, |found| found.is_file());
        if !is_file || self.path.starts_with("/dev") || self.path.starts_with("/proc") {
            return None;
        }
        let name = self.path.file_name()?.to_str()?;
        let endings = [".json.gz", ".pb.gz", ".folded.gz", ".svg.gz"];
        let split = endings
            .iter()
            .find(|ending| name.to_ascii_lowercase().ends_with(*ending))
            .map(|ending| name.len() - ending.len())
            .or_else(|| name.rfind('.').filter(|&at| at > 0))
            .unwrap_or(name.len());
        let mut partial = OsString::from(name.get(..split)?);
        partial.push(".partial");
        partial.push(name.get(split..)?);
        Some(self.path.with_file_name(partial))
    }

    /// Says how to open the profile.
    pub(crate) fn how_to_open(&self) -> String {
        let path = self.path.display();
        match self.format {
            Format::Firefox => format!("open {path} at https://profiler.firefox.com"),
            Format::Pprof => format!("open it with: go tool pprof -http=: {path}"),
            Format::Folded => format!("open {path} at https://www.speedscope.app"),
            Format::Svg => format!("open {path} in a browser"),
            _ => format!("it is in {path}"),
        }
    }
}

/// Refuses standard output, which is the guest's.
///
/// # Errors
///
/// A usage error, when this is standard output.
pub(crate) fn refuse_stdout(path: &Path) -> Result<()> {
    if path.as_os_str() == "-" || path == Path::new("/dev/stdout") {
        return Err(exit::usage(
            "--output -: standard output is the guest's; give a file, or another stream, as in \
             `--output /dev/fd/3 --format FORMAT ... 3>&1 >/dev/null`",
        ));
    }
    Ok(())
}

/// Tries, without touching what is in it, whether a file can be written; `what` is what
/// will be, and `flag` what chose the file.
///
/// # Errors
///
/// Says why it cannot be.
pub(crate) fn check_writable(what: &str, flag: &str, path: &Path) -> Result<()> {
    try_writing(path).map_err(|error| {
        exit::with_status(
            exit::NOT_WRITTEN,
            format!(
                "cannot write the {what} to {}: {error:#}; choose another file with {flag}",
                path.display()
            ),
        )
    })
}

fn try_writing(path: &Path) -> Result<()> {
    if path.is_dir() {
        anyhow::bail!("it is a directory");
    }
    if let Ok(found) = fs::metadata(path) {
        // Opening a pipe would wait for its reader.
        if found.is_file() {
            OpenOptions::new().append(true).open(path)?;
        }
        return Ok(());
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        anyhow::bail!("there is no directory {}", directory.display());
    }
    let probe = directory.join(format!(".wasmscope-{}.probe", std::process::id()));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&probe)
        .with_context(|| format!("cannot create files in {}", directory.display()))?;
    fs::remove_file(&probe)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_profile_has_the_ending_of_the_whole() {
        for (path, expected) in [
            ("a.profile.json.gz", Some("a.profile.partial.json.gz")),
            ("dir/a.pb", Some("dir/a.partial.pb")),
            ("a.SVG", Some("a.partial.SVG")),
            ("a", Some("a.partial")),
            (".a", Some(".a.partial")),
            ("/dev/null", None),
        ] {
            let output = Output {
                path: PathBuf::from(path),
                format: Format::Svg,
            };
            assert_eq!(output.partial(), expected.map(PathBuf::from), "{path}");
        }
    }
}
