//! Shows the stack of a guest that failed: as text with the source, or as JSON.

mod excerpt;
mod folds;
mod json;
mod sources;
mod text;

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
use wasmscope::Failure;

/// A stack, and what it is of.
#[derive(Debug)]
pub(crate) struct Stack {
    /// The guest's name.
    pub(crate) guest: String,
    pub(crate) failure: Failure,
    /// The program's exit status for it.
    pub(crate) status: i32,
}

/// Shows a stack where and as it was asked for.
///
/// # Errors
///
/// Names the file that cannot be written. A standard error that nobody reads is no error.
pub(crate) fn show(stack: &Stack, plan: &ShowPlan) -> Result<()> {
    let Some(path) = &plan.output else {
        let stream = AutoStream::new(io::stderr(), plan.color);
        let mut stream = BufWriter::new(stream);
        let _ = write(stack, plan, &mut stream).and_then(|()| stream.flush());
        return Ok(());
    };
    save(stack, plan, path).map_err(|error| {
        let message = format!("failed to write the stack to {}: {error:#}", path.display());
        exit::with_status(exit::NOT_WRITTEN, message)
    })
}

/// Writes a file, whole or not at all, unless it is a device or a pipe.
fn save(stack: &Stack, plan: &ShowPlan, path: &Path) -> Result<()> {
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
        write(stack, plan, &mut stream)?;
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

fn write(stack: &Stack, plan: &ShowPlan, to: &mut impl Write) -> io::Result<()> {
    match plan.format {
        StackFormat::Text => text::write(stack, plan, Sources::new(&plan.source_dirs), to),
        StackFormat::Json => json::write(stack, to),
    }
}
