//! Saving a profile to a file so that a failure never costs the file before.
//!
//! A regular file is written under another name beside its place, synced, and
//! renamed over it, so that at each moment the place holds the old profile or
//! the new one, whole. Where that means nothing (a pipe, a terminal, a device) the
//! bytes go straight there.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::error::{Error, Result};
use crate::format::Format;
use crate::profile::Profile;

impl Profile {
    /// Saves the profile to a file, whole or not at all: when this fails, a file
    /// that was there before is as it was. Compresses as
    /// [`Format::is_compressed_at`] says.
    ///
    /// What is not a regular file, such as `/dev/stdout` or a pipe, is written to
    /// directly.
    ///
    /// # Errors
    ///
    /// [`Error::File`], which names the file.
    pub fn save(&self, path: impl AsRef<Path>, format: Format) -> Result<()> {
        let path = path.as_ref();
        save_with(path, |out| {
            self.write(format, format.is_compressed_at(path), out)
        })
    }

    /// Writes the profile to a stream.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] when the stream refuses the bytes.
    pub fn write(&self, format: Format, compress: bool, out: &mut dyn Write) -> Result<()> {
        if compress {
            // No time and no name in the header: the same profile is the same bytes.
            let mut gzip = GzEncoder::new(out, Compression::default());
            self.write(format, false, &mut gzip)?;
            let finished = gzip.finish().and_then(|out| out.flush());
            return finished.map_err(|source| Error::Write {
                format: format.name(),
                source,
            });
        }
        match format {
            Format::Firefox => crate::firefox::write(self, out),
            Format::Pprof => crate::pprof::write(self, out),
            Format::Folded => crate::folded::write(self, crate::folded::Unit::Nanoseconds, out),
            Format::Svg => crate::svg::write(self, out),
        }
    }
}

/// Saves what `write` writes to a file, whole or not at all, as
/// [`Profile::save`] does.
///
/// # Errors
///
/// [`Error::File`], which names the file, or what `write` returned.
pub fn save_with(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    if is_written_directly(path) {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(failed("open", path))?;
        return fill(file, path, write).map(drop);
    }
    // A link stays a link: what it points to is replaced.
    let place = match fs::canonicalize(path) {
        Ok(place) => {
            // Renaming needs no permission on the old file; ask for it all the same.
            OpenOptions::new()
                .write(true)
                .open(&place)
                .map_err(failed("open", path))?;
            place
        }
        Err(_) => path.to_owned(),
    };
    let (temporary, file) = Temporary::beside(&place).map_err(failed("create", path))?;
    if let Ok(old) = fs::metadata(&place) {
        // Best effort: a file system without permissions is no reason to fail.
        let _ = file.set_permissions(old.permissions());
    }
    let file = fill(file, path, write)?;
    file.sync_all().map_err(failed("write", path))?;
    drop(file);
    fs::rename(&temporary.path, &place).map_err(failed("replace", path))?;
    temporary.keep();
    // So that the new name outlives a crash of the machine; not all file systems
    // can do it, and the file itself is whole either way.
    if let Some(Ok(directory)) = place.parent().map(File::open) {
        let _ = directory.sync_all();
    }
    Ok(())
}

fn fill(file: File, path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<File> {
    let mut out = BufWriter::with_capacity(1 << 16, file);
    write(&mut out).map_err(|error| match error {
        Error::Write { source, .. } => failed("write", path)(source),
        other => other,
    })?;
    out.into_inner()
        .map_err(|error| failed("write", path)(error.into_error()))
}

/// Tells whether there is something at `path` that a rename must not replace.
fn is_written_directly(path: &Path) -> bool {
    // `/dev/stdout` leads to a regular file when it is redirected to one; that file
    // is being written by others, so it is not ours to replace.
    if (path.starts_with("/dev") || path.starts_with("/proc")) && path.is_symlink() {
        return true;
    }
    match fs::metadata(path) {
        Ok(found) => !found.is_file(),
        // A link to nothing yet.
        Err(_) => path.is_symlink(),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File {
        action,
        path,
        source,
    }
}

/// A file that is removed unless it is kept.
struct Temporary {
    path: PathBuf,
    is_kept: bool,
}

impl Temporary {
    /// Creates a new file in the directory of `place`.
    fn beside(place: &Path) -> io::Result<(Self, File)> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = place
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file's name"))?;
        loop {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            hidden.push(format!(".{}-{number}.part", std::process::id()));
            let path = place.with_file_name(hidden);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    let is_kept = false;
                    return Ok((Self { path, is_kept }, file));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_kept {
            // Nothing better can be done about a file that cannot be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}
