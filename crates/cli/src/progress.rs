//! One line on a terminal that says how it goes.
//!
//! It is drawn again and again in its place and is gone at the end. Where standard
//! error is not a terminal there is no line.

use crate::{duration, terminal};
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// The line.
#[derive(Debug)]
pub(crate) struct Progress {
    is_shown: bool,
    is_drawn: bool,
    begin: Instant,
}

impl Progress {
    /// How often the line is drawn again.
    pub(crate) const EVERY: Duration = Duration::from_millis(200);

    pub(crate) fn new(is_quiet: bool) -> Self {
        Self {
            is_shown: !is_quiet && terminal::is_terminal(),
            is_drawn: false,
            begin: Instant::now(),
        }
    }

    /// Says what is being done, from now on.
    pub(crate) fn phase(&mut self, what: &str) {
        self.begin = Instant::now();
        self.draw(what);
    }

    /// Says how far it is.
    pub(crate) fn samples(&mut self, name: &str, due: u64, kept: u64) {
        if self.is_shown {
            let elapsed = duration::show(self.begin.elapsed());
            self.draw(&format!("{name}: {elapsed}, {due} samples, {kept} kept"));
        }
    }

    fn draw(&mut self, text: &str) {
        if self.is_shown {
            let width = terminal::width().unwrap_or(80).saturating_sub(1);
            let text: String = text.chars().take(width).collect();
            // A terminal that is gone is no reason to end the guest.
            let _ = write!(io::stderr(), "\r\x1b[K{text}");
            self.is_drawn = true;
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if self.is_drawn {
            let _ = write!(io::stderr(), "\r\x1b[K");
            self.is_drawn = false;
        }
    }
}
