//! Waits for what ends a run: the guest itself, a signal, or a time-out.

use crate::backtrace::{self, Account};
use crate::engine::Compiled;
use crate::plan::{GuestPlan, ShowPlan};
use crate::progress::Progress;
use crate::run::{self, Ending, Watch};
use crate::signals::{self, Interrupt};
use crate::{duration, exit, terminal};
use anyhow::{Result, anyhow};
use std::cell::Cell;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use wasmscope::{Explainer, Guest, OsThread};

/// What the main thread hears of.
enum Event {
    /// The guest now runs, on this thread.
    Started(Option<OsThread>),
    End(End),
}

/// What ends a run.
#[derive(Debug)]
pub(crate) enum End {
    Guest(Ending),
    Interrupt(Interrupt),
    Timeout(Duration),
}

/// A guest that runs on its thread.
pub(crate) struct Running<'a> {
    plan: &'a GuestPlan,
    name: &'a str,
    events: Receiver<Event>,
    /// Where the guest runs, once it does.
    thread: Cell<Option<OsThread>>,
}

impl<'a> Running<'a> {
    /// Starts a guest.
    ///
    /// # Errors
    ///
    /// When signals cannot be listened to, or the guest cannot be started.
    pub(crate) fn start(
        plan: &'a GuestPlan,
        name: &'a str,
        compiled: &Compiled,
        watch: Watch,
        progress: &Progress,
    ) -> Result<Self> {
        let (sender, events) = mpsc::channel();
        let interrupts = sender.clone();
        signals::listen(move |interrupt| {
            let _ = interrupts.send(Event::End(End::Interrupt(interrupt)));
        })?;
        let starts = sender.clone();
        let started = move || {
            let _ = starts.send(Event::Started(OsThread::current().ok()));
        };
        let done = move |ending| {
            let _ = sender.send(Event::End(End::Guest(ending)));
        };
        run::start(plan, name, compiled, watch, progress.line(), started, done)?;
        Ok(Self {
            plan,
            name,
            events,
            thread: Cell::new(None),
        })
    }

    /// Waits for the end, and draws meanwhile what `state` says of the run on the
    /// progress line.
    pub(crate) fn wait(&self, progress: &mut Progress, state: impl Fn() -> String) -> End {
        let mut deadline = None;
        loop {
            let left = deadline
                .map(|deadline: Instant| deadline.saturating_duration_since(Instant::now()));
            let pause = left.map_or(Progress::EVERY, |left| left.min(Progress::EVERY));
            match self.events.recv_timeout(pause) {
                Ok(Event::End(end)) => return end,
                Ok(Event::Started(thread)) => {
                    self.thread.set(thread);
                    progress.phase(&format!("running {}", self.name));
                    deadline = self
                        .plan
                        .timeout
                        .and_then(|timeout| Instant::now().checked_add(timeout));
                }
                Err(RecvTimeoutError::Timeout) => progress.running(self.name, &state()),
                Err(RecvTimeoutError::Disconnected) => {
                    let error = anyhow!("the guest's thread ended without a word");
                    return End::Guest(Ending::NotRun(error));
                }
            }
            if let Some(timeout) = self.plan.timeout
                && deadline.is_some_and(|deadline| Instant::now() >= deadline)
            {
                return End::Timeout(timeout);
            }
        }
    }
}

impl Running<'_> {
    /// Returns the thread on which the guest runs, where that is known.
    pub(crate) fn thread(&self) -> Option<OsThread> {
        self.thread.get()
    }

    /// Waits for the guest alone, for so long at most; with `None` as long as it takes.
    pub(crate) fn wait_for_guest(&self, longest: Option<Duration>) -> Option<Ending> {
        let deadline = longest.map(|longest| Instant::now() + longest);
        loop {
            let event = match deadline {
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.events.recv_timeout(left).ok()?
                }
                None => self.events.recv().ok()?,
            };
            if let Event::End(End::Guest(ending)) = event {
                return Some(ending);
            }
        }
    }
}

impl End {
    /// Tells whether the guest ran at all.
    pub(crate) fn is_run(&self) -> bool {
        !matches!(self, Self::Guest(Ending::NotRun(_)))
    }

    /// Tells whether the guest failed, so that its stack is shown.
    pub(crate) fn is_failure(&self) -> bool {
        matches!(self, Self::Guest(Ending::Failed(_)))
    }

    /// Says why the guest did not end well, if so, and returns the program's exit
    /// status. When it failed its stack is shown, in terms of what `guest` returns.
    ///
    /// # Errors
    ///
    /// Why the guest did not run at all.
    pub(crate) fn report(
        self,
        name: &str,
        quiet: bool,
        guest: impl FnOnce() -> Guest,
    ) -> Result<i32> {
        match self {
            Self::Guest(Ending::NotRun(error)) => Err(error),
            Self::Guest(ending) => {
                let status = ending.status();
                if let Ending::Failed(error) = ending {
                    let explainer = Explainer::new();
                    let known = explainer.register(guest());
                    if let Err(error) = &known {
                        terminal::warning(&format!(
                            "{name}: its stack has no lines: failed to {error}"
                        ));
                    }
                    let account = Account::Failure {
                        guest: name.to_owned(),
                        failure: explainer.explain(&error),
                        status,
                    };
                    backtrace::show(&account, &ShowPlan::short())?;
                }
                Ok(status)
            }
            Self::Interrupt(interrupt) => Ok(interrupt.status()),
            Self::Timeout(after) => {
                if !quiet {
                    let after = duration::show(after);
                    terminal::say(&format!("{name}: ended after {after}"));
                }
                Ok(exit::TIMEOUT)
            }
        }
    }
}
