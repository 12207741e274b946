//! The `wasmscope` program: profiles WebAssembly guests from inside the host that
//! runs them.
//!
//! Each subcommand is a module; so far there is `profile`. The program reads flags
//! ([`args`]), checks them ([`plan`]), and leaves sampling and formats to the
//! libraries.

mod args;
mod duration;
mod engine;
mod exit;
mod guest_file;
mod guest_output;
mod limiter;
mod output;
mod partial;
mod plan;
mod profile_command;
mod progress;
mod run;
mod settings;
mod signals;
mod table;
mod terminal;
mod values;
mod wasi;

use clap::Parser;
use std::process;

fn main() {
    let args = args::Args::parse();
    let status = match args.command {
        args::Command::Profile(args) => profile_command::run(args),
    };
    let status = status.unwrap_or_else(|error| {
        terminal::error(&error);
        exit::status_of(&error)
    });
    // Not a return: a guest that is still running must not keep the program.
    process::exit(status);
}
