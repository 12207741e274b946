//! What the formats are held to: golden files, round trips, damaged input, saving,
//! and decoders that others wrote.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod damaged;
mod dump;
mod empty;
mod firefox_cli;
mod fixture;
mod fuzz;
mod go_pprof;
mod golden;
mod round_trip;
mod save;
mod speedscope;
mod svg;
mod tools;
mod totals;
