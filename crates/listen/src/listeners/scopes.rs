//! Groups of host functions, by what they are for, to choose what a [`super::CallLog`]
//! shows.
//!
//! Known are the functions of WASI's first preview, and those that Emscripten's and
//! AssemblyScript's runtimes import from `env`.

use std::fmt;
use std::ops::BitOr;
use std::str::FromStr;

use crate::definition::Definition;

/// A set of scopes.
///
/// ```
/// use wasmscope_listen::listeners::Scopes;
/// use wasmscope_listen::{Definition, FuncIndex};
///
/// let scopes: Scopes = "clock,random".parse()?;
/// assert_eq!(scopes, Scopes::CLOCK | Scopes::RANDOM);
/// let f = |name| Definition::import(FuncIndex(0), "wasi_snapshot_preview1", name);
/// assert!(scopes.contain(&f("random_get")));
/// assert!(!scopes.contain(&f("fd_write")));
/// # Ok::<(), wasmscope_listen::listeners::UnknownScope>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scopes(u16);

/// Each scope with its name.
const NAMES: [(Scopes, &str); 8] = [
    (Scopes::CLOCK, "clock"),
    (Scopes::EXIT, "exit"),
    (Scopes::FILESYSTEM, "filesystem"),
    (Scopes::MEMORY, "memory"),
    (Scopes::POLL, "poll"),
    (Scopes::PROC, "proc"),
    (Scopes::RANDOM, "random"),
    (Scopes::SOCK, "sock"),
];

impl Scopes {
    /// No function at all.
    pub const NONE: Self = Self(0);
    /// Reading clocks: `clock_time_get`.
    pub const CLOCK: Self = Self(1);
    /// Ending the guest: `proc_exit`, AssemblyScript's `abort`.
    pub const EXIT: Self = Self(1 << 1);
    /// Files and directories: `path_open`, `fd_read`; not the console.
    pub const FILESYSTEM: Self = Self(1 << 2);
    /// Memory: `emscripten_notify_memory_growth`.
    pub const MEMORY: Self = Self(1 << 3);
    /// Waiting: `poll_oneoff`.
    pub const POLL: Self = Self(1 << 4);
    /// The process: arguments, environment, signals, its end.
    pub const PROC: Self = Self(1 << 5);
    /// Randomness: `random_get`, AssemblyScript's `seed`.
    pub const RANDOM: Self = Self(1 << 6);
    /// Sockets: `sock_accept`.
    pub const SOCK: Self = Self(1 << 7);
    /// Every function, those of no scope included.
    pub const ALL: Self = Self(u16::MAX);

    /// Tells whether a function is in one of these scopes.
    #[must_use]
    pub fn contain(self, definition: &Definition) -> bool {
        self == Self::ALL || self.0 & Self::of(definition).0 != 0
    }

    /// Returns the scopes of a function; none, for one that is not known.
    fn of(definition: &Definition) -> Self {
        let Some(import) = &definition.import else {
            return Self::NONE;
        };
        match (import.module.as_str(), import.name.as_str()) {
            ("wasi_snapshot_preview1" | "wasi_unstable", name) => match name {
                "poll_oneoff" => Self::POLL,
                "proc_exit" => Self::EXIT | Self::PROC,
                "sched_yield" => Self::PROC,
                _ => match name.split_once('_') {
                    Some(("clock", _)) => Self::CLOCK,
                    Some(("fd" | "path", _)) => Self::FILESYSTEM,
                    Some(("args" | "environ" | "proc", _)) => Self::PROC,
                    Some(("random", _)) => Self::RANDOM,
                    Some(("sock", _)) => Self::SOCK,
                    _ => Self::NONE,
                },
            },
            ("env", "emscripten_notify_memory_growth") => Self::MEMORY,
            ("env", "abort") => Self::EXIT | Self::PROC,
            ("env", "seed") => Self::RANDOM,
            _ => Self::NONE,
        }
    }
}

impl BitOr for Scopes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Reads names of scopes between `,` or `|`, or `all`, or `none`.
impl FromStr for Scopes {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let mut scopes = Self::NONE;
        for name in text.split([',', '|']).map(str::trim) {
            let known = NAMES.iter().find(|(_, known)| *known == name);
            scopes = scopes
                | match (name, known) {
                    ("all", _) => Self::ALL,
                    ("none", _) => Self::NONE,
                    (_, Some((scope, _))) => *scope,
                    (_, None) => return Err(UnknownScope(name.into())),
                };
        }
        Ok(scopes)
    }
}

/// Writes the names between `|`, or `all`, or `none`.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ALL => return f.write_str("all"),
            Self::NONE => return f.write_str("none"),
            _ => {}
        }
        let names = NAMES.iter().filter(|(scope, _)| self.0 & scope.0 != 0);
        for (i, (_, name)) in names.enumerate() {
            write!(f, "{}{name}", if i == 0 { "" } else { "|" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

/// Says which name is no scope's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to read scopes: {0:?} is none of all, none, clock, exit, filesystem, memory, poll, \
     proc, random, sock"
)]
pub struct UnknownScope(pub String);
