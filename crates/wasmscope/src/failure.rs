//! Errors of guests as whole stacks, with the names and lines of the original.
//!
//! ```text
//!   wasmtime::Error --- causes --------------------------------> messages
//!        |                                                          |
//!        +-- WasmBacktrace -- recorded stack -- Code (names, lines) --> Failure
//! ```
//!
//! [`Explainer`] knows the guests, `recorded` reads what the engine wrote down, `passed` has what
//! the host adds of further stores, `naming` makes frames of it, and what is at an address is
//! [`crate::code`]'s to say.

mod explainer;
mod naming;
mod passed;
pub(crate) mod recorded;

pub use explainer::{ExplainedGuest, Explainer};
pub use passed::pass_through;

use crate::Frame;
use std::fmt;
use std::sync::Arc;
use wasmtime::Trap;

/// What stopped a guest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FailureCause {
    /// A trap, of the guest's own code or passed on by a function of the host.
    Trap(Trap),
    /// An exception that nobody caught.
    Exception,
    /// An error that a function of the host returned, or the host's before any guest ran.
    Host,
}

/// How much of its stack is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Extent {
    /// All that the engine recorded: the frames of the store that failed, and of those that
    /// the error was [passed through](pass_through). Other stores whose guests are on the same
    /// stack are as opaque as the host.
    Whole,
    /// From where an exception that nobody caught was thrown on: it had been caught, and a
    /// `throw_ref` threw it once more, as clean-ups do and probes of [`Listening`](crate::Listening).
    /// The engine keeps the stack of that; where it was thrown first is not known. Told by the
    /// guest's [bytes](crate::Guest::bytes), without which this is [`Whole`](Self::Whole).
    Rethrown,
    /// The newest frames. The engine names as many as `Config::wasm_backtrace_max_frames`
    /// says, 20 unless set, and what it recorded beyond them could not be read.
    Newest,
    /// None: the error carries no stack. Either `Config::wasm_backtrace_max_frames` is
    /// `None`, or no guest ran when the error came to be.
    Nothing,
}

/// Why a guest failed, and where.
#[derive(Clone, Debug)]
pub struct Failure {
    cause: FailureCause,
    messages: Vec<String>,
    frames: Vec<Arc<Frame>>,
    extent: Extent,
}

impl Failure {
    /// Returns what stopped the guest.
    #[must_use]
    pub fn cause(&self) -> FailureCause {
        self.cause
    }

    /// Returns what the error and its causes say, outermost first, without the engine's own
    /// account of the stack.
    #[must_use]
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    /// Returns the stack, newest frame first. The host function that failed comes first,
    /// where the guest's code says which it called, and one between the guests of two stores
    /// that the error was [passed through](pass_through). Frames at the same place are the same
    /// `Arc`.
    #[must_use]
    pub fn frames(&self) -> &[Arc<Frame>] {
        &self.frames
    }

    /// Returns how much of the stack that is.
    #[must_use]
    pub fn extent(&self) -> Extent {
        self.extent
    }
}

/// The messages on the first line, then a line for each frame and each call that was inlined
/// into it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.messages.join(": "))?;
        for (number, frame) in self.frames.iter().enumerate() {
            write!(f, "\n{number:>4}: ")?;
            let mut inlined = frame.source.iter();
            let Some(newest) = inlined.next() else {
                f.write_str(&frame.name)?;
                continue;
            };
            line(f, newest)?;
            for frame in inlined {
                f.write_str("\n      inlined into ")?;
                line(f, frame)?;
            }
        }
        match self.extent {
            Extent::Whole => Ok(()),
            Extent::Newest => f.write_str("\n      there may be older frames"),
            Extent::Rethrown => {
                f.write_str("\n      where the exception was thrown first is not known")
            }
            Extent::Nothing => f.write_str("\n      no stack is known"),
        }
    }
}

fn line(f: &mut fmt::Formatter<'_>, frame: &wasmscope_symbolize::SourceFrame) -> fmt::Result {
    f.write_str(&frame.function)?;
    let Some(file) = &frame.file else {
        return Ok(());
    };
    write!(f, " at {file}")?;
    if let Some(line) = frame.line {
        write!(f, ":{line}")?;
        if let Some(column) = frame.column {
            write!(f, ":{column}")?;
        }
    }
    Ok(())
}
