//! All tests of the crate from outside, as one program: what they share is
//! compiled once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod damaged;
mod generate;
mod generated;
mod guests;
mod hostile;
mod lazy;
mod odd;
mod raw;
mod record;
