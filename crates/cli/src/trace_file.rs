//! The file that a trace is written to while the guest runs.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

/// A file that is opened, and what was in it lost, when there is something to write: a
/// guest that cannot be run costs nobody the trace of the last one.
#[derive(Debug)]
pub(crate) struct TraceFile {
    path: PathBuf,
    file: Option<File>,
}

impl TraceFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            self.file = Some(File::create(&self.path)?);
        }
        self.file
            .as_mut()
            .ok_or_else(|| io::Error::other("the file is gone"))
    }

    /// Errors name the file, which nobody else knows where they are reported.
    fn named(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
    }
}

impl Write for TraceFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file().and_then(|file| file.write(bytes));
        written.map_err(|error| self.named(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.file().and_then(|file| file.flush());
        flushed.map_err(|error| self.named(error))
    }
}
