//! Writes each call as it happens, nested:
//!
//! ```text
//! --> app.main(argc=1)
//!         ==> wasi_snapshot_preview1.random_get(buf=64,buf_len=8)
//!         <== 0
//! <-- 7
//! ```
//!
//! `==>` marks functions of the host. An aborted call closes with its cause, a tail call
//! with `tail call`. Values are written as they are; what they mean to WASI is not known
//! here. A component function has its own values, the beginning of long ones:
//!
//! ```text
//! ==> wasi:cli/environment@0.2.0#get-arguments()
//! <== ["app", "--fast"]
//! ```

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::{Scopes, lock};
use crate::boxed::BoxListener;
use crate::call::Call;
use crate::cause::Cause;
use crate::component::{self, LiftError, Limits};
use crate::definition::{Definition, FunctionKind};
use crate::factory::Factory;
use crate::listener::{Close, Listener};
use crate::value::{Value, ValueType};
use crate::values::Values;

/// Writes calls to a writer: a line for each open and each close, in one piece.
///
/// Lines of several threads mix, each indented by its depth on its own stack. From a
/// depth of 100 on, lines are indented no further.
pub struct CallLog<W> {
    output: Arc<Mutex<Output<W>>>,
    scopes: Scopes,
    host_only: bool,
}

/// So that a runaway recursion does not write more indent than calls.
const MAX_INDENT: usize = 100;

struct Output<W> {
    writer: W,
    line: String,
    /// The first failure. Nothing is written after it.
    failed: Option<io::Error>,
}

impl<W: Write + Send + 'static> CallLog<W> {
    /// Writes all functions' calls.
    pub fn new(writer: W) -> Self {
        Self {
            output: Arc::new(Mutex::new(Output {
                writer,
                line: String::new(),
                failed: None,
            })),
            scopes: Scopes::ALL,
            host_only: false,
        }
    }

    /// Writes only functions of these scopes.
    ///
    /// With any but [`Scopes::ALL`], reads and writes of the console are left out too.
    #[must_use]
    pub fn scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = scopes;
        self
    }

    /// Writes only host functions, and exported ones, which show what called them.
    #[must_use]
    pub fn host_only(mut self) -> Self {
        self.host_only = true;
        self
    }

    /// Flushes the writer.
    ///
    /// # Errors
    ///
    /// Fails with the first failure to write since the last time, or with that to flush.
    pub fn flush(&self) -> io::Result<()> {
        let mut output = lock(&self.output);
        match output.failed.take() {
            Some(error) => Err(error),
            None => output.writer.flush(),
        }
    }
}

/// Writes to the same writer.
impl<W> Clone for CallLog<W> {
    fn clone(&self) -> Self {
        Self {
            output: self.output.clone(),
            ..*self
        }
    }
}

impl<W: Write + Send + 'static> Factory for CallLog<W> {
    fn listener(&self, definition: &Definition) -> Option<BoxListener> {
        let host = definition.is_host() || !definition.export_names.is_empty();
        let chosen = self.scopes.contain(definition) && (host || !self.host_only);
        chosen.then(|| {
            BoxListener::new(Lines {
                output: self.output.clone(),
                hide_console: self.scopes != Scopes::ALL,
            })
        })
    }
}

/// Writes the lines of calls.
struct Lines<W> {
    output: Arc<Mutex<Output<W>>>,
    hide_console: bool,
}

/// What a call leaves for its close and for calls within it.
struct Line {
    /// Which log it is in: the address of the output.
    log: usize,
    depth: usize,
    hidden: bool,
}

