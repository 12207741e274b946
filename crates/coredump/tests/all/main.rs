//! Core dumps, read and written, against independent records.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod damaged;
mod layouts;
mod made;
mod written;
