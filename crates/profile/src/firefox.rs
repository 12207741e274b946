//! The Firefox Profiler's processed profile, for <https://profiler.firefox.com>.
//!
//! JSON, specified by `docs-developer/processed-profile-format.md` and
//! `src/types/profile.ts` in github.com/firefox-devtools/profiler. How the model
//! is laid out in it:
//!
//! | model | Firefox |
//! |---|---|
//! | category of a function | category of its frames, with a colour |
//! | location | a frame for each line, inlined ones with their inline depth; the address is the Wasm byte offset |
//! | mapping | library and resource; a native symbol for each physical function in one |
//! | sample | sample with its weight in milliseconds (`tracing-ms`); samples of one thread are sorted by time |
//! | CPU time | `threadCPUDelta`, left out where no sample of the thread knows it |
//! | labels | markers `Labels`, one for each run of samples with the same labels |
//! | marker | interval marker of the type `HostCall` |
//! | counter | counter of the process |
//! | accounting | a marker `Sampling` on each thread, and all of them in the profile's information |
//! | clock, mechanism, interval, comments | the profile's information |
//!
//! The samples' counts have no place: what is shown is time. Only where no sample
//! weighs anything, counts are shown. Samples that all are at time zero, because they
//! were read from a format without times, are laid end to end.
//!
//! The crate fxprof-processed-profile does most of it. It cannot set lines, columns
//! and inline depths, so those tables are replaced in what it wrote.

mod build;
mod json;
mod marker;
mod patch;
mod tables;

use std::io::Write;

use crate::error::{Error, Result};
use crate::profile::Profile;

/// Writes a profile in the Firefox Profiler's format, not compressed.
///
/// # Errors
///
/// [`Error::Write`] when the stream refuses the bytes.
pub fn write(profile: &Profile, out: &mut dyn Write) -> Result<()> {
    let built = build::build(profile);
    patch::write(profile, built, out).map_err(|error| Error::Write {
        format: "firefox",
        source: error.into(),
    })
}
