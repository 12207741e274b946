//! One frame with its names.

use std::fmt;
use std::sync::Arc;
use wasmscope_address::{FuncIndex, HostPc, WasmOffset};
use wasmscope_listen::InstanceId;
use wasmscope_symbolize::SourceFrame;

/// Tells whose code a frame runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FrameKind {
    /// A function of a guest.
    Guest,
    /// The host's own.
    Host,
    /// What the engine puts between guest and host.
    Trampoline,
    /// What the engine carries out for an instruction of a guest.
    Builtin,
}

/// One frame of a stack, with its names.
///
/// Made from a walk, a trap, or a core dump; what its origin does not tell is `None`, never a
/// guess.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Frame {
    /// Whose code it runs.
    pub kind: FrameKind,
    /// The name that its guest was registered under.
    pub module: Option<Arc<str>>,
    /// The instance that the function belongs to.
    pub instance: Option<InstanceId>,
    /// The function's index in the original module.
    pub function: Option<FuncIndex>,
    /// The function's name, as people read it; of a host frame, where names of the host are
    /// allowed.
    pub name: Arc<str>,
    /// Where it will go on, or where it is, in this process's memory.
    pub pc: Option<HostPc>,
    /// The same in the original binary, counted from its first byte.
    pub offset: Option<WasmOffset>,
    /// The same in the source: inlined calls first, innermost at the front, the function
    /// itself last. Empty where nothing is known.
    pub source: Arc<[SourceFrame]>,
}

/// Shows the module, the name, and the innermost source line.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(module) = &self.module {
            write!(f, "{module}!")?;
        }
        write!(f, "{}", self.name)?;
        if let Some(offset) = self.offset {
            write!(f, " ({offset})")?;
        }
        let Some(frame) = self.source.first() else {
            return Ok(());
        };
        let (Some(file), Some(line)) = (&frame.file, frame.line) else {
            return Ok(());
        };
        write!(f, " at {file}:{line}")?;
        match frame.column {
            Some(column) => write!(f, ":{column}"),
            None => Ok(()),
        }
    }
}
