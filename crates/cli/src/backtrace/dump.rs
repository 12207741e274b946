//! Reads the stacks of a core dump.

use super::{Account, Held, Thread};
use crate::guest_file;
use crate::terminal;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wasmscope::core_dump::Modules;
use wasmscope_coredump::{CoreDump, Value};
use wasmscope_symbolize::Symbols;

/// Reads a core dump, and names its frames from `modules`. Returns what is in it, and whether
/// that is all of it: of a damaged file, what is readable.
///
/// # Errors
///
/// When nothing of the file can be read, or a module cannot be.
pub(crate) fn read_dump(
    path: &Path,
    bytes: &[u8],
    modules: &[PathBuf],
    debug_file: Option<&Path>,
) -> Result<(Account, bool)> {
    let display = path.display();
    let recovered = match CoreDump::recover(bytes) {
        Ok(recovered) => recovered,
        Err(error) => bail!("{display}: failed to {error}"),
    };
    if let Some(problem) = &recovered.problem {
        terminal::warning(&format!(
            "{display}: failed to {problem}; what can be read of it follows"
        ));
    }
    let dump = &recovered.dump;
    let mut known = Modules::new();
    for file in modules {
        let bytes = guest_file::GuestFile::read(file)?.bytes;
        let mut symbols = Symbols::new(bytes);
        if let Some(debug) = debug_file {
            symbols = symbols.with_debug_bytes(guest_file::read(debug)?);
        }
        known.add_symbols(file.display().to_string(), symbols);
    }
    let threads = dump.threads.iter().map(|thread| {
        let held = thread.frames.iter().map(|frame| Held {
            locals: frame.locals.iter().map(show).collect(),
            operands: frame.stack.iter().map(show).collect(),
        });
        Thread {
            name: thread.name.to_string(),
            frames: known
                .frames(dump, thread)
                .into_iter()
                .map(Arc::new)
                .collect(),
            held: held.collect(),
            cut: thread.cut,
        }
    });
    let account = Account::Dump {
        guest: dump.name.to_string(),
        threads: threads.collect(),
    };
    Ok((account, recovered.problem.is_none()))
}

/// Writes a value with its type; `None` where it is not known.
fn show(value: &Value) -> Option<String> {
    match value {
        Value::Missing => None,
        Value::I32(value) => Some(format!("i32:{value}")),
        Value::I64(value) => Some(format!("i64:{value}")),
        Value::F32(bits) => Some(format!("f32:{bits:#x}")),
        Value::F64(bits) => Some(format!("f64:{bits:#x}")),
    }
}
