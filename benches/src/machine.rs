//! Under which conditions the numbers were measured.

use std::fmt;
use std::fs;

/// What the machine was and how busy.
#[derive(Clone, Debug)]
pub struct Machine {
    kernel: String,
    processors: usize,
    load: String,
}

impl Machine {
    /// Asks now.
    #[must_use]
    pub fn now() -> Self {
        let read = |path| {
            fs::read_to_string(path).map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned())
        };
        Self {
            kernel: read("/proc/sys/kernel/osrelease"),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            load: read("/proc/loadavg")
                .split(' ')
                .take(3)
                .collect::<Vec<_>>()
                .join(" "),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Linux {}, {} processors, load {}",
            self.kernel, self.processors, self.load
        )
    }
}
