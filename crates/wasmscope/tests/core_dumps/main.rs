//! Core dumps of guests that fail: taken, written, read, named.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod components;
mod named;
mod now;
mod rewritten;
mod stores;
mod taken;
mod trapped;
