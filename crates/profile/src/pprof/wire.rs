//! The outermost message of a protocol buffer, field by field, with offsets.
//!
//! prost decodes a whole message and does not say where it failed. Walking the
//! outermost fields here and giving prost one at a time makes errors point into
//! the file, and keeps only one entry at a time in memory besides the model.

use super::FORMAT;
use crate::error::{Error, Result};

/// One field of the outermost message.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    /// Where its content starts.
    pub(super) offset: usize,
    pub(super) content: Content<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A kind of content that pprof does not use.
    Other,
}

/// Walks through the fields of a message.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Returns the next field, or none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>> {
        if self.is_empty() {
            return Ok(None);
        }
        let start = self.at;
        let key = self.varint()?;
        let mut offset = self.at;
        let content = match key & 7 {
            0 => Content::Number(self.varint()?),
            1 => self.skip(8)?,
            2 => {
                let length = self.varint()?;
                offset = self.at;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                Content::Bytes(self.take(length)?)
            }
            5 => self.skip(4)?,
            kind => return Err(damaged(format!("a field has the kind {kind}"), start)),
        };
        Ok(Some(Field {
            number: key >> 3,
            offset,
            content,
        }))
    }

    pub(super) fn varint(&mut self) -> Result<u64> {
        let start = self.at;
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.bytes.get(self.at) else {
                return Err(damaged("it ends within a number", self.at));
            };
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged("a number is longer than 64 bits", start))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..length) else {
            let reason = format!("a field of {length} bytes has only {}", rest.len());
            return Err(damaged(reason, self.at));
        };
        self.at += length;
        Ok(taken)
    }

    fn skip(&mut self, length: usize) -> Result<Content<'a>> {
        self.take(length).map(|_| Content::Other)
    }
}

pub(super) fn damaged(reason: impl Into<String>, offset: usize) -> Error {
    Error::Damaged {
        format: FORMAT,
        reason: reason.into(),
        offset: offset as u64,
    }
}