impl<W: Write + Send + 'static> Lines<W> {
    /// Writes one line: indent, what `write` writes, newline.
    fn write(&self, depth: usize, write: impl FnOnce(&mut String) -> fmt::Result) {
        let output = &mut *lock(&self.output);
        if output.failed.is_some() {
            return;
        }
        output.line.clear();
        output
            .line
            .extend(std::iter::repeat_n('\t', depth.min(MAX_INDENT)));
        // Writing to a string does not fail.
        let _ = write(&mut output.line);
        output.line.push('\n');
        output.failed = output.writer.write_all(output.line.as_bytes()).err();
    }

    fn close(&self, call: &Call<'_>, close: Close<'_>, open: &Line) {
        if open.hidden {
            return;
        }
        let definition = call.definition();
        self.write(open.depth, |line| {
            line.push_str(match definition.kind {
                FunctionKind::Guest => "<--",
                FunctionKind::Host => "<==",
            });
            match close {
                Close::Return(results) if definition.component.is_some() => {
                    match call.component_results(results, &Limits::SHORT) {
                        Some(Ok(values)) if values.is_empty() => Ok(()),
                        Some(values) => write_component_values(line, " ", [""], values),
                        None => line.write_str(" later"),
                    }
                }
                Close::Return(results) => match results.len() {
                    0 => Ok(()),
                    1 => write_values(line, " ", results, &definition.result_names),
                    _ => {
                        write_values(line, " (", results, &definition.result_names)?;
                        line.write_char(')')
                    }
                },
                Close::TailCall => line.write_str(" tail call"),
                Close::Abort(cause) => write!(line, " {cause}"),
            }
        });
    }
}

impl<W: Write + Send + 'static> Listener for Lines<W> {
    type State = Line;

    fn before(&self, call: &Call<'_>) -> Line {
        let log = Arc::as_ptr(&self.output).addr();
        let parent = call
            .parents()
            .find_map(|parent| parent.find_state(|line: &Line| line.log == log));
        let open = Line {
            log,
            depth: parent.map_or(0, |parent| parent.depth + 1),
            hidden: self.hide_console && is_console(call),
        };
        if !open.hidden {
            let definition = call.definition();
            self.write(open.depth, |line| {
                let arrow = match definition.kind {
                    FunctionKind::Guest => "-->",
                    FunctionKind::Host => "==>",
                };
                write!(line, "{arrow} {definition}")?;
                match (call.component_params(&Limits::SHORT), &definition.component) {
                    (Some(values), Some(function)) => {
                        let names = function.ty.params().iter().map(|(name, _)| &**name);
                        write_component_values(line, "(", names, values)?;
                    }
                    _ => write_values(line, "(", call.params(), &definition.param_names)?,
                }
                line.write_char(')')
            });
        }
        open
    }

    fn after(&self, call: &Call<'_>, results: Values<'_>, open: Line) {
        self.close(call, Close::Return(results), &open);
    }

    fn tail_call(&self, call: &Call<'_>, open: Line) {
        self.close(call, Close::TailCall, &open);
    }

    fn abort(&self, call: &Call<'_>, cause: &Cause<'_>, open: Line) {
        self.close(call, Close::Abort(cause), &open);
    }
}

/// Writes `start`, then values between commas, with those names that are known.
fn write_values(
    line: &mut String,
    start: &str,
    values: Values<'_>,
    names: &[Option<String>],
) -> fmt::Result {
    line.write_str(start)?;
    for (i, value) in values.into_iter().enumerate() {
        if i > 0 {
            line.write_char(',')?;
        }
        if let Some(Some(name)) = names.get(i) {
            write!(line, "{name}=")?;
        }
        write!(line, "{value}")?;
    }
    Ok(())
}

/// Writes `start`, then a component function's values between commas, or why there are
/// none.
fn write_component_values<'n>(
    line: &mut String,
    start: &str,
    names: impl IntoIterator<Item = &'n str>,
    values: Result<Vec<component::Value>, LiftError>,
) -> fmt::Result {
    line.write_str(start)?;
    let values = match values {
        Ok(values) => values,
        Err(error) => return write!(line, "{error}"),
    };
    for (i, (name, value)) in names.into_iter().zip(values).enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let equals = if name.is_empty() { "" } else { "=" };
        write!(line, "{comma}{name}{equals}{value:#}")?;
    }
    Ok(())
}

/// Tells whether a call works on one of the three standard streams.
fn is_console(call: &Call<'_>) -> bool {
    let import = call.definition().import.as_ref();
    import.is_some_and(|import| import.name.starts_with("fd_"))
        && call.params().types().first() == Some(&ValueType::I32)
        && matches!(call.params().get(0), Some(Value::I32(0..=2)))
}

impl<W> fmt::Debug for CallLog<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallLog")
            .field("scopes", &self.scopes)
            .field("host_only", &self.host_only)
            .finish_non_exhaustive()
    }
}
