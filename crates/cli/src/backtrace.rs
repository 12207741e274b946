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
use anstream::AutoStream;
use anyhow::{Context, Result};
use sources::Sources;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use wasmscope::{Extent, Failure, Frame};

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

/// Shows stacks where and as it was asked for.
///
/// # Errors
///
/// Names the file that cannot be written. A standard error that nobody reads is no error.
pub(crate) fn show(account: &Account, plan: &ShowPlan) -> Result<()> {
    let Some(path) = &plan.output else {
        let stream = AutoStream::new(io::stderr(), plan.color);
        let mut stream = BufWriter::new(stream);
        let _ = write(account, plan, &mut stream).and_then(|()| stream.flush());
        return Ok(());
    };
    save(account, plan, path).map_err(|error| {
        let message = format!("failed to write the stack to {}: {error:#}", path.display());
        exit::with_status(exit::NOT_WRITTEN, message)
    })
}

/// Writes a file, whole or not at all, unless it is a device or a pipe.
fn save(account: &Account, plan: &ShowPlan, path: &Path) -> Result<()> {
    let is_file = fs::metadata(path).map_or(true, |found| found.is_file());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let target = match is_file {
        true => path.with_file_name(name),
        false => path.to_owned(),
    };
    let written = || -> io::Result<()> {
        let stream = AutoStream::new(
            Box::new(File::create(&target)?) as Box<dyn Write>,
            plan.color,
        );
        let mut stream = BufWriter::new(stream);
        write(account, plan, &mut stream)?;
        stream.flush()
    };
    let result = written().and_then(|()| match is_file {
        true => fs::rename(&target, path),
        false => Ok(()),
    });
    if result.is_err() && is_file {
        // It may not be there at all.
        let _ = fs::remove_file(&target);
    }
    result.context("the file is as it was")
}

fn write(account: &Account, plan: &ShowPlan, to: &mut impl Write) -> io::Result<()> {
    match plan.format {
        StackFormat::Text => text::write(account, plan, Sources::new(&plan.source_dirs), to),
        StackFormat::Json => json::write(account, to),
    }
}
