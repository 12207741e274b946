//! Where the bytes of a trace go: whole events at a time, into memory first.
//!
//! The file of a program that was killed ends between two events. (Where the disk is
//! full it ends where the disk does.)

use crate::error::Error;
use std::fmt;
use std::io::Write;

/// Bytes are handed on when there are so many of them.
const FULL: usize = 64 << 10;

/// An output, and what it has not been given yet.
pub(crate) struct Sink {
    output: Box<dyn Write + Send>,
    buffer: Vec<u8>,
    /// Each event is handed on at once.
    is_direct: bool,
    /// Events in the buffer.
    pending: u64,
    /// Events that the output has.
    written: u64,
}

impl Sink {
    pub(crate) fn new(output: Box<dyn Write + Send>, is_direct: bool) -> Self {
        Self {
            output,
            buffer: Vec::with_capacity(FULL),
            is_direct,
            pending: 0,
            written: 0,
        }
    }

    /// Takes the bytes of one event.
    pub(crate) fn event(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        write(&mut self.buffer);
        self.pending += 1;
        match self.is_direct || self.buffer.len() >= FULL {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Takes bytes that are no event.
    pub(crate) fn other(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.buffer);
    }

    /// Hands on what is there.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let given = self.output.write_all(&self.buffer);
        self.buffer.clear();
        given
            .and_then(|()| self.output.flush())
            .map_err(|source| Error::Write {
                source,
                events: self.written,
            })?;
        self.written += std::mem::take(&mut self.pending);
        Ok(())
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("written", &self.written)
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}
