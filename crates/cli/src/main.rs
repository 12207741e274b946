//! The `wasmscope` program: shows what WebAssembly guests do, from inside the host that
//! runs them.
//!
//! Each subcommand is a module: `profile`, `trace`, `backtrace` and `instrument`. The program reads
//! flags ([`args`]), checks them ([`plan`]), runs guests ([`run`]), and leaves sampling,
//! listening, rewriting and formats to the libraries.

mod args;
mod backtrace;
mod backtrace_command;
mod duration;
mod engine;
mod exit;
mod guest_file;
mod guest_output;
mod instrument_command;
mod limiter;
mod output;
mod partial;
mod plan;
mod profile_command;
mod progress;
mod run;
mod select;
mod settings;
mod signals;
mod table;
mod terminal;
mod trace_command;
mod trace_file;
mod values;
mod waiting;
mod wasi;

use clap::Parser;
use std::process;

fn main() {
    let args = args::Args::parse();
    let status = match args.command {
        args::Command::Profile(args) => profile_command::run(args),
        args::Command::Trace(args) => trace_command::run(args),
        args::Command::Backtrace(args) => backtrace_command::run(args),
        args::Command::Instrument(args) => instrument_command::run(args),
    };
    let status = status.unwrap_or_else(|error| {
        terminal::error(&error);
        exit::status_of(&error)
    });
    // Not a return: a guest that is still running must not keep the program.
    process::exit(status);
}
