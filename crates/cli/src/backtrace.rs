//! Shows stacks, of a guest that failed or in a core dump: as text with the source, or as
//! JSON.

mod dump;
mod excerpt;
mod folds;
mod json;
mod sources;
mod text;

pub(crate) use dump::read_dump;
pub(crate) use sources::SourceDir;

use crate::args::StackFormat;
use crate::exit;
use crate::plan::ShowPlan;
use anstream::ColorChoice;
use anstream::adapter::StripBytes;
use anyhow::Result;
use sources::Sources;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::sync::Arc;
use std::time::Duration;
use wasmscope::{Extent, Failure, Frame, profile};

/// What is shown.
#[derive(Debug)]
pub(crate) enum Account {
    /// A guest failed.
    Failure {
        /// The guest's name.
        guest: String,
        failure: Failure,
        /// The program's exit status for it.
        status: i32,
    },
    /// A guest does not end though its time is over.
    Stuck {
        /// The guest's name.
        guest: String,
        /// How long it was given.
        after: Duration,
        /// Where it is.
        frames: Vec<Arc<Frame>>,
        extent: Extent,
        /// The program's exit status for it.
        status: i32,
    },
    /// A core dump was read.
    Dump {
        /// The name of the executable in it.
        guest: String,
        threads: Vec<Thread>,
    },
}

/// A thread of a core dump.
#[derive(Debug)]
pub(crate) struct Thread {
    name: String,
    frames: Vec<Arc<Frame>>,
    /// What each frame held.
    held: Vec<Held>,
    /// Whether the dump says that older frames are missing.
    cut: bool,
}

/// What a frame held, where that is known.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Held {
    locals: Vec<Option<String>>,
    operands: Vec<Option<String>>,
}

/// Frames of one stack, newest first.
struct Stack<'a> {
    frames: &'a [Arc<Frame>],
    /// What each frame held; empty where nothing is known.
    held: &'a [Held],
    /// How much of the stack that is; `None` where nobody says.
    extent: Option<Extent>,
}

/// Tells whether standard error is a terminal with colours that the user has not refused. Not
/// what `anstream` would choose: it takes a CI job's log for one.
fn is_colourful() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stderr().is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

/// Shows stacks where and as it was asked for.
///
/// # Errors
///
/// Names the file that cannot be written. A standard error that nobody reads is no error.
pub(crate) fn show(account: &Account, plan: &ShowPlan) -> Result<()> {
    let Some(path) = &plan.output else {
        let color = match plan.color {
            ColorChoice::Auto if is_colourful() => ColorChoice::Always,
            ColorChoice::Auto => ColorChoice::Never,
            chosen => chosen,
        };
        let _ = write(account, plan, color, &mut io::stderr());
        return Ok(());
    };
    let saved = profile::save_with(path, |to| {
        write(account, plan, plan.color, to).map_err(|source| profile::Error::Write {
            format: "stack",
            source,
        })
    });
    saved.map_err(|error| exit::with_status(exit::NOT_WRITTEN, format!("failed to {error}")))
}

fn write(
    account: &Account,
    plan: &ShowPlan,
    color: ColorChoice,
    to: &mut dyn Write,
) -> io::Result<()> {
    let sources = Sources::new(&plan.source_dirs);
    match (plan.format, color) {
        (StackFormat::Json, _) => {
            let mut to = BufWriter::new(to);
            json::write(account, &mut to)?;
            to.flush()
        }
        (StackFormat::Text, ColorChoice::Always | ColorChoice::AlwaysAnsi) => {
            let mut to = BufWriter::new(to);
            text::write(account, plan, sources, &mut to)?;
            to.flush()
        }
        (StackFormat::Text, _) => {
            let mut to = BufWriter::new(Plain::new(to));
            text::write(account, plan, sources, &mut to)?;
            to.flush()
        }
    }
}

/// Leaves colours out of what is written.
struct Plain<'a> {
    to: &'a mut dyn Write,
    state: StripBytes,
}

impl<'a> Plain<'a> {
    fn new(to: &'a mut dyn Write) -> Self {
        let state = StripBytes::new();
        Self { to, state }
    }
}

impl Write for Plain<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for plain in self.state.strip_next(bytes) {
            self.to.write_all(plain)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
