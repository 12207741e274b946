//! What a bench was asked for on its command line.

/// How much to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// About a minute altogether: enough to see that nothing is badly off.
    Quick,
    /// `--full`: the runs that are put on record.
    Full,
}

impl Size {
    /// Reads the command line. What Cargo adds, and filters, are ignored.
    #[must_use]
    pub fn from_arguments() -> Self {
        if std::env::args().any(|argument| argument == "--full") {
            Self::Full
        } else {
            Self::Quick
        }
    }

    /// Returns the number for this size.
    #[must_use]
    pub fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// Returns the value of the argument `--NAME=VALUE`, if it was given.
#[must_use]
pub fn value_of(name: &str) -> Option<String> {
    let prefix = format!("--{name}=");
    std::env::args().find_map(|argument| argument.strip_prefix(&prefix).map(str::to_owned))
}
