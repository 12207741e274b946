//! One line on a terminal that says how it goes.
//!
//! It is drawn again and again in its place and is gone at the end. Where standard
//! error is not a terminal there is no line.

use crate::{duration, terminal};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The line's place on the terminal, which it shares with the guest.
#[derive(Debug, Default)]
pub(crate) struct Line {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_drawn: bool,
    /// The guest has written part of a line.
    is_guest_s: bool,
}

impl Line {
    /// Takes the line away while `write` writes for the guest; `last` is the last
    /// byte of that.
    pub(crate) fn give_way<T>(&self, last: u8, write: impl FnOnce() -> T) -> T {
        let mut state = self.lock();
        state.clear();
        state.is_guest_s = last != b'\n';
        write()
    }

    fn draw(&self, text: &str) {
        let mut state = self.lock();
        if !state.is_guest_s {
            let width = terminal::width().unwrap_or(80).saturating_sub(1);
            let text: String = text.chars().take(width).collect();
            // A terminal that is gone is no reason to end the guest.
            let _ = write!(io::stderr(), "\r\x1b[K{text}");
            state.is_drawn = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn clear(&mut self) {
        if self.is_drawn {
            let _ = write!(io::stderr(), "\r\x1b[K");
            self.is_drawn = false;
        }
    }
}

/// What is being done, and for how long; drawn on a line, if there is one.
#[derive(Debug)]
pub(crate) struct Progress {
    line: Option<Arc<Line>>,
    begin: Instant,
}

impl Progress {
    /// How often the line is drawn again.
    pub(crate) const EVERY: Duration = Duration::from_millis(200);

    pub(crate) fn new(is_quiet: bool) -> Self {
        let is_shown = !is_quiet && terminal::is_terminal();
        Self {
            line: is_shown.then(Arc::default),
            begin: Instant::now(),
        }
    }

    /// Returns the line, for those who write to the same terminal.
    pub(crate) fn line(&self) -> Option<Arc<Line>> {
        self.line.clone()
    }

    /// Says what is being done, from now on.
    pub(crate) fn phase(&mut self, what: &str) {
        self.begin = Instant::now();
        if let Some(line) = &self.line {
            line.draw(what);
        }
    }

    /// Says how far the run of a guest is.
    pub(crate) fn running(&self, name: &str, state: &str) {
        if let Some(line) = &self.line {
            let elapsed = duration::show(self.begin.elapsed());
            line.draw(&format!("{name}: {elapsed}, {state}"));
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        if let Some(line) = &self.line {
            line.lock().clear();
        }
    }
}
