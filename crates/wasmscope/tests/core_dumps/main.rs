//! Core dumps of guests that fail: taken, written, read, named.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod named;
mod trapped;
